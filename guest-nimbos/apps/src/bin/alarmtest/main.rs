// SPDX-License-Identifier: MIT OR Apache-2.0
//! Alarms in both forms: the kernel calls a handler, or posts a user interrupt.
//!
//! Each test runs in a process of its own, once for each form: `alarmtest: NAME form=FORM ok`. Then what an alarm costs, in ticks
//! of the time-stamp counter: `alarmtest: cost tick=N handler=N interrupt=N`: an interrupt of the timer alone, and what each form
//! adds to it. At the end `alarmtest: PASS tests=N` or `alarmtest: FAIL`.
#![no_std]
#![no_main]
#![expect(unsafe_code, reason = "registers handlers and allows delivery")]

mod cost;
mod tests;

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use freestanding as _;
use nimbos_apps::process::{self, ExitStatus};
use nimbos_apps::{
    Arguments, Error, alarm_handler, entry, eprintln, interrupt, interrupt_handler, registers,
    system,
};

entry!(main);

/// Why a test failed.
type Reason = &'static str;
/// A test.
type Test = fn(Form) -> Result<(), Reason>;

const TESTS: [(&str, Test); 9] = [
    ("called", tests::called),
    ("exact", tests::exact),
    ("not-reentered", tests::not_reentered),
    ("registers", tests::registers),
    ("processes", tests::processes),
    ("stopped", tests::stopped),
    ("asleep", tests::asleep),
    ("fork", tests::fork),
    ("arguments", tests::arguments),
];

/// How alarms come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// The kernel calls a handler.
    Handler,
    /// As user interrupts.
    Interrupt,
}

/// User vector of the second form.
const VECTOR: u64 = 17;
/// What a slow handler takes, in milliseconds: several ticks.
const SLOW_MS: i64 = 35;

/// Alarms that came.
static COUNT: AtomicU64 = AtomicU64::new(0);
static IS_SLOW: AtomicBool = AtomicBool::new(false);
static IS_IN_HANDLER: AtomicBool = AtomicBool::new(false);
static IS_REENTERED: AtomicBool = AtomicBool::new(false);

alarm_handler!(handler, on_alarm);
interrupt_handler!(interrupt_handler, on_interrupt);

fn on_interrupt(vector: u64) {
    if vector == VECTOR {
        on_alarm();
    }
}

fn on_alarm() {
    if IS_IN_HANDLER.swap(true, Ordering::Relaxed) {
        IS_REENTERED.store(true, Ordering::Relaxed);
    }
    if IS_SLOW.load(Ordering::Relaxed) {
        let end = system::time_ms() + SLOW_MS;
        while system::time_ms() < end {}
    }
    registers::spoil();
    registers::tell_interrupted();
    COUNT.fetch_add(1, Ordering::Relaxed);
    IS_IN_HANDLER.store(false, Ordering::Relaxed);
}

impl Form {
    const ALL: [Self; 2] = [Self::Handler, Self::Interrupt];

    fn name(self) -> &'static str {
        match self {
            Self::Handler => "handler",
            Self::Interrupt => "interrupt",
        }
    }

    /// Has an alarm come after every so many ticks.
    fn start(self, ticks: u64) -> Result<(), Reason> {
        let result = match self {
            // SAFETY: the handler changes nothing but counters.
            Self::Handler => unsafe { interrupt::set_alarm(ticks, handler) },
            Self::Interrupt => {
                receive().and_then(|()| interrupt::set_alarm_interrupt(ticks, VECTOR))
            }
        };
        result.map_err(|_| "sigalarm")
    }
}

/// Makes this thread a receiver, unless it is one, and allows delivery.
fn receive() -> Result<(), Error> {
    // SAFETY: as for the other handler.
    match unsafe { interrupt::register_handler(interrupt_handler) } {
        Ok(()) | Err(Error::BUSY) => {}
        Err(error) => return Err(error),
    }
    // SAFETY: the kernel would have refused the handler of a processor without user interrupts.
    unsafe { interrupt::allow_delivery() };
    Ok(())
}

fn stop() -> Result<(), Reason> {
    interrupt::stop_alarm().map_err(|_| "sigalarm(0, 0)")
}

/// Returns how many alarms came.
fn count() -> u64 {
    COUNT.load(Ordering::Relaxed)
}

fn main(_: Arguments) -> i32 {
    let mut passed = 0;
    for (name, test) in TESTS {
        for form in Form::ALL {
            if let Err(reason) = run(name, test, form) {
                eprintln!("alarmtest: FAIL {name} form={}: {reason}", form.name());
                return 1;
            }
            passed += 1;
        }
    }
    if let Err(reason) = cost::measure() {
        eprintln!("alarmtest: FAIL cost: {reason}");
        return 1;
    }
    eprintln!("alarmtest: PASS tests={passed}");
    0
}

/// Runs a test in a child.
fn run(name: &str, test: Test, form: Form) -> Result<(), Reason> {
    reap(child(|| test(form))?)?;
    eprintln!("alarmtest: {name} form={} ok", form.name());
    Ok(())
}

/// Runs `main` in a child.
fn child(main: impl FnOnce() -> Result<(), Reason>) -> Result<u32, Reason> {
    let run = || match main() {
        Ok(()) => 0,
        Err(reason) => {
            eprintln!("alarmtest: child: {reason}");
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
