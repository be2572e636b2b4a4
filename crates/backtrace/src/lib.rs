// SPDX-License-Identifier: MIT OR Apache-2.0
//! Backtraces with names, for code without an operating system.
//!
//! [`Walk`] follows the chain of frame pointers from the instruction at which something went wrong; [`Symbols`] finds the
//! function of an address in an ELF symbol table; [`print()`] puts both together, a line for each frame:
//!
//! ```text
//! #0 0x30021b44 isthmus_hypervisor::exit::cpuid::emulate+0x4
//! #1 0x3002810c isthmus_hypervisor::exit::dispatch+0x1bc
//! ```
//!
//! Nothing here is trusted: the stack may be what is broken, and a symbol table is a file's. The walk reads words that
//! its caller has checked, and ends; the table is read with bounds. Neither allocates or panics.
//!
//! System V ABI, AMD64 supplement, "The Stack Frame"; Tool Interface Standard, "Executable and Linking Format".
#![no_std]
#![forbid(unsafe_code)]

mod name;
mod report;
mod stacks;
mod symbols;
mod walk;

pub use name::Name;
pub use report::{Place, print};
pub use stacks::Stacks;
pub use symbols::{Symbol, Symbols};
pub use walk::{End, Frame, MAX_FRAMES, Memory, Start, Walk};
