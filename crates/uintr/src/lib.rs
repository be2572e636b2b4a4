// SPDX-License-Identifier: MIT OR Apache-2.0
//! User interrupts: the structures in memory, the MSRs and the instructions of Intel's UINTR.
//!
//! A sender's UITT entry names a receiver's UPID; SENDUIPI posts a user vector into that UPID and, unless a
//! notification is outstanding or suppressed, sends the UPID's notification vector to the UPID's destination.
//! Nothing here decides who may send to whom: the kernels and the hypervisor do.
//!
//! [`model`] is the architecture as an executable reference: tests compare it with processors and check its rules.
//!
//! SDM 3A, "User Interrupts".
#![no_std]

pub mod instructions;
pub mod model;
pub mod msr;
mod sync;
mod uitt;
mod upid;

pub use uitt::{UittEntry, UittEntryError};
pub use upid::{Notification, Upid, ndst};

/// Number of user vectors: 0 to 63.
pub const USER_VECTORS: u8 = 64;

/// CR4.UINTR: enables delivery, identification of notifications, and the instructions.
pub const CR4_UINTR: u64 = 1 << 25;

/// CPUID.(EAX=7,ECX=0):EDX bit that enumerates user interrupts.
pub const CPUID_7_0_EDX_UINTR: u32 = 1 << 5;
