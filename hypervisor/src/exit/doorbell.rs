//! APIC-write exits: the notification of a filtered SENDUIPI. (SDM 3C, "Virtualizing SENDUIPI")
//!
//! The instruction is complete, its post is in the descriptor and ON is set: all that is left is to notify, or not. A
//! notification that is refused leaves ON set, so that its sender falls silent; the cell goes on.

use core::fmt;

use log::warn;

use super::{Resume, ipi};
use crate::cell::{self, Cell, CellFault, CellState, Filter};
use crate::cpu::{self, Vcpu};
use crate::doorbell::{Doorbell, Request, Undeliverable, target_cpu};
use crate::lapic::icr::{IpiDenied, IpiKind};
use crate::vmx::virtual_apic::VICR_OFFSET;
use crate::vmx::{ExitReason, fields};

/// Why a post or a notification was dropped.
enum Refusal {
    /// An interrupt for a CPU that is not the cell's.
    Interrupt(IpiDenied),
    /// A proxy that the cell made up.
    NoSuchDoorbell { number: usize, slot: usize },
    /// User vectors that the configuration does not allow.
    UserVectors(u64),
    /// The receiver's descriptor is in disorder.
    Receiver(Undeliverable),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interrupt(denied) => denied.fmt(f),
            Self::NoSuchDoorbell { number, slot } => {
                write!(f, "there is no doorbell {number} with slot {slot}")
            }
            Self::UserVectors(vectors) => {
                write!(f, "the channel does not allow user vectors {vectors:#x}")
            }
            Self::Receiver(reason) => write!(f, "the receiver's descriptor: {reason}"),
        }
    }
}

/// Handles an APIC-write exit. It is trap-like: RIP is behind SENDUIPI already.
pub fn handle(vcpu: &mut Vcpu) -> Result<Resume, CellFault> {
    let offset = vcpu.vmcs.read(fields::EXIT_QUALIFICATION) & 0xfff;
    let (Some(filter), Some((vector, destination))) = (&vcpu.cell.filter, vcpu.notification())
    else {
        return Err(unexpected());
    };
    if offset != VICR_OFFSET {
        return Err(unexpected());
    }
    let mode = vcpu.cell.system.machine.apic_mode;
    let outcome = match Request::decode(vector, destination, mode) {
        Request::Doorbell { number, slot } => match filter.doorbells.get(number) {
            Some(doorbell) => ring(vcpu, doorbell, number, slot),
            None => Err(Refusal::NoSuchDoorbell { number, slot }),
        },
        Request::Interrupt(command) => command
            .resolve(vcpu.shared.apic_id(), vcpu.cell, mode)
            .map_err(Refusal::Interrupt)
            .map(|ipi| {
                vcpu.shared.count_notification_sent();
                match ipi.kind {
                    // Sends nothing, and has this CPU's APIC log the illegal vector as without the filter.
                    IpiKind::Illegal => cpu::send_fixed(vcpu.shared, vector, false),
                    _ => ipi::deliver(vcpu, ipi),
                }
            }),
    };
    if let Err(refusal) = outcome {
        refuse(vcpu, filter, &refusal);
    }
    Ok(Resume::AtSame)
}

fn unexpected() -> CellFault {
    CellFault::UnhandledExit {
        reason: ExitReason::APIC_WRITE,
    }
}

/// Takes the posts of a proxy to the receiver and notifies it.
fn ring(vcpu: &Vcpu, doorbell: &Doorbell, number: usize, slot: usize) -> Result<(), Refusal> {
    let relayed = doorbell
        .relay(slot)
        .ok_or(Refusal::NoSuchDoorbell { number, slot })?;
    let receiver = cell::all()
        .get(doorbell.receiver)
        .filter(|receiver| receiver.state() == CellState::Running);
    if let (Some(notification), Some(receiver)) = (relayed.notification, receiver) {
        let mode = receiver.system.machine.apic_mode;
        let index =
            target_cpu(notification, &receiver.config.cpus, mode).map_err(Refusal::Receiver)?;
        if let Some(&cpu) = receiver.cpus.get(index) {
            cpu::send_fixed(cpu::shared(cpu), notification.vector, false);
            vcpu.shared.count_notification_sent();
        }
    }
    match relayed.refused {
        0 => Ok(()),
        vectors => Err(Refusal::UserVectors(vectors)),
    }
}

fn refuse(vcpu: &Vcpu, filter: &Filter, refusal: &Refusal) {
    vcpu.shared.count_notification_dropped();
    if filter.is_first_refusal() {
        let cell: &Cell = vcpu.cell;
        warn!(
            "cell '{}': SENDUIPI dropped: {refusal}; more of them are only counted",
            cell.name()
        );
    }
}
