// SPDX-License-Identifier: MIT OR Apache-2.0
//! A column of the results: all runs in one place, merged case by case.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::case::{CaseId, DeviationId, Verdict};
use super::run::{Counts, Differential, Header, Mismatch, Place, Run};

/// One seed of the differential test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SeedRecord {
    /// Its figures.
    #[serde(flatten)]
    pub figures: Differential,
    /// Mismatches that known deviations explain, by deviation.
    pub explained: BTreeMap<DeviationId, u64>,
    /// The others.
    pub unexplained: Vec<Mismatch>,
}

impl SeedRecord {
    fn new(figures: &Differential, mismatches: &[Mismatch]) -> Self {
        let mut record = Self {
            figures: figures.clone(),
            explained: BTreeMap::new(),
            unexplained: Vec::new(),
        };
        let of_seed = |mismatch: &&Mismatch| mismatch.seed == figures.seed;
        for mismatch in mismatches.iter().filter(of_seed) {
            match mismatch.deviation {
                Some(id) => *record.explained.entry(id).or_default() += 1,
                None => record.unexplained.push(mismatch.clone()),
            }
        }
        record
    }

    /// Tells whether deviations explain every mismatch that was counted.
    pub fn is_explained(&self) -> bool {
        self.unexplained.is_empty()
            && self.explained.values().sum::<u64>() == self.figures.mismatches
    }

    /// Returns how many mismatches there are, and how many of them each deviation explains.
    pub fn words(&self) -> String {
        let explained = self.explained.iter();
        let explained: String = explained
            .map(|(id, count)| format!(", {count} by {id}"))
            .collect();
        format!("{} mismatches{explained}", self.figures.mismatches)
    }
}

/// One run of the image.
#[derive(Clone, Debug, Serialize)]
pub struct RunRecord {
    /// What it is called: the mode of the local APICs, or what is special.
    pub name: String,
    /// How long it took in wall-clock seconds, where that is known.
    pub seconds: Option<f64>,
    /// The machine, where the run came that far.
    pub machine: Option<Header>,
    /// Why it is no whole run.
    pub troubles: Vec<String>,
    /// The differential test's seeds.
    pub seeds: Vec<SeedRecord>,
    #[serde(skip)]
    run: Option<Run>,
}

impl RunRecord {
    /// Records a run that took `seconds`.
    pub fn new(name: String, seconds: Option<f64>, run: Run) -> Self {
        Self {
            name,
            seconds,
            machine: Some(run.header.clone()),
            troubles: run.troubles(),
            seeds: run
                .differential
                .iter()
                .map(|seed| SeedRecord::new(seed, &run.mismatches))
                .collect(),
            run: Some(run),
        }
    }

    /// Adds what went wrong around a run, and makes a record of a run that never began.
    pub fn troubled(name: String, seconds: f64, run: Option<Run>, trouble: String) -> Self {
        let mut record = match run {
            Some(run) => Self::new(name, Some(seconds), run),
            None => Self {
                name,
                seconds: Some(seconds),
                machine: None,
                troubles: Vec::new(),
                seeds: Vec::new(),
                run: None,
            },
        };
        record.troubles.insert(0, trouble);
        record
    }
}

/// What one run saw of a case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sight {
    /// The run's name.
    pub run: String,
    /// Its verdict.
    pub verdict: Verdict,
    /// The deviation that the verdict is about.
    pub deviation: Option<DeviationId>,
    /// What was seen.
    pub detail: String,
}

/// A case in a column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MergedCase {
    /// The case.
    pub id: CaseId,
    /// What it is about.
    pub title: String,
    /// The greatest verdict of all runs.
    pub verdict: Verdict,
    /// The deviations that this verdict is about.
    pub deviations: BTreeSet<DeviationId>,
    /// What each run saw.
    pub sights: Vec<Sight>,
}

impl MergedCase {
    /// Returns the first detail that goes with the verdict.
    pub fn detail(&self) -> &str {
        let sight = self
            .sights
            .iter()
            .find(|sight| sight.verdict == self.verdict);
        sight.map_or("", |sight| &sight.detail)
    }

    /// Returns where something was seen: just `place` if all runs there saw it that did not skip the case, else each run.
    pub fn seen_in(&self, place: Place, is_meant: impl Fn(&Sight) -> bool) -> Vec<String> {
        let ran = |sight: &&Sight| sight.verdict != Verdict::Skip;
        let seen = || self.sights.iter().filter(|sight| is_meant(sight));
        let by_all = self.sights.iter().filter(ran).all(&is_meant);
        if by_all && seen().next().is_some() {
            return vec![place.to_string()];
        }
        let run = |sight: &Sight| format!("{place} {}", sight.run);
        seen().map(run).collect()
    }

    /// Returns the verdict with its deviations.
    pub fn words(&self) -> String {
        let deviations: String = self.deviations.iter().map(|id| format!(" {id}")).collect();
        format!("{}{deviations}", self.verdict.word())
    }
}

/// All runs in one place.
#[derive(Clone, Debug, Serialize)]
pub struct Column {
    /// The place.
    pub place: Place,
    /// The runs.
    pub runs: Vec<RunRecord>,
    /// The wanted cases, in the order of their names.
    pub cases: Vec<MergedCase>,
    /// How many verdicts of each kind there are.
    pub counts: Counts,
}

impl Column {
    /// Merges runs, which must all be of this place. A wanted case that no run has is missing.
    pub fn merge(place: Place, runs: Vec<RunRecord>, wanted: &[CaseId]) -> Self {
        let cases: Vec<MergedCase> = wanted.iter().map(|&id| merge(id, &runs)).collect();
        let counts = Counts::of(cases.iter().map(|case| case.verdict));
        Self {
            place,
            runs,
            cases,
            counts,
        }
    }

    /// Returns a case of this column.
    pub fn case(&self, id: CaseId) -> Option<&MergedCase> {
        self.cases.iter().find(|case| case.id == id)
    }
}

fn merge(id: CaseId, runs: &[RunRecord]) -> MergedCase {
    let mut title = String::new();
    let mut sights = Vec::new();
    for record in runs {
        let cases = record.run.iter().flat_map(|run| &run.cases);
        for case in cases.filter(|case| case.id == id) {
            title.clone_from(&case.title);
            sights.push(Sight {
                run: record.name.clone(),
                verdict: case.verdict,
                deviation: case.deviation,
                detail: case.detail.clone(),
            });
        }
    }
    let verdict = sights.iter().map(|sight| sight.verdict).max();
    let verdict = verdict.unwrap_or(Verdict::Missing);
    let deviations = sights
        .iter()
        .filter(|sight| sight.verdict == verdict)
        .filter_map(|sight| sight.deviation)
        .collect();
    MergedCase {
        id,
        title,
        verdict,
        deviations,
        sights,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::test_data::{record, run};

    fn merged(of: &[&str]) -> MergedCase {
        let runs = of
            .iter()
            .map(|verdict| record(run(Place::Bare, &[("T01", verdict)])));
        let id = "T01".parse().unwrap();
        Column::merge(Place::Bare, runs.collect(), &[id])
            .cases
            .remove(0)
    }

    #[test]
    fn the_greatest_verdict_counts() {
        for (verdicts, merged_verdict) in [
            (&["pass", "skip"][..], Verdict::Pass),
            (&["skip", "skip"], Verdict::Skip),
            (&["record", "pass"], Verdict::Record),
            (&["surprise B-1", "record"], Verdict::Surprise),
            (
                &["pass", "deviation B-1", "surprise B-1"],
                Verdict::Deviation,
            ),
            (&["deviation B-1", "fail", "pass"], Verdict::Fail),
            (&[], Verdict::Missing),
        ] {
            assert_eq!(merged(verdicts).verdict, merged_verdict, "{verdicts:?}");
        }
    }

    #[test]
    fn deviations_are_those_of_the_verdict() {
        let case = merged(&["deviation B-2", "surprise B-3", "deviation B-1"]);
        assert_eq!(case.words(), "deviation B-1 B-2");
        assert_eq!(merged(&["deviation B-2", "fail"]).words(), "fail");
    }

    #[test]
    fn a_case_that_is_not_wanted_is_left_out() {
        let runs = vec![record(run(
            Place::Bare,
            &[("T01", "pass"), ("T02", "fail")],
        ))];
        let column = Column::merge(Place::Bare, runs, &["T01".parse().unwrap()]);
        assert_eq!(column.cases.len(), 1);
        assert_eq!(column.counts.failed, 0);
    }

    #[test]
    fn a_run_that_never_began_has_only_troubles() {
        let runs = vec![RunRecord::troubled("x".into(), 1.0, None, "hung".into())];
        let column = Column::merge(Place::Bare, runs, &["T01".parse().unwrap()]);
        assert_eq!(column.counts.missing, 1);
        assert_eq!(column.runs[0].troubles, ["hung"]);
    }
}
