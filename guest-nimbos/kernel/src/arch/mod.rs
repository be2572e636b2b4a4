// SPDX-License-Identifier: MIT OR Apache-2.0
//! The machine: one file for each facility of the processor, mechanism only.
#![expect(
    unsafe_code,
    reason = "executes privileged instructions and owns the tables that the processor reads"
)]

pub mod apic;
pub mod copy;
pub mod cpu;
pub mod descriptors;
pub mod entry;
pub mod hypercall;
pub mod image;
pub mod kernel_exception;
pub mod kernel_space;
pub mod paging;
pub mod per_cpu;
pub mod sender;
pub mod start_code;
pub mod trap;
pub mod uart;
pub mod uitt;
pub mod user_interrupts;
pub mod xstate;
