// SPDX-License-Identifier: MIT OR Apache-2.0
//! Cases that are not written yet. Each is reported as skipped.

use crate::case::{Case, Where};

/// Not written yet.
pub const V04: Case =
    Case::unwritten("V04", "SENDUIPI from cell to cell without exits").place(Where::TwoCells);
/// Not written yet.
pub const V17: Case = Case::unwritten("V17", "IPI virtualization").place(Where::Bare);
/// Not written yet.
pub const V24: Case =
    Case::unwritten("V24", "a forged notification is denied").place(Where::TwoCells);
/// Not written yet.
pub const V26: Case =
    Case::unwritten("V26", "reserved bits in a shared descriptor").place(Where::TwoCells);
