// SPDX-License-Identifier: MIT OR Apache-2.0
//! What NimbOS programs share: system calls, output, the entry point, and statistics.
//!
//! A program is a `no_std`, `no_main` binary that names its main function with [`entry!`]:
//!
//! ```ignore
//! use freestanding as _;
//! use nimbos_apps::{Arguments, entry, eprint};
//!
//! entry!(main);
//!
//! fn main(arguments: Arguments) -> i32 {
//!     eprint!("{} arguments\n", arguments.count());
//!     0
//! }
//! ```
#![no_std]

pub mod file;
pub mod output;
pub mod start;
pub mod statistics;
pub mod system;

pub use nimbos::abi;
pub use start::Arguments;
