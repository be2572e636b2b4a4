// SPDX-License-Identifier: MIT OR Apache-2.0
//! The processor: everything that needs its instructions.
#![expect(unsafe_code, reason = "runs without an operating system")]

pub mod apic;
pub mod attack;
pub mod cpu;
pub mod denied;
pub mod entry;
pub mod forms;
pub mod frame_probe;
pub mod hypercall;
pub mod instructions;
pub mod ioapic;
pub mod memory;
pub mod pit;
pub mod port;
pub mod probe;
pub mod record;
pub mod second_cpu;
pub mod state;
pub mod sweep;
pub mod tables;
pub mod task;
pub mod trap;
pub mod uintr;
pub mod user;
mod xstate;

use crate::boot::Boot;
use apic::Apic;

/// Vector of spurious interrupts.
const SPURIOUS: u8 = 0xff;

/// Sets the first CPU up: page tables, descriptors, local APIC.
pub fn start(boot: &Boot) {
    tables::load_paging();
    tables::load_descriptors(0, 0);
    trap::set_apic_mode(boot.is_x2apic());
    Apic::new(boot.is_x2apic()).enable(SPURIOUS);
}
