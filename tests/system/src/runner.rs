// SPDX-License-Identifier: MIT OR Apache-2.0
//! Runs tests, several at a time, and says how each went.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::Result;

use crate::bench::Bench;
use crate::scenario::{Seen, Trial};
use crate::suite::Test;

/// How many lines of each console are shown of a test that failed.
const SHOWN_LINES: usize = 15;

/// Runs the tests; returns whether all passed.
pub fn run(bench: &Bench, tests: &[&Test], jobs: usize) -> bool {
    let next = AtomicUsize::new(0);
    let failed = AtomicUsize::new(0);
    let output = Mutex::new(());
    let work = || {
        while let Some(test) = tests.get(next.fetch_add(1, Ordering::Relaxed)) {
            let trial = Trial::new(bench, test.name);
            let started = Instant::now();
            let result = (test.run)(&trial);
            // A thread that died printing takes nothing away from the others.
            let _guard = output.lock();
            if !report(test, &trial, result, started.elapsed().as_secs_f64()) {
                failed.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..jobs.min(tests.len()) {
            scope.spawn(work);
        }
    });
    let failed = failed.into_inner();
    println!("{} passed, {failed} failed", tests.len() - failed);
    failed == 0
}

/// Prints how a test went; returns whether it passed.
fn report(test: &Test, trial: &Trial, result: Result<()>, seconds: f64) -> bool {
    let name = test.name;
    match result {
        Ok(()) => {
            println!("ok   {name} ({seconds:.1} s)");
            true
        }
        Err(error) => {
            println!("FAIL {name}: {error:#} ({seconds:.1} s)");
            if let Some(seen) = trial.take_last() {
                show(&seen);
            }
            false
        }
    }
}

fn show(seen: &Seen) {
    for label in seen.labels() {
        let lines: Vec<&str> = seen.console(label).collect();
        let first = lines.len().saturating_sub(SHOWN_LINES);
        for line in &lines[first..] {
            println!("     [{label}] {line}");
        }
    }
    println!("     files in {}", seen.folder().display());
}
