// SPDX-License-Identifier: MIT OR Apache-2.0
//! The parts of the test cell that are pure logic: its options and its statistics.
//!
//! The cell itself is the binary beside this library (`main.rs`).
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod options;
mod ranges;
mod statistics;

pub use options::{OptionError, Options};
pub use ranges::NumberSet;
pub use statistics::Summary;
