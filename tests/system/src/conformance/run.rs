// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a run of the conformance image gives.

use std::fmt;

use serde::Serialize;

use super::case::{CaseId, DeviationId, Verdict};

/// Where the image ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// On the machine itself.
    Bare,
    /// In a cell with a direct channel.
    Direct,
    /// In a cell whose notifications are checked.
    Filtered,
}

impl Place {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Bare, Self::Direct, Self::Filtered];

    /// Returns the word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Direct => "direct",
            Self::Filtered => "filtered",
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// First line of a run: the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Header {
    /// Where the image ran.
    pub place: Place,
    /// Mode of the local APICs.
    pub apic: String,
    /// CPUs that it had.
    pub cpus: u32,
    /// Whether the processor offers VMX there.
    pub vmx: bool,
    /// Whether it offers user interrupts.
    pub uintr: bool,
    /// Family, model and stepping.
    pub family: String,
    /// Whether it is the emulator Bochs, whose deviations are known.
    pub is_bochs: bool,
}

/// One case of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseResult {
    /// The case.
    pub id: CaseId,
    /// What it is about.
    pub title: String,
    /// Its verdict.
    pub verdict: Verdict,
    /// The deviation that the verdict is about.
    pub deviation: Option<DeviationId>,
    /// What was seen.
    pub detail: String,
}

/// One seed of the differential test: the processor against the reference model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Differential {
    /// Start of the pseudo-random sequence.
    pub seed: u64,
    /// Steps done.
    pub steps: u64,
    /// Comparisons of one item of the state.
    pub compared: u64,
    /// User interrupts delivered.
    pub delivered: u64,
    /// Faults taken.
    pub faults: u64,
    /// Comparisons that failed.
    pub mismatches: u64,
}

/// A comparison of the differential test that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mismatch {
    /// Seed of the sequence.
    pub seed: u64,
    /// Number of the step.
    pub step: u64,
    /// What was done.
    pub op: String,
    /// What differed.
    pub field: String,
    /// The processor's value.
    pub machine: String,
    /// The model's value.
    pub model: String,
    /// The deviation that explains it.
    pub deviation: Option<DeviationId>,
}

/// How many verdicts of each kind there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Verdicts `pass`.
    pub passed: u32,
    /// Verdicts `fail`.
    pub failed: u32,
    /// Verdicts `deviation`.
    pub deviations: u32,
    /// Verdicts `surprise`.
    pub surprises: u32,
    /// Verdicts `record`.
    pub records: u32,
    /// Verdicts `skip`.
    pub skipped: u32,
    /// Cases that no run has.
    pub missing: u32,
}

impl Counts {
    /// Counts verdicts.
    pub fn of(verdicts: impl Iterator<Item = Verdict>) -> Self {
        let mut counts = Self::default();
        for verdict in verdicts {
            let count = match verdict {
                Verdict::Pass => &mut counts.passed,
                Verdict::Fail => &mut counts.failed,
                Verdict::Deviation => &mut counts.deviations,
                Verdict::Surprise => &mut counts.surprises,
                Verdict::Record => &mut counts.records,
                Verdict::Skip => &mut counts.skipped,
                Verdict::Missing => &mut counts.missing,
            };
            *count += 1;
        }
        counts
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} passed, {} failed, {} deviations, {} surprises, {} recorded, {} skipped, {} missing",
            self.passed,
            self.failed,
            self.deviations,
            self.surprises,
            self.records,
            self.skipped,
            self.missing
        )
    }
}

/// Everything that one run of the image said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The machine.
    pub header: Header,
    /// The cases, in the order in which they ran.
    pub cases: Vec<CaseResult>,
    /// The differential test's seeds.
    pub differential: Vec<Differential>,
    /// Its failed comparisons.
    pub mismatches: Vec<Mismatch>,
    /// Errors that the image reported of itself.
    pub errors: Vec<String>,
    /// Whether the last line is there. Its counts were right.
    pub is_complete: bool,
}

impl Run {
    /// Begins a run.
    pub fn new(header: Header) -> Self {
        Self {
            header,
            cases: Vec::new(),
            differential: Vec::new(),
            mismatches: Vec::new(),
            errors: Vec::new(),
            is_complete: false,
        }
    }

    /// Says where a run without its last line ended, and errors that the image reported.
    pub fn troubles(&self) -> Vec<String> {
        let mut troubles = self.errors.clone();
        if !self.is_complete {
            troubles.push(match self.cases.last() {
                Some(last) => format!("no 'conf: done' line: ended after case {}", last.id),
                None => "no 'conf: done' line: ended before the first case".to_owned(),
            });
        }
        troubles
    }
}
