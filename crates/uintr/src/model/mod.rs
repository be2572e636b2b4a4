// SPDX-License-Identifier: MIT OR Apache-2.0
//! Executable reference model of user interrupts: what the manual says, as plain functions over plain state.
//!
//! [`Cpu`] is a logical processor; each operation is a method that returns what it did or the [`Fault`] that it raised,
//! and never panics. Memory stands behind the trait [`Memory`]. [`System`] puts several processors and the
//! notifications that are on their way between them together, and lets the caller choose the interleaving: that is what
//! the property tests and the exhaustive test drive, and what the emulated processor is compared with.
//!
//! Not here: VMX, shadow stacks and ENDBRANCH tracking, transactions, the user timer, debug traps.
//!
//! SDM 3A, "User Interrupts"; each rule names its section.
#![forbid(unsafe_code)]

mod access;
mod apic;
mod deliver;
mod fault;
mod memory;
mod msr;
mod notify;
mod send;
mod state;
mod system;
mod uif;
mod uiret;
mod xsave;

pub use apic::{Apic, ApicMode, Destination, Ipi, SEND_ILLEGAL_VECTOR, VectorSet};
pub use deliver::{Boundary, FRAME_LEN_BYTES};
pub use fault::{EXT, Fault};
pub use memory::{Direction, Memory, PAGE_LEN_BYTES, Page, PageFault, Pages, Privilege};
pub use notify::{Acknowledged, Processing};
pub use state::{
    AC, CF, Cpu, IF, Options, RF, RFLAGS_ONE, Recognition, STATUS_FLAGS, TF, UserInterrupts,
    is_canonical,
};
pub use system::{Event, System};
pub use uiret::LOADED_FLAGS;
pub use xsave::{COMPONENT, Image};
