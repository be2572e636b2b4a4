// SPDX-License-Identifier: MIT OR Apache-2.0
//! Processes: started and waited for, or killed.

use core::hint::spin_loop;
use core::time::Duration;

use nimbos_apps::abi::SIGKILL;
use nimbos_apps::file::{self, File};
use nimbos_apps::process::{self, ExitStatus};
use nimbos_apps::{Error, time};

use crate::worker::{Kind, Worker, Wrong};

/// Longest life of one that is killed, in microseconds.
const MAX_LIFE: u64 = 20_000;
/// Longer than any test.
const FOREVER: Duration = Duration::from_secs(1_000_000);

/// Starts a process and waits for its end.
pub fn run(worker: &mut Worker) -> Result<(), Wrong> {
    worker.begin(Kind::Process);
    let status = worker.random.i32(0..256);
    let child = if worker.random.u32(0..4) == 0 {
        // Another program, which ends with 127 because there is no such command.
        let arguments = [c"sh", c"-c", c"exit", c"127"].into_iter();
        let child = worker.call("fork", || {
            process::run(|| {
                process::execute(c"sh", arguments);
                1
            })
        })?;
        (child, 127)
    } else {
        (worker.call("fork", || process::run(|| status))?, status)
    };
    let (child, expected) = child;
    let ended = worker.call("waitpid", || process::wait(child))?;
    worker.check("status", ended == ExitStatus(expected))?;
    worker.refused("waitpid", Error::NO_CHILD, || process::wait(child))
}

/// Starts a process that would not end, and kills it.
pub fn kill(worker: &mut Worker) -> Result<(), Wrong> {
    worker.begin(Kind::Kill);
    let (from, to) = worker.call("pipe", file::pipe)?;
    let way = worker.random.u32(0..3);
    let child = worker.call("fork", || process::run(|| stay(way, from)))?;
    let life = Duration::from_micros(worker.random.u64(0..MAX_LIFE));
    worker.call("nanosleep", || time::sleep(life))?;
    worker.call("kill", || process::kill(child, SIGKILL as u32))?;
    let ended = worker.call("waitpid", || process::wait(child))?;
    worker.check("status", ended == ExitStatus::KILLED)?;
    worker.refused("kill", Error::NO_PROCESS, || {
        process::kill(child, SIGKILL as u32)
    })?;
    worker.call("close", || from.close())?;
    worker.call("close", || to.close())
}

/// Sleeps, waits for what never comes, or runs, and does not end.
fn stay(way: u32, empty: File) -> i32 {
    match way {
        0 => i32::from(time::sleep(FOREVER).is_err()),
        1 => i32::from(empty.read(&mut [0; 8]).is_err()),
        _ => loop {
            spin_loop();
        },
    }
}
