// SPDX-License-Identifier: MIT OR Apache-2.0
//! The emulator's known deviations from the manual that cases can show, in words.

use super::case::DeviationId;

/// A known deviation of Bochs 3.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deviation {
    /// Its name.
    pub id: DeviationId,
    /// What Bochs does.
    pub bochs: &'static str,
    /// What the manual says.
    pub manual: &'static str,
}

const fn deviation(number: u8, bochs: &'static str, manual: &'static str) -> Deviation {
    Deviation {
        id: DeviationId(number),
        bochs,
        manual,
    }
}

/// All of them, in the order of their names.
pub const KNOWN: &[Deviation] = &[
    deviation(
        1,
        "after a notification the next exception with an error code has EXT = 1",
        "EXT = 1 only for faults in the delivery of that event",
    ),
    deviation(
        2,
        "a fault at the handler's first instruction reports the RIP that was interrupted",
        "RIP = UIHANDLER",
    ),
    deviation(
        4,
        "in compatibility mode a notification goes through the IDT, without EOI",
        "identified whenever IA32_EFER.LMA = 1",
    ),
    deviation(
        5,
        "an exit during notification processing has no valid IDT-vectoring information",
        "valid, external interrupt, vector UINV",
    ),
    deviation(
        6,
        "any injected event whose vector is UINV is a notification",
        "external interrupts only",
    ),
    deviation(
        7,
        "a notification, or UIRR alone, ends HLT",
        "HLT goes on after a notification, UIRR does not wake",
    ),
    deviation(
        8,
        "RFLAGS.IF = 0 holds user interrupts back",
        "IF does not matter for delivery",
    ),
    deviation(
        9,
        "recognition changes with UIRR only, not with CR4.UINTR",
        "nothing is delivered with CR4.UINTR = 0; recomputed at VM transitions",
    ),
    deviation(
        10,
        "XRSTORS that initializes component 14 leaves a pending user interrupt pending",
        "recognition follows UIRR",
    ),
    deviation(
        11,
        "SENDUIPI to a descriptor that is not present is a read fault (W = 0)",
        "a write: the access is one locked read-modify-write",
    ),
    deviation(
        12,
        "RFLAGS.AC = 1 lets implicit supervisor accesses pass SMAP",
        "AC does not matter for implicit accesses",
    ),
    deviation(
        13,
        "exit qualification bit 16 is 0 for EPT violations of delivery",
        "1: asynchronous to instruction execution",
    ),
    deviation(14, "no IPI virtualization", "optional"),
    deviation(
        15,
        "SSP stays advanced after UIRET's #CP",
        "a fault leaves SSP as it was",
    ),
    deviation(
        16,
        "a vector below 16 is logged by the receiver's ESR, not by the sender's",
        "send illegal vector, in the sender's ESR",
    ),
    deviation(
        21,
        "an interrupt that nobody accepts sets the sender's ESR bit 2 (send accept error)",
        "that bit is of the P6 family and before",
    ),
    deviation(
        22,
        "with external-interrupt exiting an interrupt that is pending at VM entry waits while the guest's IF = 0",
        "it exits at once: IF does not matter",
    ),
];

/// Returns a known deviation.
pub fn find(id: DeviationId) -> Option<&'static Deviation> {
    KNOWN.iter().find(|deviation| deviation.id == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_one_entry() {
        assert!(KNOWN.windows(2).all(|pair| pair[0].id < pair[1].id));
        assert_eq!(find(DeviationId(200)), None);
    }
}
