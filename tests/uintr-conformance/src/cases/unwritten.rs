// SPDX-License-Identifier: MIT OR Apache-2.0
//! Cases that are not written yet. Each is reported as skipped.

use crate::case::{Case, Where};

/// Not written yet.
pub const V01: Case =
    Case::unwritten("V01", "capabilities of user interrupts, load UINV").place(Where::Bare);
/// Not written yet.
pub const V02: Case = Case::unwritten("V02", "guest UINV is saved, clear UINV").place(Where::Bare);
/// Not written yet.
pub const V03: Case = Case::unwritten("V03", "load UINV").place(Where::Bare);
/// Not written yet.
pub const V04: Case =
    Case::unwritten("V04", "SENDUIPI from cell to cell without exits").place(Where::TwoCells);
/// Not written yet.
pub const V05: Case =
    Case::unwritten("V05", "external-interrupt exiting and notifications").place(Where::Bare);
/// Not written yet.
pub const V06: Case = Case::unwritten("V06", "injecting a notification").place(Where::Bare);
/// Not written yet.
pub const V07: Case = Case::unwritten(
    "V07",
    "injecting a software interrupt with the number of UINV",
)
.place(Where::Bare);
/// Not written yet.
pub const V08: Case =
    Case::unwritten("V08", "injecting a notification into HLT").place(Where::Bare);
/// Not written yet.
pub const V09: Case = Case::unwritten("V09", "UIRR by the MSR-load area").place(Where::Bare);
/// Not written yet.
pub const V10: Case =
    Case::unwritten("V10", "user-interrupt state of another guest").place(Where::Bare);
/// Not written yet.
pub const V11: Case = Case::unwritten("V11", "SENDUIPI without TPR shadow").place(Where::Bare);
/// Not written yet.
pub const V12: Case = Case::unwritten("V12", "SENDUIPI with TPR shadow").place(Where::Bare);
/// Not written yet.
pub const V13: Case =
    Case::unwritten("V13", "SENDUIPI with virtualized APIC accesses").place(Where::Bare);
/// Not written yet.
pub const V14: Case =
    Case::unwritten("V14", "no exit for posts that do not notify").place(Where::Bare);
/// Not written yet.
pub const V15: Case =
    Case::unwritten("V15", "SENDUIPI with TPR shadow and single-stepping").place(Where::Bare);
/// Not written yet.
pub const V16: Case =
    Case::unwritten("V16", "TPR shadow and the other x2APIC registers").place(Where::Bare);
/// Not written yet.
pub const V17: Case = Case::unwritten("V17", "IPI virtualization").place(Where::Bare);
/// Not written yet.
pub const V18: Case =
    Case::unwritten("V18", "virtual-interrupt delivery of a notification").place(Where::Bare);
/// Not written yet.
pub const V19: Case = Case::unwritten("V19", "EPT violation of SENDUIPI").place(Where::Bare);
/// Not written yet.
pub const V20: Case =
    Case::unwritten("V20", "EPT violation of notification processing").place(Where::Bare);
/// Not written yet.
pub const V21: Case = Case::unwritten("V21", "EPT violation of delivery").place(Where::Bare);
/// Not written yet.
pub const V22: Case = Case::unwritten("V22", "MSR bitmap").place(Where::Bare);
/// Not written yet.
pub const V23: Case = Case::unwritten("V23", "XSS-exiting bitmap").place(Where::Bare);
/// Not written yet.
pub const V24: Case =
    Case::unwritten("V24", "a forged notification is denied").place(Where::TwoCells);
/// Not written yet.
pub const V25: Case = Case::unwritten("V25", "handover of a CPU").place(Where::Bare);
/// Not written yet.
pub const V26: Case =
    Case::unwritten("V26", "reserved bits in a shared descriptor").place(Where::TwoCells);
/// Not written yet.
pub const V27: Case = Case::unwritten("V27", "a notification in root operation").place(Where::Bare);
