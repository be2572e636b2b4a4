// SPDX-License-Identifier: MIT OR Apache-2.0
//! Cases and verdicts, in the image's words.

use std::fmt;
use std::str::FromStr;

use anyhow::{Error, Result, bail};
use serde::{Serialize, Serializer};

/// Cases about the processor itself, `T01` to `T72`.
const PROCESSOR_CASES: u8 = 72;
/// Cases about VMX, `V01` to `V27`.
const VMX_CASES: u8 = 27;

/// What a case is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Series {
    T,
    V,
}

/// Name of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CaseId {
    series: Series,
    number: u8,
}

impl CaseId {
    /// Returns all 99 in their order.
    pub fn all() -> impl Iterator<Item = Self> {
        let series = |series, last| (1..=last).map(move |number| Self { series, number });
        series(Series::T, PROCESSOR_CASES).chain(series(Series::V, VMX_CASES))
    }
}

impl fmt::Display for CaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}{:02}", self.series, self.number)
    }
}

impl FromStr for CaseId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match Self::all().find(|id| id.to_string() == text) {
            Some(id) => Ok(id),
            None => bail!("there is no case {text:?}: they are T01 to T72 and V01 to V27"),
        }
    }
}

impl Serialize for CaseId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Verdict of a case. Of several runs of one case the greatest counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It could not run there.
    Skip,
    /// The manual's result was seen.
    Pass,
    /// The manual leaves it open; what was seen is in the detail.
    Record,
    /// The manual's result was seen, although the emulator is known to deviate.
    Surprise,
    /// Exactly the emulator's known deviation was seen.
    Deviation,
    /// Something else was seen.
    Fail,
    /// No run has the case.
    Missing,
}

impl Verdict {
    /// Tells whether it makes the suite fail.
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Fail | Self::Missing)
    }

    /// Returns the word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Pass => "pass",
            Self::Record => "record",
            Self::Surprise => "surprise",
            Self::Deviation => "deviation",
            Self::Fail => "fail",
            Self::Missing => "missing",
        }
    }
}

impl FromStr for Verdict {
    type Err = Error;

    /// Reads the word of a report. A report has no case that is missing.
    fn from_str(text: &str) -> Result<Self> {
        let all = [
            Self::Skip,
            Self::Pass,
            Self::Record,
            Self::Surprise,
            Self::Deviation,
            Self::Fail,
        ];
        match all.into_iter().find(|verdict| verdict.word() == text) {
            Some(verdict) => Ok(verdict),
            None => bail!("{text:?} is no verdict"),
        }
    }
}

/// Name of a deviation of the emulator: `B-` and a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeviationId(pub u8);

impl fmt::Display for DeviationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "B-{}", self.0)
    }
}

impl FromStr for DeviationId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let number = text
            .strip_prefix("B-")
            .and_then(|number| number.parse().ok());
        // Written back, so that each has one name.
        match number.map(Self).filter(|id| id.to_string() == text) {
            Some(id) => Ok(id),
            None => bail!("{text:?} names no deviation: B- and a number does"),
        }
    }
}

impl Serialize for DeviationId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_99_cases_with_names_of_their_own() {
        let ids: Vec<CaseId> = CaseId::all().collect();
        assert_eq!(ids.len(), 99);
        assert!(ids.is_sorted());
        for id in ids {
            assert_eq!(id.to_string().parse::<CaseId>().unwrap(), id);
        }
    }

    #[test]
    fn other_names_are_refused() {
        for name in [
            "", "T00", "T73", "V28", "T1", "T001", "t01", "T01 ", "X01", "Tä",
        ] {
            assert!(name.parse::<CaseId>().is_err(), "{name}");
        }
        for name in ["", "B-", "B-256", "B-01", "B-+1", "C-1", "1"] {
            assert!(name.parse::<DeviationId>().is_err(), "{name}");
        }
        for name in ["", "passed", "PASS", "missing"] {
            assert!(name.parse::<Verdict>().is_err(), "{name}");
        }
    }

    #[test]
    fn a_failure_outweighs_everything_and_a_skip_nothing() {
        use Verdict::{Deviation, Fail, Pass, Record, Skip, Surprise};
        let order = [Skip, Pass, Record, Surprise, Deviation, Fail];
        assert!(order.is_sorted());
    }
}
