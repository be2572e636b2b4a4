// SPDX-License-Identifier: MIT OR Apache-2.0
//! What `make conformance` does next to the columns: the differential test, long regressions, mutants.

use std::env;
use std::path::Path;
use std::process::{Command, Stdio};
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

/// Runs what broke in earlier systems of this kind, for long. Nobody else may hold the lab's turn.
pub fn regressions(root: &Path) -> Part {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["run", "--release", "-p", "system-tests", "--"]);
    command.args(["--long", "--filter", "regress"]);
    part("long regressions", command.current_dir(root))
}

/// Checks that each mutant of the notify/wait protocol is found by the interleaving tests.
pub fn mutants(root: &Path) -> Part {
    let mut command = Command::new("make");
    command.args(["-s", "test-mutants"]).current_dir(root);
    // Else it waits for the jobs of the make that this runs in.
    command.env_remove("MAKEFLAGS");
    part("mutants of the notify/wait protocol", &mut command)
}

/// Runs a program whose last line says `N passed, N failed`. Its errors go where this program's go.
fn part(name: &str, command: &mut Command) -> Part {
    let started = Instant::now();
    let (passed, words) = match command.stderr(Stdio::inherit()).output() {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout);
            for line in text.lines().filter(|line| line.starts_with("FAIL")) {
                eprintln!("[conformance] {name}: {line}");
            }
            let last = text.lines().rfind(|line| line.contains(" passed, "));
            let words = last.unwrap_or("no line 'N passed, N failed'").to_owned();
            (output.status.success() && last.is_some(), words)
        }
        Err(error) => (false, format!("cannot be started: {error}")),
    };
    Part {
        name: name.to_owned(),
        seconds: started.elapsed().as_secs_f64(),
        passed: Some(passed),
        words,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Part {
        part("x", Command::new("sh").args(["-c", script]))
    }

    #[test]
    fn a_part_passes_by_its_status_and_its_last_line() {
        assert_eq!(shell("echo 2 passed, 0 failed").passed, Some(true));
        for script in ["echo 2 passed, 1 failed; exit 1", "true", "exit 2"] {
            assert_eq!(shell(script).passed, Some(false), "{script}");
        }
        let missing = part("x", &mut Command::new("/nonexistent"));
        assert_eq!(missing.passed, Some(false));
    }
}
