// SPDX-License-Identifier: MIT OR Apache-2.0
//! Clocks and sleeping.

use nimbos_apps::abi::{TimeSpec, number};
use nimbos_apps::system::{self, Error};

use crate::Test;
use crate::check::{BAD_ADDRESSES, Check, child, ensure, raw};

/// The tests.
pub const TESTS: &[Test] = &[
    ("clock", clock),
    ("sleep", sleep),
    ("sleep-until", sleep_until),
    ("sleep-refused", sleep_refused),
    ("many-sleepers", many_sleepers),
];

fn nanoseconds(time: TimeSpec) -> u64 {
    time.seconds * 1_000_000_000 + time.nanoseconds
}

fn now() -> Result<u64, Error> {
    system::time().map(nanoseconds)
}

fn time(nanoseconds: u64) -> TimeSpec {
    TimeSpec {
        seconds: nanoseconds / 1_000_000_000,
        nanoseconds: nanoseconds % 1_000_000_000,
    }
}

fn clock() -> Check {
    let mut last = now()?;
    for _ in 0..100 {
        let next = now()?;
        ensure(next >= last, "time goes back")?;
        last = next;
    }
    let milliseconds = system::time_ms() as u64;
    let (before, after) = (last / 1_000_000, now()? / 1_000_000);
    ensure(
        (before..=after).contains(&milliseconds),
        "the two clocks differ",
    )?;
    for address in BAD_ADDRESSES {
        let result = raw(number::CLOCK_GETTIME, [0, address, 0]);
        ensure(Error(result) == Error::FAULT, "a bad address")?;
    }
    Ok(())
}

/// A sleep is never too short.
fn sleep() -> Check {
    for wanted in [0, 1, 999, 1_000_000, 3_000_001, 25_000_000] {
        let start = now()?;
        system::sleep(time(wanted))?;
        ensure(now()? - start >= wanted, "a sleep was too short")?;
    }
    Ok(())
}

fn sleep_until() -> Check {
    let end = now()? + 15_000_000;
    system::sleep_until(time(end))?;
    // The clock rounds down, the deadline up.
    ensure(now()? + 1 >= end, "it woke too early")?;
    for past in [0, end] {
        system::sleep_until(time(past))?;
    }
    Ok(())
}

fn sleep_refused() -> Check {
    for address in BAD_ADDRESSES {
        ensure(
            system::sleep_at(address) == Err(Error::FAULT),
            "a bad address",
        )?;
        let result = raw(number::CLOCK_NANOSLEEP, [0, 0, address]);
        ensure(
            Error(result) == Error::FAULT,
            "a bad address of clock_nanosleep",
        )?;
    }
    for (seconds, nanoseconds) in [
        (0, 1_000_000_000),
        (0, u64::MAX),
        (u64::MAX, 0),
        (1 << 63, 1),
    ] {
        let time = TimeSpec {
            seconds,
            nanoseconds,
        };
        ensure(
            system::sleep(time) == Err(Error::INVALID),
            "a time that is none",
        )?;
        ensure(
            system::sleep_until(time) == Err(Error::INVALID),
            "a point of time that is none",
        )?;
    }
    let second = time(1_000_000_000);
    let address = (&raw const second).expose_provenance() as u64;
    for flags in [2, 3, u64::MAX] {
        let result = raw(number::CLOCK_NANOSLEEP, [0, flags, address]);
        ensure(Error(result) == Error::INVALID, "flags that do not exist")?;
    }
    Ok(())
}

/// Many sleep at once, for different times; all wake, and none too early.
fn many_sleepers() -> Check {
    const SLEEPERS: u64 = 30;
    for number in 0..SLEEPERS {
        child(move || {
            // Not in the order of their numbers.
            let wanted = (number * 7 % SLEEPERS + 1) * 3_000_000;
            let slept = || -> Result<bool, Error> {
                let start = now()?;
                system::sleep(time(wanted))?;
                Ok(now()? - start >= wanted)
            };
            i32::from(slept() != Ok(true))
        })?;
    }
    for _ in 0..SLEEPERS {
        ensure(system::wait(-1)?.1 == 0, "a sleeper woke too early")?;
    }
    Ok(())
}
