// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tests of the kernel's calls, from a program: `usertests [NAME...]`, all tests without names.
//!
//! Each test runs in a process of its own, so that a crash fails that test only; afterwards no process and no page frame may be
//! left over. Prints `ok NAME` or `FAIL NAME: why` for each on the cell's console, and `usertests: N passed, N failed`.
#![no_std]
#![no_main]

mod check;
mod faults;
mod helper;
mod kill;
mod limits;
mod memory;
mod processes;
mod programs;
mod registers;
mod threads;
mod time;

use freestanding as _;
use nimbos_apps::abi::counter;
use nimbos_apps::system::{self, Error, Fork};
use nimbos_apps::{Arguments, entry, eprint};

use check::{Check, Failure};

entry!(main);

/// Status of a test's process that has said why it failed.
const FAILED: i32 = 1;

/// A test: its name, and what it does.
type Test = (&'static str, fn() -> Check);

fn main(arguments: Arguments) -> i32 {
    if let Some(status) = helper::run(arguments) {
        return status;
    }
    let is_wanted = |name: &str| {
        arguments.count() < 2 || (1..arguments.count()).any(|i| arguments.get(i) == Some(name))
    };
    let (mut passed, mut failed) = (0, 0);
    let all = [
        processes::TESTS,
        programs::TESTS,
        threads::TESTS,
        memory::TESTS,
        registers::TESTS,
        faults::TESTS,
        kill::TESTS,
        time::TESTS,
        limits::TESTS,
    ];
    for &(name, test) in all.iter().flat_map(|tests| tests.iter()) {
        if !is_wanted(name) {
            continue;
        }
        match run(name, test) {
            Ok(()) => {
                passed += 1;
                eprint!("ok {name}\n");
            }
            Err(Failure(why)) => {
                failed += 1;
                eprint!("FAIL {name}: {why}\n");
            }
        }
    }
    eprint!("usertests: {passed} passed, {failed} failed\n");
    i32::from(failed != 0 || passed == 0)
}

/// Runs a test in a process of its own, and looks whether it leaves anything.
fn run(name: &str, test: fn() -> Check) -> Check {
    let frames = system::counter(counter::FREE_FRAMES)?;
    match system::fork()? {
        Fork::Child => system::exit(in_child(name, test)),
        Fork::Parent { child } => {
            let mut status = None;
            // What the test leaves comes to this process, which is init.
            loop {
                match system::wait(-1) {
                    Ok((pid, of)) if pid == child => status = Some(of),
                    Ok(_) => {}
                    Err(Error::NO_CHILD) => break,
                    Err(error) => return Err(error.into()),
                }
            }
            match status {
                Some(0) => {}
                Some(FAILED) => return Err(Failure("see above")),
                Some(_) => return Err(Failure("its process ended otherwise")),
                None => return Err(Failure("its process was never waited for")),
            }
        }
    }
    if system::counter(counter::FREE_FRAMES)? == frames {
        Ok(())
    } else {
        Err(Failure("page frames are lost"))
    }
}

fn in_child(name: &str, test: fn() -> Check) -> i32 {
    match test() {
        Ok(()) => 0,
        Err(Failure(why)) => {
            eprint!("{name}: {why}\n");
            FAILED
        }
    }
}
