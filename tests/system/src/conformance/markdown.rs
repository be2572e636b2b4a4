// SPDX-License-Identifier: MIT OR Apache-2.0
//! The tables of docs/uintr-conformance.md.

use std::fmt::{self, Display, Formatter};

use super::column::Column;
use super::report::Report;
use super::text::{explained, seen_where};

/// A report's deviations, counts and explained differences as Markdown.
#[derive(Debug)]
pub struct Markdown<'a>(pub &'a Report);

impl Display for Markdown<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let report = self.0;
        header(f, &["id", "the emulator", "the manual", "cases"])?;
        for seen in &report.deviations {
            let (id, emulator, manual) = (seen.id, seen.emulator, seen.manual);
            writeln!(f, "| {id} | {emulator} | {manual} | {} |", seen_where(seen))?;
        }
        writeln!(f)?;
        header(
            f,
            &[
                "column",
                "pass",
                "deviation",
                "recorded",
                "surprise",
                "skip",
                "fail",
            ],
        )?;
        for Column { place, counts, .. } in &report.columns {
            let row = [
                counts.passed,
                counts.deviations,
                counts.records,
                counts.surprises,
                counts.skipped,
                counts.failed + counts.missing,
            ];
            let cells: String = row.iter().map(|count| format!(" {count} |")).collect();
            writeln!(f, "| {place} |{cells}")?;
        }
        writeln!(f)?;
        header(
            f,
            &["column", "why it differs from the bare machine", "cases"],
        )?;
        for (place, reason, cases) in explained(&report.differences) {
            writeln!(f, "| {place} | {reason} | {cases} |")?;
        }
        Ok(())
    }
}

fn header(f: &mut Formatter<'_>, names: &[&str]) -> fmt::Result {
    writeln!(f, "| {} |", names.join(" | "))?;
    writeln!(f, "|{}", " --- |".repeat(names.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::text::tests::report;

    #[test]
    fn there_is_a_row_for_each() {
        let text = Markdown(&report()).to_string();
        for row in [
            "| B-10 | XRSTORS that",
            "| T16 (bare, direct) |",
            "| direct | 0 | 1 | 0 | 1 | 1 | 0 |",
            "| direct | VMX is not offered to a cell",
            "ECX[5] = 0) | V01 |",
        ] {
            assert!(text.contains(row), "no {row:?} in\n{text}");
        }
    }
}
