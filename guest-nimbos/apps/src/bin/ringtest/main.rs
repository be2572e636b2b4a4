// SPDX-License-Identifier: MIT OR Apache-2.0
//! The user path: rings of the channel that belong to processes. `ringtest`, with a channel of four rings.
//!
//! Each test runs in a process of its own: `ok NAME` or `FAIL NAME: why`. Between two tests no ring is in use, and NimbOS's page
//! frames and the server's counters are what they were. Then a server is killed under a ring that is in use: this program leaves
//! `/tmp/ring-struck` for whoever does that, and goes on with the next server. At the end `ringtest: N passed, N failed`.
#![no_std]
#![no_main]
#![expect(unsafe_code, reason = "asks for rings itself, and spoils them")]

mod calls;
mod owners;

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use freestanding as _;
use nimbos_apps::abi::counter;
use nimbos_apps::process::{self, ExitStatus};
use nimbos_apps::{Arguments, Error, channel, entry, eprintln, interrupt_handler, system};

entry!(main);

/// Why a test failed.
type Reason = &'static str;
/// A test.
type Test = fn() -> Result<(), Reason>;

const TESTS: [(&str, Test); 11] = [
    ("calls", calls::calls),
    ("blocking", calls::blocking),
    ("in-place", calls::in_place),
    ("threads", calls::threads),
    ("handlers", calls::handlers),
    ("arguments", owners::arguments),
    ("fork", owners::fork),
    ("exhaustion", owners::exhaustion),
    ("given-back", owners::given_back),
    ("taken-away", owners::taken_away),
    ("spoilt", owners::spoilt),
];

interrupt_handler!(handler, on_interrupt);

/// User interrupts that have come by the handler of this program.
static CAME: AtomicU64 = AtomicU64::new(0);

fn on_interrupt(_vector: u64) {
    CAME.fetch_add(1, Ordering::Relaxed);
}

fn main(arguments: Arguments) -> i32 {
    // As another program that this one has become.
    if arguments.get(1) == Some("executed") {
        return i32::from(channel::is_open() || channel::open().is_err());
    }
    let (mut passed, mut failed) = (0, 0);
    let lost: (&str, Test) = ("lost", calls::lost);
    for (name, test) in TESTS.into_iter().chain([lost]) {
        match run(test) {
            Ok(()) => {
                passed += 1;
                eprintln!("ok {name}");
            }
            Err(reason) => {
                failed += 1;
                eprintln!("FAIL {name}: {reason}");
            }
        }
    }
    eprintln!("ringtest: {passed} passed, {failed} failed");
    i32::from(failed != 0)
}

/// Runs a test in a child, and looks whether all is as before.
fn run(test: Test) -> Result<(), Reason> {
    until("the server has something under way", || {
        server(5).is_ok_and(|under_way| under_way == 0)
    })?;
    let before = in_use()?;
    reap(child(test)?)?;
    until("a ring or something else is lost", || {
        in_use() == Ok(before)
    })
}

/// Page frames; and the server's open files, processes and targets.
fn in_use() -> Result<[u64; 4], Reason> {
    let frames = system::counter(counter::FREE_FRAMES).map_err(|_| "counter")?;
    Ok([frames, server(3)?, server(4)?, server(6)?])
}

fn server(index: u64) -> Result<u64, Reason> {
    system::counter(counter::SERVER_BASE + index).map_err(|_| "counter of the server")
}

/// Runs `main` in a child.
fn child(main: impl FnOnce() -> Result<(), Reason>) -> Result<u32, Reason> {
    let run = || match main() {
        Ok(()) => 0,
        Err(reason) => {
            eprintln!("ringtest: child: {reason}");
            1
        }
    };
    process::run(run).map_err(|_| "fork")
}

/// Waits for a child that should end well.
fn reap(child: u32) -> Result<(), Reason> {
    match process::wait(child) {
        Ok(ExitStatus(0)) => Ok(()),
        _ => Err("a child failed"),
    }
}

/// Says what is wrong unless the condition holds.
fn ensure(condition: bool, reason: Reason) -> Result<(), Reason> {
    if condition { Ok(()) } else { Err(reason) }
}

/// Says what is wrong unless a call failed with this error.
fn refused<T>(result: Result<T, Error>, error: Error, reason: Reason) -> Result<(), Reason> {
    ensure(result.err() == Some(error), reason)
}

/// Lets others run until it holds, for at most a minute.
fn until(reason: Reason, mut holds: impl FnMut() -> bool) -> Result<(), Reason> {
    let end = system::time_ms() + 60_000;
    while !holds() {
        ensure(system::time_ms() < end, reason)?;
        system::sleep_ms(1).map_err(|_| "sleep")?;
    }
    Ok(())
}

/// Takes the user path. A ring that another process has just given back may take a moment.
fn open() -> Result<(), Reason> {
    until("no ring", || channel::open().is_ok())
}

/// Makes a call by the ring.
fn null() -> Result<(), Reason> {
    let sent = channel::sent();
    system::forward_null().map_err(|_| "null call")?;
    ensure(channel::sent() == sent + 1, "not by the ring")
}

/// Returns a word of memory that others change.
///
/// # Safety
/// There is one.
unsafe fn word(address: u64) -> &'static AtomicU32 {
    // SAFETY: the caller's promise.
    unsafe { AtomicU32::from_ptr(core::ptr::with_exposed_provenance_mut(address as usize)) }
}
