// SPDX-License-Identifier: MIT OR Apache-2.0
//! From what a case found to its verdict.

use core::fmt;

use crate::{Emulator, Text};

/// What a case found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// What the manual says.
    Manual(Text),
    /// Exactly what the case's known deviation says, and nothing else that is wrong.
    Deviant(Text),
    /// Something on which the manual leaves a question open.
    Recorded(Text),
    /// It cannot run here.
    Skipped(Text),
    /// Something else.
    Wrong(Text),
}

/// Verdict of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// What the manual says was seen.
    Pass,
    /// It was not.
    Fail,
    /// It was not, but exactly what is known of this emulator.
    Deviation(&'static str),
    /// What the manual says was seen, although this emulator is known to deviate.
    Surprise(&'static str),
    /// An open question was answered.
    Record,
    /// The case cannot run here.
    Skip,
}

/// Judges what a case found that has the known deviation `deviation` on Bochs. Elsewhere deviations are failures.
pub fn judge(
    found: &Found,
    deviation: Option<&'static str>,
    emulator: Emulator,
) -> (Verdict, Text) {
    let known = deviation.filter(|_| emulator == Emulator::Bochs);
    match (*found, known) {
        (Found::Manual(text), None) => (Verdict::Pass, text),
        (Found::Manual(text), Some(id)) => (Verdict::Surprise(id), text),
        (Found::Deviant(text), Some(id)) => (Verdict::Deviation(id), text),
        (Found::Deviant(text) | Found::Wrong(text), _) => (Verdict::Fail, text),
        (Found::Recorded(text), _) => (Verdict::Record, text),
        (Found::Skipped(text), _) => (Verdict::Skip, text),
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pass => f.write_str("pass"),
            Self::Fail => f.write_str("fail"),
            Self::Deviation(id) => write!(f, "deviation deviation={id}"),
            Self::Surprise(id) => write!(f, "surprise deviation={id}"),
            Self::Record => f.write_str("record"),
            Self::Skip => f.write_str("skip"),
        }
    }
}

/// How many verdicts of each kind there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    passed: u32,
    failed: u32,
    deviations: u32,
    surprises: u32,
    records: u32,
    skipped: u32,
}

impl Counts {
    /// Counts a verdict.
    pub fn add(&mut self, verdict: Verdict) {
        let count = match verdict {
            Verdict::Pass => &mut self.passed,
            Verdict::Fail => &mut self.failed,
            Verdict::Deviation(_) => &mut self.deviations,
            Verdict::Surprise(_) => &mut self.surprises,
            Verdict::Record => &mut self.records,
            Verdict::Skip => &mut self.skipped,
        };
        *count += 1;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "passed={} failed={} deviations={} surprises={} records={} skipped={}",
            self.passed, self.failed, self.deviations, self.surprises, self.records, self.skipped
        )
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::string::ToString;

    use super::*;

    fn verdict(found: Found, deviation: Option<&'static str>, emulator: Emulator) -> Verdict {
        judge(&found, deviation, emulator).0
    }

    #[test]
    fn a_known_deviation_must_really_deviate() {
        let (text, id) = (Text::default(), Some("B-11"));
        assert_eq!(
            verdict(Found::Deviant(text), id, Emulator::Bochs),
            Verdict::Deviation("B-11")
        );
        assert_eq!(
            verdict(Found::Manual(text), id, Emulator::Bochs),
            Verdict::Surprise("B-11")
        );
        assert_eq!(
            verdict(Found::Wrong(text), id, Emulator::Bochs),
            Verdict::Fail
        );
    }

    #[test]
    fn a_processor_has_no_excuse() {
        let (text, id) = (Text::default(), Some("B-11"));
        assert_eq!(
            verdict(Found::Deviant(text), id, Emulator::None),
            Verdict::Fail
        );
        assert_eq!(
            verdict(Found::Manual(text), id, Emulator::None),
            Verdict::Pass
        );
    }

    #[test]
    fn a_deviation_that_no_case_names_is_a_failure() {
        assert_eq!(
            verdict(Found::Deviant(Text::default()), None, Emulator::Bochs),
            Verdict::Fail
        );
    }

    #[test]
    fn verdicts_and_counts_are_words_of_the_report() {
        let mut counts = Counts::default();
        for verdict in [
            Verdict::Pass,
            Verdict::Pass,
            Verdict::Fail,
            Verdict::Deviation("B-1"),
            Verdict::Surprise("B-2"),
            Verdict::Record,
            Verdict::Skip,
        ] {
            counts.add(verdict);
        }
        assert_eq!(
            counts.to_string(),
            "passed=2 failed=1 deviations=1 surprises=1 records=1 skipped=1"
        );
        assert_eq!(
            Verdict::Surprise("B-2").to_string(),
            "surprise deviation=B-2"
        );
    }
}
