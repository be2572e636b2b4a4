// SPDX-License-Identifier: MIT OR Apache-2.0
//! Cases that are not written yet. Each is reported as skipped.

use crate::case::{Case, Where};

/// Not written yet.
pub const V17: Case = Case::unwritten("V17", "IPI virtualization").place(Where::Bare);
