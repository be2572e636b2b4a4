// SPDX-License-Identifier: MIT OR Apache-2.0
//! A report as text.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display, Formatter};

use super::case::{CaseId, Verdict};
use super::column::{Column, MergedCase, SeedRecord, Sight};
use super::report::{Difference, Report, SeenDeviation};
use super::run::{Differential, Place};

const TITLE_WIDTH: usize = 60;
const VERDICT_WIDTH: usize = 16;
/// How many mismatches of a seed are shown.
const SHOWN_MISMATCHES: usize = 3;

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        subject(self, f)?;
        table(&self.columns, f)?;
        counts(&self.columns, f)?;
        surprises(&self.columns, f)?;
        list(f, "Deviations of the emulator", &self.deviations, deviation)?;
        records(&self.columns, f)?;
        list(
            f,
            "Differences from the bare machine that must be",
            &explained(&self.differences),
            |(place, reason, cases), f| {
                writeln!(f, "  {place}: {reason}")?;
                writeln!(f, "      {cases}")
            },
        )?;
        differential(&self.columns, f)?;
        list(f, "Parts", &self.parts, |part, f| {
            writeln!(
                f,
                "  {:<44} {:7.1} s  {}",
                part.name, part.seconds, part.words
            )
        })?;
        list(f, "Failures", &self.failures, |failure, f| {
            writeln!(f, "  FAIL {failure}")
        })?;
        write!(f, "\n{} passed, {} failed", self.passed, self.failed)
    }
}

fn subject(report: &Report, f: &mut Formatter<'_>) -> fmt::Result {
    let subject = &report.subject;
    writeln!(f, "Machine: {}", subject.machine)?;
    if let Some(commit) = &subject.commit {
        writeln!(f, "Commit: {commit}")?;
    }
    if let Some(emulator) = &subject.emulator {
        writeln!(f, "Emulator: {emulator}")?;
    }
    for column in &report.columns {
        for run in &column.runs {
            match &run.machine {
                Some(machine) => writeln!(
                    f,
                    "Run: {} {}: {} CPUs, {} mode, processor {}, VMX {}, user interrupts {}{}",
                    column.place,
                    run.name,
                    machine.cpus,
                    machine.apic,
                    machine.family,
                    yes(machine.vmx),
                    yes(machine.uintr),
                    if machine.is_bochs { ", Bochs" } else { "" }
                )?,
                None => writeln!(f, "Run: {} {}: never began", column.place, run.name)?,
            }
        }
    }
    Ok(())
}

fn yes(is_there: bool) -> &'static str {
    if is_there { "yes" } else { "no" }
}

fn table(columns: &[Column], f: &mut Formatter<'_>) -> fmt::Result {
    let Some(first) = columns.first().filter(|column| !column.cases.is_empty()) else {
        return Ok(());
    };
    write!(f, "\n{:<4} {:<TITLE_WIDTH$}", "id", "title")?;
    for column in columns {
        write!(f, " {:<VERDICT_WIDTH$}", column.place)?;
    }
    writeln!(f)?;
    for MergedCase { id, .. } in &first.cases {
        write!(
            f,
            "{:<4} {:<TITLE_WIDTH$}",
            id.to_string(),
            title(columns, *id)
        )?;
        for column in columns {
            let words = column.case(*id).map(MergedCase::words).unwrap_or_default();
            write!(f, " {words:<VERDICT_WIDTH$}")?;
        }
        writeln!(f)?;
    }
    Ok(())
}

/// Returns the title from whichever column has one, cut to the table's width.
fn title(columns: &[Column], id: CaseId) -> String {
    let cases = columns.iter().filter_map(|column| column.case(id));
    let title = cases
        .map(|case| &case.title)
        .find(|title| !title.is_empty());
    title.map_or(String::new(), |title| {
        title.chars().take(TITLE_WIDTH).collect()
    })
}

fn counts(columns: &[Column], f: &mut Formatter<'_>) -> fmt::Result {
    writeln!(f)?;
    for column in columns.iter().filter(|column| !column.cases.is_empty()) {
        writeln!(f, "{:<9}{}", column.place, column.counts)?;
    }
    Ok(())
}

/// Returns everything that was seen with this verdict, once, and where.
fn sights(columns: &[Column], verdict: Verdict) -> Vec<String> {
    let mut seen: BTreeMap<(CaseId, String), Vec<String>> = BTreeMap::new();
    for column in columns {
        for case in &column.cases {
            let of_verdict = case.sights.iter().filter(|sight| sight.verdict == verdict);
            let details: BTreeSet<&String> = of_verdict.map(|sight| &sight.detail).collect();
            for detail in details {
                let is_meant = |sight: &Sight| sight.verdict == verdict && sight.detail == *detail;
                let places = case.seen_in(column.place, is_meant);
                let entry = seen.entry((case.id, detail.clone())).or_default();
                entry.extend(places);
            }
        }
    }
    let line = |((id, detail), places)| format!("{id} {detail} ({})", joined::<String>(places));
    seen.into_iter().map(line).collect()
}

fn surprises(columns: &[Column], f: &mut Formatter<'_>) -> fmt::Result {
    let lines = sights(columns, Verdict::Surprise);
    list(
        f,
        "SURPRISES: the emulator is known to deviate here, and did not",
        &lines,
        |line, f| writeln!(f, "  !! {line}"),
    )
}

fn records(columns: &[Column], f: &mut Formatter<'_>) -> fmt::Result {
    let lines = sights(columns, Verdict::Record);
    list(
        f,
        "Recorded answers to open questions",
        &lines,
        |line, f| writeln!(f, "  {line}"),
    )
}

fn deviation(seen: &SeenDeviation, f: &mut Formatter<'_>) -> fmt::Result {
    writeln!(f, "  {:<5} {}", seen.id.to_string(), seen.emulator)?;
    writeln!(f, "        manual: {}", seen.manual)?;
    writeln!(f, "        {}", seen_where(seen))
}

/// Returns the cases that show a deviation, those in the same places together, and whether it explains mismatches.
pub(super) fn seen_where(seen: &SeenDeviation) -> String {
    let mut by_places: BTreeMap<String, Vec<CaseId>> = BTreeMap::new();
    for (&id, places) in &seen.cases {
        by_places.entry(joined(places)).or_default().push(id);
    }
    let cases = by_places.iter();
    let mut words: Vec<String> = cases
        .map(|(places, ids)| format!("{} ({places})", joined(ids)))
        .collect();
    if !seen.differential.is_empty() {
        words.push("differential test".to_owned());
    }
    words.join("; ")
}

/// Returns the explained differences, those of one place with one reason together: place, reason, cases.
pub(super) fn explained(differences: &[Difference]) -> Vec<(Place, &'static str, String)> {
    let mut groups: BTreeMap<(Place, &str), Vec<CaseId>> = BTreeMap::new();
    for difference in differences {
        if let Some(reason) = difference.explanation {
            let group = groups.entry((difference.place, reason)).or_default();
            group.push(difference.id);
        }
    }
    let group = |((place, reason), cases)| (place, reason, joined(&cases));
    groups.into_iter().map(group).collect()
}

fn differential(columns: &[Column], f: &mut Formatter<'_>) -> fmt::Result {
    let mut lines = Vec::new();
    let mut sums = [0; 3];
    for column in columns {
        for run in &column.runs {
            for seed in &run.seeds {
                lines.push(format!("{} {}: {}", column.place, run.name, figures(seed)));
                let shown = seed.unexplained.iter().take(SHOWN_MISMATCHES);
                lines.extend(shown.map(|mismatch| {
                    format!(
                        "  NOT EXPLAINED: step {} {}: {} is {}, in the model {}",
                        mismatch.step,
                        mismatch.op,
                        mismatch.field,
                        mismatch.machine,
                        mismatch.model
                    )
                }));
                let Differential {
                    steps,
                    compared,
                    mismatches,
                    ..
                } = seed.figures;
                for (sum, value) in sums.iter_mut().zip([steps, compared, mismatches]) {
                    *sum += value;
                }
            }
        }
    }
    if !lines.is_empty() {
        let [steps, compared, mismatches] = sums;
        lines.push(format!(
            "together: {steps} steps, {compared} comparisons, {mismatches} mismatches"
        ));
    }
    list(f, "Processor against model", &lines, |line, f| {
        writeln!(f, "  {line}")
    })
}

fn figures(seed: &SeedRecord) -> String {
    let figures = &seed.figures;
    format!(
        "seed {}, {} steps, {} comparisons, {} deliveries, {} faults, {}",
        figures.seed,
        figures.steps,
        figures.compared,
        figures.delivered,
        figures.faults,
        seed.words()
    )
}

fn list<T>(
    f: &mut Formatter<'_>,
    heading: &str,
    items: &[T],
    write: impl Fn(&T, &mut Formatter<'_>) -> fmt::Result,
) -> fmt::Result {
    if items.is_empty() {
        return Ok(());
    }
    writeln!(f, "\n{heading}:")?;
    items.iter().try_for_each(|item| write(item, f))
}

fn joined<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let words: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    words.join(", ")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::conformance::report::Subject;
    use crate::conformance::test_data::{record, run};

    /// Returns a report with one of most things.
    pub(crate) fn report() -> Report {
        let columns = [
            (
                Place::Bare,
                &[("T01", "pass"), ("T16", "deviation B-10"), ("V01", "pass")],
            ),
            (
                Place::Direct,
                &[
                    ("T01", "surprise B-1"),
                    ("T16", "deviation B-10"),
                    ("V01", "skip"),
                ],
            ),
        ]
        .map(|(place, cases)| {
            let wanted: Vec<CaseId> = cases.iter().map(|(id, _)| id.parse().unwrap()).collect();
            Column::merge(place, vec![record(run(place, cases))], &wanted)
        });
        let subject = Subject {
            machine: "a machine".to_owned(),
            commit: Some("0123abc".to_owned()),
            emulator: None,
        };
        Report::new(subject, columns.to_vec(), Vec::new())
    }

    #[test]
    fn the_text_has_the_table_and_ends_with_the_counts() {
        let text = report().to_string();
        let row = text.lines().find(|line| line.starts_with("T16")).unwrap();
        assert_eq!(row.matches("deviation B-10").count(), 2);
        for part in [
            "Commit: 0123abc",
            "!! T01 surprise seen (direct)",
            "B-10  XRSTORS that initializes",
            "VMX is not offered to a cell (Discovering Support for VMX: CPUID.1:ECX[5] = 0)\n      V01",
            "VMX is not offered to a cell",
            "FAIL T01: surprise B-1",
        ] {
            assert!(text.contains(part), "no {part:?} in\n{text}");
        }
        assert!(text.ends_with("\n6 passed, 1 failed"), "{text}");
    }
}
