// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls that wait: they stop one thread each, and nothing else; also when there are more than the ring holds, and when
//! their process is killed.

use core::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};

use nimbos_apps::abi::{SIGKILL, STATUS_SIGNAL, counter};
use nimbos_apps::system::{self, Fork};

use crate::Test;
use crate::check::{Check, call, from, in_child, into, is, threads, threads_in_turn, until};
use crate::files::{close, pipe, write};
use crate::linux::*;

/// The tests.
pub const TESTS: &[Test] = &[
    ("a-read-blocks-one-thread", one_thread),
    ("a-hundred-calls", hundred),
    ("first-come-first-served", in_turn),
    ("killed-in-calls", killed),
    ("nothing-leaks", nothing_leaks),
];

/// More than there are tokens.
const MANY: usize = 100;

static RESULT: AtomicI64 = AtomicI64::new(i64::MIN);

extern "C" fn read_one(fd: usize) -> ! {
    let mut byte = [0];
    RESULT.store(
        call(number::READ, [fd as u64, into(&mut byte), 1]),
        Ordering::Release,
    );
    system::exit_thread(0)
}

fn one_thread() -> Check {
    let [from, to] = pipe()?;
    threads(1, read_one, from as usize)?;
    for _ in 0..100 {
        system::forward_null()?;
    }
    // The server has begun with the read, and does others meanwhile.
    until("the read is under way", || under_way() == Ok(1))?;
    in_child(|| Ok(system::forward_null()?))?;
    is("it waits still", RESULT.load(Ordering::Acquire), i64::MIN)?;
    write(to, b"x")?;
    until("it has been answered", || {
        RESULT.load(Ordering::Acquire) == 1
    })?;
    close(from)?;
    close(to)
}

static DONE: AtomicU32 = AtomicU32::new(0);
static WRONG: AtomicU32 = AtomicU32::new(0);

extern "C" fn wait_a_little(_: usize) -> ! {
    for _ in 0..2 {
        if call(number::POLL, [0, 0, 30]) != 0 {
            WRONG.fetch_add(1, Ordering::Relaxed);
        }
    }
    DONE.fetch_add(1, Ordering::Release);
    system::exit_thread(0)
}

/// Twice a hundred calls that wait, three times as many as there are tokens.
fn hundred() -> Check {
    // In a child: its threads' stacks go with it.
    in_child(|| {
        threads(MANY, wait_a_little, 0)?;
        until("all have been answered", || {
            DONE.load(Ordering::Acquire) == MANY as u32
        })?;
        is("wrong results", WRONG.load(Ordering::Relaxed).into(), 0)
    })
}

/// Tokens that programs can have.
const TOKENS: usize = 31;
/// Calls that wait for the only token that is left.
const QUEUED: usize = 60;
static BEGUN: AtomicU32 = AtomicU32::new(0);
static LINE: AtomicU64 = AtomicU64::new(0);

extern "C" fn write_number(number: usize) -> ! {
    let to = LINE.load(Ordering::Relaxed);
    BEGUN.store(number as u32 + 1, Ordering::Release);
    let written = call(number::WRITE, [to, from(&[number as u8]), 1]);
    DONE.fetch_add(u32::from(written == 1), Ordering::Release);
    system::exit_thread(0)
}

/// What waits for a place in the ring gets it in the order in which it has come.
fn in_turn() -> Check {
    in_child(|| {
        let [from_blocked, to_blocked] = pipe()?;
        let [from_line, to_line] = pipe()?;
        LINE.store(to_line, Ordering::Relaxed);
        threads(TOKENS - 1, read_one, from_blocked as usize)?;
        let blocked = (TOKENS - 1) as u64;
        until("the reads are under way", || under_way() == Ok(blocked))?;
        // The last token goes to another process's call, because a call to end one of this one's would be behind all others.
        let child = match system::fork()? {
            Fork::Child => read_for_ever(from_blocked as usize),
            Fork::Parent { child } => child,
        };
        // That the ring is full cannot be seen by a call.
        system::sleep_ms(100)?;
        threads_in_turn(
            QUEUED,
            write_number,
            |number| number,
            |number| {
                until("a thread begins", || {
                    BEGUN.load(Ordering::Acquire) == number as u32 + 1
                })?;
                // It makes its call, on whichever CPU.
                Ok(system::sleep_ms(10)?)
            },
        )?;
        is(
            "done before there is a token",
            DONE.load(Ordering::Acquire).into(),
            0,
        )?;
        system::kill(child, SIGKILL as u64)?;
        until("all have been answered", || {
            DONE.load(Ordering::Acquire) == QUEUED as u32
        })?;
        let mut order = [0_u8; QUEUED + 1];
        let got = call(
            number::READ,
            [from_line, into(&mut order), QUEUED as u64 + 1],
        );
        is("numbers", got, QUEUED as i64)?;
        for (place, &number) in order[..QUEUED].iter().enumerate() {
            is("in turn", number.into(), place as i64)?;
        }
        is(
            "bytes for all",
            call(
                number::WRITE,
                [to_blocked, from(&[0_u8; TOKENS]), TOKENS as u64],
            ),
            TOKENS as i64,
        )
    })
}

extern "C" fn read_for_ever(fd: usize) -> ! {
    let mut byte = [0];
    call(number::READ, [fd as u64, into(&mut byte), 1]);
    system::exit_thread(1)
}

fn under_way() -> Result<u64, system::Error> {
    system::counter(counter::SERVER_BASE + 5)
}

/// A process all of whose threads wait in calls, some in the ring, some for a place in it, is killed: the tokens come back.
fn killed() -> Check {
    for _ in 0..3 {
        let [from, to] = pipe()?;
        let child = match system::fork()? {
            Fork::Child => {
                if threads(60, read_for_ever, from as usize).is_err() {
                    system::exit(1);
                }
                read_for_ever(from as usize)
            }
            Fork::Parent { child } => child,
        };
        // That the ring is full cannot be seen by a call. If it is not yet, less is tried.
        system::sleep_ms(100)?;
        system::kill(child, SIGKILL as u64)?;
        let (_, status) = system::wait(child)?;
        is("status", status.into(), (STATUS_SIGNAL + SIGKILL).into())?;
        until("its calls are over", || under_way() == Ok(0))?;
        close(from)?;
        close(to)?;
    }
    Ok(())
}

/// The server's counters: open files, processes, calls under way.
fn counters() -> Result<[u64; 3], system::Error> {
    let server = |index| system::counter(counter::SERVER_BASE + index);
    Ok([server(3)?, server(4)?, server(5)?])
}

/// Every kind of file and end of a process, several times.
fn nothing_leaks() -> Check {
    let before = counters()?;
    for _ in 0..5 {
        let [from, to] = pipe()?;
        in_child(|| {
            is("dup2", call(number::DUP2, [to, 30]), 30)?;
            crate::files::create(c"/tmp/fwd/leak").map(drop)
        })?;
        killed()?;
        crate::processes::exec_one()?;
        close(from)?;
        close(to)?;
    }
    until("as before", || counters() == Ok(before))?;
    // What is there is counted.
    let fd = crate::files::create(c"/tmp/fwd/leak")?;
    let [files, ..] = counters()?;
    is("files with one more", files as i64, before[0] as i64 + 1)?;
    close(fd)
}
