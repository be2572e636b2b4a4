// SPDX-License-Identifier: MIT OR Apache-2.0
//! The results of all columns and parts, and what they come to.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::case::{CaseId, DeviationId, Verdict};
use super::column::{Column, MergedCase, Sight};
use super::run::Place;
use super::{deviations, expected};

/// Revision of the JSON form.
const FORMAT: u32 = 1;

/// What was tested.
#[derive(Clone, Debug, Serialize)]
pub struct Subject {
    /// The machine, in free words.
    pub machine: String,
    /// Commit of the image, where it was built here.
    pub commit: Option<String>,
    /// Version of the emulator, where it is one.
    pub emulator: Option<String>,
}

/// A deviation of the emulator that was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SeenDeviation {
    /// Its name.
    pub id: DeviationId,
    /// What the emulator does.
    pub emulator: &'static str,
    /// What the manual says.
    pub manual: &'static str,
    /// The cases that show it, and where: in a whole column or in some of its runs.
    pub cases: BTreeMap<CaseId, Vec<String>>,
    /// The runs of the differential test that it explains mismatches of.
    pub differential: BTreeSet<String>,
}

/// A case whose verdict in a cell is not the bare machine's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The case.
    pub id: CaseId,
    /// The cell's place.
    pub place: Place,
    /// Verdict and detail on the bare machine.
    pub bare: String,
    /// Verdict and detail in the cell.
    pub cell: String,
    /// Why that must be so.
    pub explanation: Option<&'static str>,
}

/// Something that was done next to the columns, or to get them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Part {
    /// What it is called.
    pub name: String,
    /// How long it took in wall-clock seconds.
    pub seconds: f64,
    /// Its result; none where the results that it led to are counted elsewhere.
    pub passed: Option<bool>,
    /// Its result in words.
    pub words: String,
}

/// All results.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Revision of this form.
    pub format: u32,
    /// What was tested.
    pub subject: Subject,
    /// The columns.
    pub columns: Vec<Column>,
    /// Deviations of the emulator that were seen.
    pub deviations: Vec<SeenDeviation>,
    /// Differences between cells and the bare machine.
    pub differences: Vec<Difference>,
    /// Everything next to the columns.
    pub parts: Vec<Part>,
    /// What failed, one line each.
    pub failures: Vec<String>,
    /// How many checks passed: cases in columns, explained differences, seeds, parts. Skips are none.
    pub passed: usize,
    /// How many failed.
    pub failed: usize,
}

impl Report {
    /// Judges columns and parts.
    pub fn new(subject: Subject, columns: Vec<Column>, parts: Vec<Part>) -> Self {
        let deviations = seen_deviations(columns.iter());
        let differences = all_differences(&columns);
        let mut report = Self {
            format: FORMAT,
            subject,
            columns,
            deviations,
            differences,
            parts,
            failures: Vec::new(),
            passed: 0,
            failed: 0,
        };
        let checks = report.checks();
        report.passed = checks.iter().filter(|check| check.is_none()).count();
        report.failures = checks.into_iter().flatten().collect();
        report.failed = report.failures.len();
        report
    }

    /// Returns each check: none if it passed, else what failed.
    fn checks(&self) -> Vec<Option<String>> {
        let mut checks: Vec<Option<String>> = self.columns.iter().flat_map(column_checks).collect();
        checks.extend(self.differences.iter().map(difference_check));
        let parts = self.parts.iter().filter_map(|part| {
            let failure = || format!("{}: {}", part.name, part.words);
            part.passed.map(|passed| (!passed).then(failure))
        });
        checks.extend(parts);
        checks
    }
}

/// Returns what fails in a column, and where it differs from the bare machine's without an explanation.
pub fn failures(column: &Column, bare: &Column) -> Vec<String> {
    let differences = differences(column, bare);
    let checks = column_checks(column).into_iter();
    checks
        .chain(differences.iter().map(difference_check))
        .flatten()
        .collect()
}

fn column_checks(column: &Column) -> Vec<Option<String>> {
    let mut checks = run_checks(column);
    checks.extend(case_checks(column));
    let undescribed = seen_deviations([column].into_iter())
        .into_iter()
        .filter(|seen| deviations::find(seen.id).is_none());
    checks.extend(undescribed.map(|seen| {
        let (place, id) = (column.place, seen.id);
        Some(format!(
            "{place}: deviation {id} is not described in deviations.rs"
        ))
    }));
    checks
}

fn difference_check(difference: &Difference) -> Option<String> {
    let Difference {
        id,
        place,
        bare,
        cell,
        explanation,
    } = difference;
    explanation.is_none().then(|| {
        format!("{id}: {cell} in {place}, but {bare} on the bare machine, and nothing explains it")
    })
}

/// Checks the runs themselves and the differential test's seeds.
fn run_checks(column: &Column) -> Vec<Option<String>> {
    let mut checks = Vec::new();
    for run in &column.runs {
        let say = |what: &str| Some(format!("{} {}: {what}", column.place, run.name));
        checks.extend(run.troubles.iter().map(|trouble| say(trouble)));
        checks.extend(run.seeds.iter().map(|seed| {
            let words = format!("seed {}: {}", seed.figures.seed, seed.words());
            (!seed.is_explained()).then(|| format!("{} {}: {words}", column.place, run.name))
        }));
    }
    checks
}

/// Checks the cases of a column. A skip that is explained, or seen on a machine that is not the emulator, is no check.
fn case_checks(column: &Column) -> Vec<Option<String>> {
    let machines = column.runs.iter().filter_map(|run| run.machine.as_ref());
    let is_emulated =
        machines.clone().count() > 0 && machines.clone().all(|machine| machine.is_bochs);
    let place = column.place;
    let mut checks = Vec::new();
    for case in &column.cases {
        let say = |what: &str| Some(format!("{place} {}: {what}", case.id));
        match case.verdict {
            Verdict::Missing => checks.push(say("missing: no run has it")),
            Verdict::Fail => checks.push(say(&failing_details(case))),
            Verdict::Skip if !is_emulated => (),
            Verdict::Skip if expected::reason(case.id, place, Verdict::Skip).is_some() => (),
            Verdict::Skip => checks.push(say(&format!(
                "skipped ({}), which nothing explains",
                case.detail()
            ))),
            _ => checks.push(None),
        }
    }
    checks
}

fn failing_details(case: &MergedCase) -> String {
    let failing = case
        .sights
        .iter()
        .filter(|sight| sight.verdict == Verdict::Fail);
    let details: Vec<String> = failing
        .map(|sight| format!("{} ({})", sight.detail, sight.run))
        .collect();
    details.join("; ")
}

fn seen_deviations<'a>(columns: impl Iterator<Item = &'a Column>) -> Vec<SeenDeviation> {
    let mut all: BTreeMap<DeviationId, SeenDeviation> = BTreeMap::new();
    let new = |id| {
        let known = deviations::find(id);
        SeenDeviation {
            id,
            emulator: known.map_or("not described", |known| known.bochs),
            manual: known.map_or("", |known| known.manual),
            cases: BTreeMap::new(),
            differential: BTreeSet::new(),
        }
    };
    for column in columns {
        for case in &column.cases {
            let is_deviant = |sight: &Sight| sight.verdict == Verdict::Deviation;
            let deviant = case.sights.iter().filter(|sight| is_deviant(sight));
            let ids: BTreeSet<_> = deviant.filter_map(|sight| sight.deviation).collect();
            for id in ids {
                let is_meant = |sight: &Sight| is_deviant(sight) && sight.deviation == Some(id);
                let seen = all.entry(id).or_insert_with(|| new(id));
                let places = case.seen_in(column.place, is_meant);
                seen.cases.entry(case.id).or_default().extend(places);
            }
        }
        for run in &column.runs {
            for &id in run.seeds.iter().flat_map(|seed| seed.explained.keys()) {
                let seen = all.entry(id).or_insert_with(|| new(id));
                let place = format!("{} {}", column.place, run.name);
                seen.differential.insert(place);
            }
        }
    }
    all.into_values().collect()
}

fn all_differences(columns: &[Column]) -> Vec<Difference> {
    let bare = columns.iter().find(|column| column.place == Place::Bare);
    let from_bare = |bare| {
        columns
            .iter()
            .flat_map(move |column| differences(column, bare))
    };
    bare.into_iter().flat_map(from_bare).collect()
}

fn differences(column: &Column, bare: &Column) -> Vec<Difference> {
    let difference = |case: &MergedCase| {
        let reference = bare.case(case.id)?;
        if reference.words() == case.words() {
            return None;
        }
        let words = |case: &MergedCase| format!("{} ({})", case.words(), case.detail());
        Some(Difference {
            id: case.id,
            place: column.place,
            bare: words(reference),
            cell: words(case),
            explanation: expected::reason(case.id, column.place, case.verdict)
                .or_else(|| expected::reason(case.id, Place::Bare, reference.verdict)),
        })
    };
    column.cases.iter().filter_map(difference).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::run::{Differential, Mismatch};
    use crate::conformance::test_data::{record, run};

    fn column(place: Place, cases: &[(&str, &str)]) -> Column {
        let wanted: Vec<CaseId> = cases.iter().map(|(id, _)| id.parse().unwrap()).collect();
        Column::merge(place, vec![record(run(place, cases))], &wanted)
    }

    fn report(columns: Vec<Column>) -> Report {
        let subject = Subject {
            machine: "test".to_owned(),
            commit: None,
            emulator: None,
        };
        Report::new(subject, columns, Vec::new())
    }

    #[test]
    fn everything_in_order() {
        let cases = [
            ("T01", "pass"),
            ("T16", "deviation B-10"),
            ("T17", "record"),
        ];
        let report = report(vec![
            column(Place::Bare, &cases),
            column(Place::Direct, &cases),
        ]);
        assert_eq!((report.passed, report.failed), (6, 0));
        assert_eq!(report.deviations.len(), 1);
        let places: Vec<_> = report.deviations[0].cases.values().flatten().collect();
        assert_eq!(places, ["bare", "direct"]);
    }

    #[test]
    fn a_fail_and_a_missing_case_count() {
        let mut bare = column(Place::Bare, &[("T01", "fail"), ("T02", "pass")]);
        assert_eq!(report(vec![bare.clone()]).failed, 1);
        bare.runs.clear();
        let column = Column::merge(Place::Bare, Vec::new(), &["T03".parse().unwrap()]);
        let report = report(vec![column]);
        assert_eq!((report.passed, report.failed), (0, 1));
        assert!(report.failures[0].contains("bare T03: missing"));
    }

    #[test]
    fn only_explained_skips_are_no_failure() {
        assert_eq!(
            report(vec![column(Place::Direct, &[("V01", "skip")])]).failed,
            0
        );
        assert_eq!(
            report(vec![column(Place::Bare, &[("V01", "skip")])]).failed,
            1
        );
    }

    #[test]
    fn a_real_machine_may_skip() {
        let mut bare = column(Place::Bare, &[("V01", "skip")]);
        for run in &mut bare.runs {
            if let Some(machine) = &mut run.machine {
                machine.is_bochs = false;
            }
        }
        assert_eq!(report(vec![bare]).failed, 0);
    }

    #[test]
    fn a_difference_needs_an_explanation() {
        let bare = column(Place::Bare, &[("T37", "pass"), ("V01", "pass")]);
        let cell = column(Place::Filtered, &[("T37", "record"), ("V01", "skip")]);
        let report = report(vec![bare, cell]);
        assert_eq!(report.differences.len(), 2);
        assert_eq!(report.failed, 1);
        assert!(report.failures[0].starts_with("T37: record (record seen) in filtered"));
    }

    #[test]
    fn another_deviation_is_a_difference_too() {
        let bare = column(Place::Bare, &[("T25", "deviation B-11")]);
        let cell = column(Place::Direct, &[("T25", "deviation B-12")]);
        assert_eq!(report(vec![bare, cell]).failed, 1);
    }

    #[test]
    fn a_deviation_that_nobody_described_is_a_failure() {
        let report = report(vec![column(Place::Bare, &[("T25", "deviation B-255")])]);
        assert!(report.failures[0].contains("B-255 is not described"));
    }

    #[test]
    fn a_run_without_its_last_line_is_a_failure() {
        let mut cut = run(Place::Bare, &[("T01", "pass")]);
        cut.is_complete = false;
        let column = Column::merge(Place::Bare, vec![record(cut)], &["T01".parse().unwrap()]);
        let report = report(vec![column]);
        assert_eq!((report.passed, report.failed), (1, 1));
        assert!(report.failures[0].contains("after case T01"));
    }

    #[test]
    fn mismatches_must_be_explained_one_by_one() {
        let seed = |mismatches| Differential {
            seed: 1,
            steps: 100,
            compared: 100,
            delivered: 1,
            faults: 1,
            mismatches,
        };
        let mismatch = Mismatch {
            seed: 1,
            step: 2,
            op: "senduipi".to_owned(),
            field: "on".to_owned(),
            machine: "1".to_owned(),
            model: "0".to_owned(),
            deviation: Some(DeviationId(11)),
        };
        for (counted, failed) in [(0, 1), (1, 0), (2, 1)] {
            let mut run = run(Place::Bare, &[]);
            run.differential = vec![seed(counted)];
            run.mismatches = vec![mismatch.clone()];
            let column = Column::merge(Place::Bare, vec![record(run)], &[]);
            assert_eq!(report(vec![column]).failed, failed, "{counted}");
        }
    }

    #[test]
    fn parts_count() {
        let part = |passed| Part {
            name: "mutants".to_owned(),
            seconds: 1.0,
            passed,
            words: "3 passed, 1 failed".to_owned(),
        };
        let subject = report(Vec::new()).subject;
        let parts = vec![part(Some(true)), part(Some(false)), part(None)];
        let report = Report::new(subject, Vec::new(), parts);
        assert_eq!((report.passed, report.failed), (1, 1));
    }
}
