// SPDX-License-Identifier: MIT OR Apache-2.0
//! Accesses of an I/O APIC by the cell that has the rest of the devices.

use log::warn;

use super::{Resume, mmio};
use crate::cell::CellFault;
use crate::cpu::Vcpu;
use crate::ioapic::IoApic;
use crate::lapic::mmio::AccessKind;

/// Carries out an access at `offset` of the page of `io_apic`.
pub fn handle(vcpu: &mut Vcpu, io_apic: &IoApic, offset: u16) -> Result<Resume, CellFault> {
    let access = mmio::decode(vcpu).map_err(|error| CellFault::IoApic { offset, error })?;
    match access.kind {
        AccessKind::Read { destination } => {
            mmio::set_register(vcpu, destination, io_apic.read(offset));
        }
        AccessKind::Write { source } => {
            write(vcpu, io_apic, offset, mmio::source(vcpu, source));
        }
        AccessKind::Exchange { register } => {
            let value = mmio::register(vcpu, register);
            let previous = io_apic.read(offset);
            write(vcpu, io_apic, offset, value);
            mmio::set_register(vcpu, register, previous);
        }
    }
    vcpu.advance_rip(u32::from(access.length));
    Ok(Resume::AtSame)
}

/// Writes; of the refusals of an I/O APIC the first one is said, because a cell can make any number of them.
fn write(vcpu: &Vcpu, io_apic: &IoApic, offset: u16, value: u32) {
    let mode = vcpu.cell.system.machine.apic_mode;
    if let Err(refusal) = io_apic.write(offset, value, vcpu.cell, mode)
        && refusal.count == 1
    {
        warn!(
            "cell '{}': I/O APIC at {:#x}: {refusal}; more of this is counted, not said",
            vcpu.cell.name(),
            io_apic.address()
        );
    }
}
