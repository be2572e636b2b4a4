// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tests of forwarded calls, from a program: `fwdtest [NAME...]`, all tests without names. Each call with good and bad
//! arguments, files of processes, calls that wait. `fwdtest kills rounds=N` is about servers that die, `fwdtest reset rounds=N` is about a cell that starts anew.
//!
//! Prints `ok NAME` or `FAIL NAME: what: value` for each on the cell's console, and `fwdtest: N passed, N failed`. Some tests leave
//! files that whoever runs the Linux cell can look at.
#![no_std]
#![no_main]

mod blocking;
mod check;
mod descriptors;
mod files;
mod linux;
mod paths;
mod pointers;
mod processes;
mod reset;
mod rings;
mod sockets;
mod storm;

use freestanding as _;
use nimbos_apps::{Arguments, entry, eprint};

use check::{Check, Failure};

entry!(main);

/// Servers die, on either path.
fn kills(rounds: u32) -> i32 {
    match storm::run(rounds) {
        0 => rings::run(rounds),
        status => status,
    }
}

/// A test: its name, and what it does.
type Test = (&'static str, fn() -> Check);

fn main(arguments: Arguments) -> i32 {
    if let Some(status) = processes::help(arguments) {
        return status;
    }
    let in_rounds: Option<fn(u32) -> i32> = match arguments.get(1) {
        Some("kills") => Some(kills),
        Some("reset") => Some(reset::run),
        _ => None,
    };
    if let Some(run) = in_rounds {
        let rounds = arguments
            .get(2)
            .and_then(|word| word.strip_prefix("rounds="));
        return match rounds.map(str::parse) {
            Some(Ok(rounds)) => run(rounds),
            _ => {
                eprint!("fwdtest: rounds=N, please\n");
                2
            }
        };
    }
    let is_wanted = |name: &str| {
        arguments.count() < 2 || (1..arguments.count()).any(|i| arguments.get(i) == Some(name))
    };
    let (mut passed, mut failed) = (0, 0);
    let all = [
        files::TESTS,
        paths::TESTS,
        pointers::TESTS,
        descriptors::TESTS,
        processes::TESTS,
        sockets::TESTS,
        blocking::TESTS,
    ];
    for &(name, test) in all.iter().flat_map(|tests| tests.iter()) {
        if !is_wanted(name) {
            continue;
        }
        match test() {
            Ok(()) => {
                passed += 1;
                eprint!("ok {name}\n");
            }
            Err(Failure { what, value }) => {
                failed += 1;
                eprint!("FAIL {name}: {what}: {value}\n");
            }
        }
    }
    eprint!("fwdtest: {passed} passed, {failed} failed\n");
    i32::from(failed != 0 || passed == 0)
}
