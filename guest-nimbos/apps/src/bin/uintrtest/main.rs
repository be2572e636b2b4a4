// SPDX-License-Identifier: MIT OR Apache-2.0
//! User interrupts between threads and processes: `uintrtest [sends=N] [NAME...]`.
//!
//! The tests are those of the list by which the Linux cell's driver was tried, and what several CPUs add. Each test runs in a process of its own. A line for each, and at the end `uintrtest: PASS tests=N` or `uintrtest: FAIL`.
#![no_std]
#![no_main]
#![expect(unsafe_code, reason = "registers handlers and switches delivery")]

mod delivery;
mod ends;
mod refusals;
mod switching;
mod together;

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use freestanding as _;
use nimbos_apps::abi::counter;
use nimbos_apps::interrupt::{self, Sender};
use nimbos_apps::process::{self, ExitStatus};
use nimbos_apps::{Arguments, Error, entry, eprintln, interrupt_handler, registers, system};

entry!(main);

/// Why a test failed.
type Reason = &'static str;
/// A test.
type Test = fn() -> Result<(), Reason>;

const TESTS: [(&str, Test); 23] = [
    ("priority", delivery::priority),
    ("coalescing", delivery::coalescing),
    ("masks", delivery::masks),
    ("registers", delivery::registers),
    ("wait", delivery::wait),
    ("wait-with-limit", delivery::wait_with_limit),
    ("sleeping", delivery::sleeping),
    ("descheduled", switching::descheduled),
    ("uif", switching::uif),
    ("threads", switching::threads),
    ("processes", switching::processes),
    ("running", together::running),
    ("migrations", together::migrations),
    ("under-fire", together::under_fire),
    ("given-back", together::given_back),
    ("alarms", together::alarms),
    ("unregister", ends::unregister),
    ("receiver-ends", ends::departed_receiver),
    ("sender-ends", ends::departed_sender),
    ("fork", ends::fork),
    ("exec", ends::exec),
    ("arguments", refusals::arguments),
    ("exhaustion", refusals::exhaustion),
];

/// Most deliveries that are remembered in order.
const ORDER_LEN: usize = 64;

/// Sends of the long tests.
static SENDS: AtomicU64 = AtomicU64::new(2_000);
/// Deliveries of each vector in this process.
static COUNTS: [AtomicU64; 64] = [const { AtomicU64::new(0) }; 64];
/// Vectors in the order of their delivery.
static ORDER: [AtomicU64; ORDER_LEN] = [const { AtomicU64::new(0) }; ORDER_LEN];
static DELIVERED: AtomicUsize = AtomicUsize::new(0);

interrupt_handler!(handler, on_interrupt);

fn on_interrupt(vector: u64) {
    let number = DELIVERED.fetch_add(1, Ordering::Relaxed);
    if let Some(place) = ORDER.get(number) {
        place.store(vector, Ordering::Relaxed);
    }
    registers::spoil();
    registers::tell_interrupted();
    // Last: whoever sees the count sees the rest.
    COUNTS[vector as usize & 63].fetch_add(1, Ordering::Release);
}

fn main(arguments: Arguments) -> i32 {
    if let Some(status) = ends::executed(arguments) {
        return status;
    }
    let names = (1..arguments.count()).filter_map(|number| arguments.get(number));
    let mut chosen = 0;
    for name in names {
        match name.strip_prefix("sends=").map(str::parse) {
            Some(Ok(sends)) => SENDS.store(sends, Ordering::Relaxed),
            None if TESTS.iter().any(|&(test, _)| test == name) => chosen += 1,
            _ => {
                eprintln!("uintrtest: what is '{name}'?");
                return 2;
            }
        }
    }
    let is_chosen = |test: &str| {
        chosen == 0 || (1..arguments.count()).any(|number| arguments.get(number) == Some(test))
    };
    let mut passed = 0;
    for (name, test) in TESTS.into_iter().filter(|(name, _)| is_chosen(name)) {
        match run(name, test) {
            Ok(()) => passed += 1,
            Err(reason) => {
                eprintln!("uintrtest: FAIL {name}: {reason}");
                return 1;
            }
        }
    }
    eprintln!("uintrtest: PASS tests={passed}");
    0
}

/// Runs a test in a child, and looks whether all memory comes back.
fn run(name: &str, test: Test) -> Result<(), Reason> {
    let free = || system::counter(counter::FREE_FRAMES).map_err(|_| "counter");
    let before = free()?;
    let child = process::run(|| match test() {
        Ok(()) => 0,
        Err(reason) => {
            eprintln!("uintrtest: {name}: {reason}");
            1
        }
    });
    let status = process::wait(child.map_err(|_| "fork")?).map_err(|_| "wait")?;
    if status != ExitStatus(0) {
        eprintln!("uintrtest: {name}: status {}", status.0);
        return Err("status");
    }
    if free()? != before {
        return Err("page frames are lost");
    }
    eprintln!("uintrtest: {name} ok");
    Ok(())
}

/// Makes this thread a receiver.
fn receive() -> Result<(), Reason> {
    // SAFETY: the handler changes nothing but counters.
    unsafe { interrupt::register_handler(handler) }.map_err(|_| "register_handler")
}

/// Lets everybody post all vectors to this thread.
fn allow_all() -> Result<(), Reason> {
    for vector in 0..64 {
        interrupt::allow(vector, u64::MAX).map_err(|_| "allow")?;
    }
    Ok(())
}

/// Returns a sender to a thread.
fn sender(thread: u32, vector: u8) -> Result<Sender, Reason> {
    Sender::new(thread, vector).map_err(|_| "register_sender")
}

/// Returns the number of this process's first thread, or of this thread where it is another.
fn this_thread() -> u32 {
    system::thread_id() as u32
}

fn hold() {
    // SAFETY: the kernel would have refused the handler of a processor without user interrupts.
    unsafe { interrupt::hold_delivery() };
}

fn allow() {
    // SAFETY: as for `hold`.
    unsafe { interrupt::allow_delivery() };
}

/// Returns how often a vector was delivered.
fn count(vector: usize) -> u64 {
    COUNTS[vector].load(Ordering::Acquire)
}

/// Waits, with delivery held outside, until a vector was delivered so often.
fn wait_until(vector: usize, times: u64) -> Result<(), Reason> {
    hold();
    while count(vector) < times {
        interrupt::wait().map_err(|_| "uintr_wait")?;
        allow();
        hold();
    }
    Ok(())
}

/// Waits for a child that should end well.
fn reap(child: u32) -> Result<(), Reason> {
    match process::wait(child) {
        Ok(ExitStatus(0)) => Ok(()),
        _ => Err("a child failed"),
    }
}

/// Runs `main` in a child.
fn child(main: impl FnOnce() -> Result<(), Reason>) -> Result<u32, Reason> {
    let run = || match main() {
        Ok(()) => 0,
        Err(reason) => {
            eprintln!("uintrtest: child: {reason}");
            1
        }
    };
    process::run(run).map_err(|_| "fork")
}

/// Says what is wrong unless the condition holds.
fn ensure(condition: bool, reason: Reason) -> Result<(), Reason> {
    if condition { Ok(()) } else { Err(reason) }
}

/// Says what is wrong unless a call failed with this error.
fn refused<T>(result: Result<T, Error>, error: Error, reason: Reason) -> Result<(), Reason> {
    ensure(result.err() == Some(error), reason)
}
