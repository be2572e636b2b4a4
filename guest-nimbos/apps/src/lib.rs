// SPDX-License-Identifier: MIT OR Apache-2.0
//! What NimbOS programs share: system calls, files, processes, output, the entry point, and statistics.
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

pub mod channel;
pub mod directory;
mod error;
pub mod file;
pub mod interrupt;
mod linux;
pub mod net;
pub mod output;
pub mod process;
pub mod registers;
pub mod shell;
pub mod start;
pub mod statistics;
pub mod system;
pub mod time;

pub use error::Error;
pub use nimbos::abi;
pub use start::Arguments;
