// SPDX-License-Identifier: MIT OR Apache-2.0
//! The conformance cases in each place, and that cells differ from the bare machine only where they must.

use anyhow::{Result, ensure};

use crate::bench::Bench;
use crate::conformance::case::CaseId;
use crate::conformance::column::Column;
use crate::conformance::run::Place;
use crate::conformance::{report, runs};
use crate::scenario::Trial;

/// On the bare machine.
pub fn bare(trial: &Trial) -> Result<()> {
    let bare = bare_column(trial.bench);
    judge(bare, bare)
}

/// In a cell with a direct channel.
pub fn direct(trial: &Trial) -> Result<()> {
    let cell = column(trial.bench, Place::Direct);
    judge(&cell, bare_column(trial.bench))
}

/// In a cell whose notifications are checked.
pub fn filtered(trial: &Trial) -> Result<()> {
    let cell = column(trial.bench, Place::Filtered);
    judge(&cell, bare_column(trial.bench))
}

/// Returns the bare machine's column. The first test that asks for it runs it, the others wait.
fn bare_column(bench: &Bench) -> &Column {
    bench.bare_column.get_or_init(|| column(bench, Place::Bare))
}

fn column(bench: &Bench, place: Place) -> Column {
    let all: Vec<CaseId> = CaseId::all().collect();
    runs::column(bench, place, &all)
}

fn judge(column: &Column, bare: &Column) -> Result<()> {
    let failures = report::failures(column, bare);
    ensure!(failures.is_empty(), "{}", failures.join("\n     "));
    Ok(())
}
