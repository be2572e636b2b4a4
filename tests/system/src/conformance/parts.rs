// SPDX-License-Identifier: MIT OR Apache-2.0
//! What `make conformance` does next to the columns: the differential test, long regressions, mutants.

use std::process::Command;
use std::time::Instant;

use super::column::Column;
use super::report::Part;
use super::runs::{self, DIFFERENTIAL};
use crate::bench::Bench;

/// Compares the processor with the reference model, and adds the runs to their columns.
pub fn differential(bench: &Bench, columns: &mut [Column], jobs: usize) {
    for (place, record) in runs::run_all(bench, &DIFFERENTIAL, "", jobs) {
        for column in columns.iter_mut().filter(|column| column.place == place) {
            column.runs.push(record.clone());
        }
    }
}

/// Returns a part for each run of the columns: how long it took.
pub fn of_columns(columns: &[Column]) -> Vec<Part> {
    let runs = columns.iter().flat_map(|column| {
        let place = column.place;
        column.runs.iter().map(move |run| Part {
            name: format!("{place} {}", run.name),
            seconds: run.seconds.unwrap_or_default(),
            passed: None,
            words: String::new(),
        })
    });
    runs.collect()
}

/// Checks that each mutant of the notify/wait protocol is found by the interleaving tests.
pub fn mutants(bench: &Bench) -> Part {
    let started = Instant::now();
    let output = Command::new("make")
        .args(["-s", "test-mutants"])
        .current_dir(bench.lab.root())
        // Else it waits for the jobs of the make that this runs in.
        .env_remove("MAKEFLAGS")
        .output();
    let (passed, words) = match output {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout);
            let last = text.lines().rfind(|line| line.contains(" passed, "));
            let words = last.unwrap_or("no line 'N passed, N failed'").to_owned();
            (output.status.success() && last.is_some(), words)
        }
        Err(error) => (false, format!("cannot start make: {error}")),
    };
    Part {
        name: "mutants of the notify/wait protocol".to_owned(),
        seconds: started.elapsed().as_secs_f64(),
        passed: Some(passed),
        words,
    }
}
