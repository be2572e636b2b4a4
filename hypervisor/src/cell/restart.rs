// SPDX-License-Identifier: MIT OR Apache-2.0
//! A cell's new start, at its own wish: its CPUs leave it, its memory is filled as at the first time, its first CPU enters it.
//!
//! The CPU that asked does all of it but what each CPU can only do itself: leave the guest and take from its local APIC what the
//! old kernel left there. While the others are parked they touch neither their mailboxes nor the cell. To the other ends of its
//! channels the cell is gone in between: its state words say so, and nobody is notified of what they post.

use log::{error, info};

use super::{Cell, CellState, ElfPlan, leave_channels};
use crate::address::HostPhys;
use crate::arch::wait;
use crate::cpu::{self, CpuState, Vcpu};
use crate::memory::{OutOfFrames, keep};

/// What a cell is loaded from, in the hypervisor's own memory.
#[derive(Clone, Copy)]
pub struct Images {
    image: &'static [u8],
    initrd: Option<&'static [u8]>,
}

impl Images {
    /// Copies the images.
    pub fn keep(image: &[u8], initrd: Option<&[u8]>) -> Result<Self, OutOfFrames> {
        Ok(Self {
            image: keep(image)?,
            initrd: initrd.map(keep).transpose()?,
        })
    }
}

/// Tells whether a cell is between its end and its new start.
pub fn is_restarting(cell: &Cell) -> bool {
    cell.state() == CellState::Restarting
}

/// Starts the cell of this CPU anew, which has left the guest; or lets the other CPU do so that is at it already. Returns
/// whether the cell is started anew at all: if not, it has ended otherwise, or is to end now.
pub fn restart(vcpu: &mut Vcpu) -> bool {
    let cell = vcpu.cell;
    let Some(images) = cell.images else {
        return false;
    };
    if !cell.change_state(CellState::Running, CellState::Restarting) {
        // The CPU that does it has posted, or will post, what this one is to do.
        vcpu.reset();
        vcpu.shared.set_state(CpuState::Waiting);
        return is_restarting(cell);
    }
    info!("cell '{}' starts anew", cell.name());
    park_others(vcpu);
    vcpu.reset_for_new_start();
    vcpu.shared.set_state(CpuState::Waiting);
    leave_channels(cell);
    silence_channels(cell);
    if !load(cell, &images) {
        // The others find that the cell has ended.
        cell.change_state(CellState::Restarting, CellState::Running);
        return false;
    }
    for cpu in cell.cpu_shares() {
        // What the old kernel sent them.
        cpu.mailbox.take();
    }
    cell.change_state(CellState::Restarting, CellState::Running);
    for cpu in cell.cpu_shares().take(1) {
        cpu.mailbox.post_start();
        cpu::ring(cpu);
    }
    true
}

/// Waits until all other CPUs of the cell are out of it.
fn park_others(vcpu: &Vcpu) {
    let own = vcpu.shared.apic_id();
    let others = || vcpu.cell.cpu_shares().filter(|cpu| cpu.apic_id() != own);
    for other in others() {
        other.set_parked(false);
        other.mailbox.post_park();
        cpu::ring(other);
    }
    while !others().all(cpu::CpuShared::is_parked) {
        if vcpu.shared.mailbox.is_machine_stopping() {
            wait::halt_forever();
        }
        core::hint::spin_loop();
    }
}

/// Suppresses notifications of the cell until it says where it wants them, and drops what it has not come to notify others of.
fn silence_channels(cell: &Cell) {
    for channel in cell.channels() {
        let offset = super::create::own_upids(channel, cell.id);
        match cell
            .physical
            .upid_page(HostPhys(channel.memory.base + offset))
        {
            Ok(page) => page.slots().for_each(uintr::Upid::reset),
            Err(error) => error!("channel '{}': {error}", channel.name),
        }
    }
    if let Some(filter) = &cell.filter {
        for doorbell in &filter.doorbells {
            doorbell.clear();
        }
    }
}

/// Fills the cell's memory. The images were checked when it was loaded first.
fn load(cell: &Cell, images: &Images) -> bool {
    let plan = ElfPlan::new(cell.id, cell.system, images.image, images.initrd);
    let failure = match plan {
        Ok(plan) => match plan.load(&cell.physical, cell.tsc_khz) {
            Ok(_) => return true,
            Err(error) => error,
        },
        Err(error) => {
            error!("cell '{}': {error}", cell.name());
            return false;
        }
    };
    error!("cell '{}': {failure}", cell.name());
    false
}
