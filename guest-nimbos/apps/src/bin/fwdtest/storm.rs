// SPDX-License-Identifier: MIT OR Apache-2.0
//! The server is killed in the middle of a hundred calls, again and again: `fwdtest kills rounds=N`.
//!
//! Thirty calls are with the server, each a read of an empty pipe, when this program leaves a file that says so; seventy more
//! follow. Linux then kills the server and starts another one. Every call must come back, with -EIO if it was made to the
//! server that died; one that was made a little later finds no such file at the next server. Afterwards server and kernel have
//! as much as before.

use core::ffi::CStr;
use core::sync::atomic::{AtomicU32, Ordering};

use nimbos_apps::abi::counter;
use nimbos_apps::{eprint, system};

use crate::check::{Check, Failure, call, holds, in_child, into, is, path, threads, until, works};
use crate::files::{close, pipe};
use crate::linux::*;

/// Calls that are with the server for certain.
const FIRST: u32 = 30;
/// All calls.
const ALL: u32 = 100;

static LOST: AtomicU32 = AtomicU32::new(0);
static LATE: AtomicU32 = AtomicU32::new(0);
static OTHER: AtomicU32 = AtomicU32::new(0);

/// Plays `rounds` rounds; returns the exit status.
pub fn run(rounds: u32) -> i32 {
    match play(rounds) {
        Ok(()) => 0,
        Err(Failure { what, value }) => {
            eprint!("storm: FAIL {what}: {value}\n");
            1
        }
    }
}

fn play(rounds: u32) -> Check {
    let lost = play_rounds(rounds, strike, told)?;
    eprint!(
        "storm: rounds={rounds} calls={} lost={lost} result=PASS\n",
        rounds * ALL
    );
    Ok(())
}

/// Plays round after round, each in a process of its own; compares what is there afterwards with what was there after the first.
/// Returns the sum of what `told` returns.
pub fn play_rounds(
    rounds: u32,
    strike: fn(u32) -> Check,
    mut told: impl FnMut(u32) -> Result<u32, Failure>,
) -> Result<u32, Failure> {
    let mut before = None;
    let mut sum = 0;
    for round in 1..=rounds {
        in_child(|| strike(round))?;
        settle()?;
        sum += told(round)?;
        let after = counters()?;
        let before = *before.get_or_insert(after);
        is("page frames", after.0 as i64, before.0 as i64)?;
        for (is_now, was) in after.1.into_iter().zip(before.1) {
            is("a counter of the server", is_now as i64, was as i64)?;
        }
    }
    Ok(sum)
}

/// Page frames; and the server's open files, processes, calls under way and targets.
fn counters() -> Result<(u64, [u64; 4]), Failure> {
    let server = |index| system::counter(counter::SERVER_BASE + index);
    let frames = system::counter(counter::FREE_FRAMES)?;
    Ok((frames, [server(3)?, server(4)?, server(5)?, server(6)?]))
}

extern "C" fn read(fd: usize) -> ! {
    let mut byte = [0];
    let count = match call(number::READ, [fd as u64, into(&mut byte), 1]) {
        EIO => &LOST,
        EBADF => &LATE,
        _ => &OTHER,
    };
    count.fetch_add(1, Ordering::Release);
    system::exit_thread(0)
}

/// Makes the calls, and looks at what becomes of them. In a process of its own, whose end gives the stacks back.
fn strike(round: u32) -> Check {
    let [from, _to] = pipe()?;
    threads(FIRST as usize, read, from as usize)?;
    let under_way = || system::counter(counter::SERVER_BASE + 5);
    until("the calls are under way", || {
        under_way() == Ok(FIRST.into())
    })?;
    leave_file(c"/tmp/struck", round)?;
    threads((ALL - FIRST) as usize, read, from as usize)?;
    let count = |of: &AtomicU32| of.load(Ordering::Acquire);
    until("all calls come back", || {
        count(&LOST) + count(&LATE) + count(&OTHER) == ALL
    })?;
    is("other results", count(&OTHER).into(), 0)?;
    holds("the first ones are lost", count(&LOST) >= FIRST)?;
    settle()?;
    leave_file(c"/tmp/lost", count(&LOST))
}

/// Waits for the next server.
pub fn settle() -> Check {
    until("another server", || system::forward_null().is_ok())
}

/// Writes a number into a file, which is there with its content or not at all.
pub fn leave_file(name: &CStr, number: u32) -> Check {
    let flags = O_CREAT | O_TRUNC | O_WRONLY;
    let fd = works(
        "open",
        call(number::OPEN, [path(c"/tmp/new"), flags, 0o644]),
    )?;
    let mut digits = [b'0'; 10];
    let mut rest = number;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    crate::files::write(fd, &digits)?;
    close(fd)?;
    is(
        "rename",
        call(number::RENAME, [path(c"/tmp/new"), path(name)]),
        0,
    )
}

/// Returns how many calls the child has lost, and says so.
fn told(round: u32) -> Result<u32, Failure> {
    let fd = works("open", call(number::OPEN, [path(c"/tmp/lost"), O_RDONLY]))?;
    let mut digits = [0; 10];
    let len = call(number::READ, [fd, into(&mut digits), 10]);
    is("read", len, 10)?;
    close(fd)?;
    let number = digits.iter().fold(0, |sum, &digit: &u8| {
        sum * 10 + u32::from(digit.wrapping_sub(b'0'))
    });
    eprint!("storm: round={round} lost={number} of {ALL}\n");
    Ok(number)
}
