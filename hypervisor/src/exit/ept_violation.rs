//! EPT violations: accesses of the I/O APICs and writes of the xAPIC page are emulated, everything else is not the
//! cell's.

use bit_field::BitField;
use cell_config::{ApicMode, Devices};

use super::{Resume, ioapic, ipi, mmio};
use crate::address::{GuestPhys, PAGE_SIZE};
use crate::arch::apic::{REG_DFR, REG_ICR_HIGH, REG_ICR_LOW, REG_ID, REG_LDR, XAPIC_BASE};
use crate::cell::CellFault;
use crate::cpu::{self, Vcpu};
use crate::lapic::icr::IcrWrite;
use crate::lapic::mmio::AccessKind;
use crate::vmx::fields;

/// Handles an EPT violation. (SDM 3C, "Exit Qualification for EPT Violations")
pub fn handle(vcpu: &mut Vcpu) -> Result<Resume, CellFault> {
    let gpa = GuestPhys(vcpu.vmcs.read(fields::GUEST_PHYSICAL_ADDRESS));
    let qualification = vcpu.vmcs.read(fields::EXIT_QUALIFICATION);
    let is_xapic_page = vcpu.cell.system.machine.apic_mode == ApicMode::Xapic
        && gpa.0 & !(PAGE_SIZE - 1) == XAPIC_BASE;
    if is_xapic_page && qualification.get_bit(1) {
        vcpu.shared.count_xapic_exit();
        return write_xapic(vcpu, (gpa.0 & (PAGE_SIZE - 1)) as u16);
    }
    let is_fetch = qualification.get_bit(2);
    if vcpu.cell.config.devices == Devices::Rest
        && !is_fetch
        && let Some((io_apic, offset)) = crate::ioapic::at(gpa)
    {
        return ioapic::handle(vcpu, io_apic, offset);
    }
    let access = if qualification.get_bit(1) {
        "write"
    } else if is_fetch {
        "instruction fetch"
    } else {
        "read"
    };
    Err(CellFault::Memory { gpa, access })
}

fn write_xapic(vcpu: &mut Vcpu, offset: u16) -> Result<Resume, CellFault> {
    let access = mmio::decode(vcpu).map_err(|error| CellFault::Xapic { offset, error })?;
    match access.kind {
        AccessKind::Write { source } => {
            let value = mmio::source(vcpu, source);
            write_register(vcpu, offset, value)?;
        }
        AccessKind::Exchange { register } => {
            let value = mmio::register(vcpu, register);
            let previous = cpu::read_own_apic(offset);
            write_register(vcpu, offset, value)?;
            mmio::set_register(vcpu, register, previous);
        }
        // A read of the page does not exit, so this is a write that the decoder misread.
        AccessKind::Read { .. } => {
            return Err(CellFault::Xapic {
                offset,
                error: None,
            });
        }
    }
    vcpu.advance_rip(u32::from(access.length));
    Ok(Resume::AtSame)
}

/// Writes an APIC register for the cell. (SDM 3A, "Local APIC Register Address Map")
fn write_register(vcpu: &mut Vcpu, offset: u16, value: u32) -> Result<(), CellFault> {
    match offset {
        REG_ICR_LOW => {
            let high = cpu::read_own_apic(REG_ICR_HIGH);
            return ipi::send(vcpu, IcrWrite::from_xapic(value, high));
        }
        // The ID is the machine's; other CPUs' destinations depend on it.
        REG_ID => return Ok(()),
        REG_LDR | REG_DFR => {
            if offset == REG_LDR {
                vcpu.shared.set_xapic_ldr(value);
            } else {
                vcpu.shared.set_xapic_dfr(value);
            }
            // The cell's own commands go by what is remembered. In the APIC, a logical ID would draw interrupts of
            // the I/O APIC that are meant for others' CPUs.
            if vcpu.cell.config.devices != Devices::Rest {
                return Ok(());
            }
        }
        // Registers are 16 bytes apart; between them there is nothing.
        _ if !offset.is_multiple_of(16) => return Ok(()),
        _ => {}
    }
    cpu::write_own_apic(offset, value);
    Ok(())
}
