// SPDX-License-Identifier: MIT OR Apache-2.0
//! System tests: the hypervisor with cells in the emulator, one behaviour each.
//!
//! A test ([`suite`]) writes a configuration ([`cells`]), boots it ([`scenario`]) until the consoles have said what it
//! waits for, and checks what they said. No test waits for a fixed time or judges by one. [`conformance`] is the host side of
//! the conformance cases of user interrupts.
#![forbid(unsafe_code)]

pub mod bench;
pub mod cells;
pub mod conformance;
pub mod patch;
pub mod runner;
pub mod scenario;
pub mod suite;
