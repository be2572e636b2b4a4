// SPDX-License-Identifier: MIT OR Apache-2.0
//! The cell starts anew in the middle of a hundred calls, again and again: `fwdtest reset rounds=N`.
//!
//! What is to be known from one start to the next lies in files of the Linux cell, whose server lives on: how many starts there
//! were, and what kernel and server had at the first. At each start both are to have as much as then; before the next,
//! thirty calls are with the server, each a read of an empty pipe, seventy wait for a place in the ring, and several files of
//! two processes are open.

use core::ffi::CStr;

use nimbos_apps::abi::{counter, reboot};
use nimbos_apps::{eprint, system};

use crate::check::{Check, Failure, call, into, is, path, threads, until, works};
use crate::files::{close, create, pipe, write};
use crate::linux::*;

/// Calls that are with the server for certain.
const FIRST: u32 = 30;
/// All calls.
const ALL: u32 = 100;
/// What is counted: free page frames; the server's open files, processes, calls under way and targets.
const COUNTERS: usize = 5;
/// The state of all rounds: how many there were, and the counters of the first.
const STATE: &CStr = c"/tmp/reset-state";

/// Plays one round of `rounds`, or the end; returns the exit status.
pub fn run(rounds: u32) -> i32 {
    match play(rounds) {
        Ok(()) => 0,
        Err(Failure { what, value }) => {
            eprint!("reset: FAIL {what}: {value}\n");
            1
        }
    }
}

fn play(rounds: u32) -> Check {
    let frames = system::counter(counter::FREE_FRAMES)?;
    let (round, first) = match read_state()? {
        Some((round, counters)) => (round, Some(counters)),
        None => (0, None),
    };
    let now = counters(frames)?;
    let first = first.unwrap_or(now);
    eprint!("reset: round={round} counters={now:?}\n");
    for (now, first) in now.into_iter().zip(first) {
        is("a counter", now as i64, first as i64)?;
    }
    if round == u64::from(rounds) {
        eprint!(
            "reset: rounds={round} calls={} result=PASS\n",
            round * u64::from(ALL)
        );
        return write_file(c"/tmp/reset-done", b"x");
    }
    let mut state = [0; COUNTERS + 1];
    state[0] = round + 1;
    state[1..].copy_from_slice(&first);
    write_file(STATE, state.map(u64::to_le_bytes).as_flattened())?;
    make_calls()?;
    let args = [
        reboot::MAGIC.into(),
        reboot::MAGIC2[0].into(),
        reboot::RESTART.into(),
    ];
    is(
        "wrong magic",
        call(number::REBOOT, [0, args[1], args[2]]),
        EINVAL,
    )?;
    is(
        "no command",
        call(number::REBOOT, [args[0], args[1], 1]),
        EINVAL,
    )?;
    is("restart", call(number::REBOOT, args), 0)
}

extern "C" fn read_for_ever(fd: usize) -> ! {
    let mut byte = [0];
    call(number::READ, [fd as u64, into(&mut byte), 1]);
    system::exit_thread(1)
}

/// Returns with calls under way and files open.
fn make_calls() -> Check {
    let [from, _to] = pipe()?;
    create(c"/tmp/reset-open")?;
    if let system::Fork::Child = system::fork()? {
        create(c"/tmp/reset-open-too")?;
        loop {
            system::sleep_ms(1000)?;
        }
    }
    threads(FIRST as usize, read_for_ever, from as usize)?;
    let under_way = || system::counter(counter::SERVER_BASE + 5);
    until("the calls are under way", || {
        under_way() == Ok(FIRST.into())
    })?;
    threads((ALL - FIRST) as usize, read_for_ever, from as usize)?;
    system::yield_now();
    Ok(())
}

fn counters(frames: u64) -> Result<[u64; COUNTERS], Failure> {
    let server = |index| system::counter(counter::SERVER_BASE + index);
    Ok([frames, server(3)?, server(4)?, server(5)?, server(6)?])
}

/// Returns the round and the counters of the first start, if this is not it.
fn read_state() -> Result<Option<(u64, [u64; COUNTERS])>, Failure> {
    let fd = match call(number::OPEN, [path(STATE), O_RDONLY]) {
        ENOENT => return Ok(None),
        fd => works("open", fd)?,
    };
    let mut state = [[0; 8]; COUNTERS + 1];
    let len = size_of_val(&state);
    let got = call(number::READ, [fd, into(&mut state), len as u64]);
    is("read", got, len as i64)?;
    close(fd)?;
    let [round, counters @ ..] = state.map(u64::from_le_bytes);
    Ok(Some((round, counters)))
}

/// Writes a file, which is there with its content or not at all.
fn write_file(name: &CStr, content: &[u8]) -> Check {
    let new = path(c"/tmp/reset-new");
    let fd = works(
        "open",
        call(number::OPEN, [new, O_CREAT | O_TRUNC | O_WRONLY, 0o644]),
    )?;
    write(fd, content)?;
    close(fd)?;
    is("rename", call(number::RENAME, [new, path(name)]), 0)
}
