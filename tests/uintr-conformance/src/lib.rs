// SPDX-License-Identifier: MIT OR Apache-2.0
//! The parts of the conformance image that are pure logic: its command line, its verdicts, its lines of text.
//!
//! The image itself is the binary beside this library (`main.rs`).
#![no_std]
#![forbid(unsafe_code)]

pub mod differential;
mod options;
mod text;
mod verdict;

pub use options::{ApicMode, Emulator, End, OptionError, Options, Role};
pub use text::Text;
pub use verdict::{Counts, Found, Verdict, judge};
