// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the manual, the configuration or the emulator explains: cases that cannot run in a place, and results that must
//! differ between places.
//!
//! In the emulator every skip must be explained here, and every difference between a cell and the bare machine.

use super::case::{CaseId, Verdict};
use super::run::Place;

/// A verdict that some cases must have in some places.
struct Expected {
    cases: &'static [&'static str],
    places: &'static [Place],
    verdict: Verdict,
    reason: &'static str,
}

const CELLS: &[Place] = &[Place::Direct, Place::Filtered];

const EXPECTED: &[Expected] = &[
    Expected {
        cases: &[
            "V01", "V02", "V03", "V05", "V06", "V07", "V08", "V09", "V10", "V13", "V15", "V16",
            "V18", "V19", "V20", "V21", "V22", "V23", "V27",
        ],
        places: CELLS,
        verdict: Verdict::Skip,
        reason: "VMX is not offered to a cell (Discovering Support for VMX: CPUID.1:ECX[5] = 0)",
    },
    Expected {
        cases: &["V04", "V24", "V26"],
        places: &[Place::Bare],
        verdict: Verdict::Skip,
        reason: "about two cells that a hypervisor keeps apart",
    },
    Expected {
        cases: &["V11"],
        places: &[Place::Filtered],
        verdict: Verdict::Skip,
        reason: "with \"use TPR shadow\" = 1 SENDUIPI writes the virtual ICR (Virtualizing SENDUIPI)",
    },
    Expected {
        cases: &["V12", "V14"],
        places: &[Place::Direct],
        verdict: Verdict::Skip,
        reason: "with \"use TPR shadow\" = 0 SENDUIPI writes the physical ICR (Virtualizing SENDUIPI)",
    },
    Expected {
        cases: &["V17"],
        places: &Place::ALL,
        verdict: Verdict::Skip,
        reason: "IPI virtualization is optional (Tertiary Processor-Based VM-Execution Controls), and Bochs has none (B-14)",
    },
];

/// Returns why a case must have this verdict there, if it must.
pub fn reason(id: CaseId, place: Place, verdict: Verdict) -> Option<&'static str> {
    let name = id.to_string();
    EXPECTED
        .iter()
        .find(|expected| {
            expected.verdict == verdict
                && expected.places.contains(&place)
                && expected.cases.contains(&name.as_str())
        })
        .map(|expected| expected.reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_names_cases_that_there_are_and_each_once() {
        let mut named = Vec::new();
        for expected in EXPECTED {
            for name in expected.cases {
                let id: CaseId = name.parse().unwrap();
                for &place in expected.places {
                    let entry = (id, place, expected.verdict);
                    assert!(!named.contains(&entry), "{entry:?} is there twice");
                    named.push(entry);
                }
            }
        }
    }

    #[test]
    fn only_what_is_named_is_explained() {
        let id = "V01".parse().unwrap();
        assert!(reason(id, Place::Direct, Verdict::Skip).is_some());
        assert_eq!(reason(id, Place::Bare, Verdict::Skip), None);
        assert_eq!(reason(id, Place::Direct, Verdict::Pass), None);
    }
}
