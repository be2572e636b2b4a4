// SPDX-License-Identifier: MIT OR Apache-2.0
//! The parts of the NimbOS co-kernel that are pure logic: what a file, a program or the other side of a channel says
//! is checked here, without touching the machine, and tested on the host.
//!
//! The kernel itself is the binary beside this library (`main.rs`).
#![no_std]
#![forbid(unsafe_code)]

pub mod abi;
pub mod alarm;
pub mod archive;
pub mod clock;
pub mod command_line;
pub mod frames;
#[cfg(test)]
mod fuzz;
pub mod grants;
pub mod layout;
pub mod line_discipline;
pub mod program;
pub mod queue;
pub mod reply;
pub mod stack;
pub mod symbols;
pub mod user_memory;
