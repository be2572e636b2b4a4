// SPDX-License-Identifier: MIT OR Apache-2.0
//! The host side of the conformance cases (docs/uintr-conformance.md).
//!
//! The image `uintr-conformance` is booted on the bare machine and in cells ([`runs`]); what it says is read ([`log`]),
//! merged for each place ([`mod@column`]), judged and compared ([`report`]) and shown ([`text`], [`markdown`]).

pub mod case;
pub mod column;
mod deviations;
mod expected;
mod fields;
pub mod log;
pub mod logs;
pub mod markdown;
pub mod parts;
pub mod report;
pub mod run;
pub mod runs;
#[cfg(test)]
mod test_data;
pub mod text;
