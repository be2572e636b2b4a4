//! Interrupt commands of a cell: checked against its CPUs, then sent or passed on by mailbox.

use crate::cell::CellFault;
use crate::cpu::{self, Vcpu};
use crate::lapic::icr::{IcrWrite, Ipi, IpiKind};

/// Carries out an interrupt command.
pub fn send(vcpu: &mut Vcpu, command: IcrWrite) -> Result<(), CellFault> {
    let mode = vcpu.cell.system.machine.apic_mode;
    let ipi = command.resolve(vcpu.shared.apic_id(), vcpu.cell, mode)?;
    deliver(vcpu, ipi);
    Ok(())
}

/// Sends a checked interrupt command to its targets.
pub fn deliver(vcpu: &Vcpu, ipi: Ipi) {
    let targets = ipi
        .targets
        .indices()
        .filter_map(|index| vcpu.cell.cpus.get(index))
        .map(|&cpu| cpu::shared(cpu));
    match ipi.kind {
        IpiKind::Fixed { vector } => {
            targets.for_each(|target| cpu::send_fixed(target, vector, ipi.asserted))
        }
        IpiKind::LowestPriority { vector } => targets
            .take(1)
            .for_each(|target| cpu::send_fixed(target, vector, ipi.asserted)),
        // INIT and SIPI never reach the processor: it would lose them in root mode.
        IpiKind::Nmi => targets.for_each(|target| post(target, |mailbox| mailbox.post_nmi())),
        IpiKind::Init => targets.for_each(|target| post(target, |mailbox| mailbox.post_init())),
        IpiKind::Startup { vector } => {
            targets.for_each(|target| post(target, |mailbox| mailbox.post_sipi(vector)))
        }
        IpiKind::InitDeassert | IpiKind::Illegal => {}
    }
}

/// Fills a mailbox and rings; this CPU's own is looked at before the next entry anyway, and a bell for itself does
/// no harm.
fn post(target: &cpu::CpuShared, fill: impl FnOnce(&cpu::Mailbox)) {
    fill(&target.mailbox);
    cpu::ring(target);
}
