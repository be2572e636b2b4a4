// SPDX-License-Identifier: MIT OR Apache-2.0
//! What alarms do, and what they leave alone.

use core::hint::black_box;
use core::sync::atomic::Ordering;
use core::time::Duration;

use nimbos_apps::registers::{self, Registers};
use nimbos_apps::system::uintr;
use nimbos_apps::{Error, interrupt, system, time};

use crate::{
    COUNT, Form, IS_REENTERED, IS_SLOW, Reason, child, count, ensure, handler, reap, receive, stop,
};

/// The handler is called.
pub fn called(form: Form) -> Result<(), Reason> {
    form.start(2)?;
    while count() == 0 {}
    Ok(())
}

/// Many alarms, and the interrupted code computes what it should.
pub fn exact(form: Form) -> Result<(), Reason> {
    const STEPS: u64 = 10_000;
    let compute = || {
        let mut state = (1_u64, 1.0_f64);
        for step in 0..STEPS {
            let (whole, part) = state;
            state = (
                whole.rotate_left(7) ^ step.wrapping_mul(0x9e37_79b9_7f4a_7c15),
                part * 1.000_001 + 0.000_001,
            );
        }
        black_box((state.0, state.1.to_bits()))
    };
    let expected = compute();
    form.start(1)?;
    while count() < 100 {
        ensure(compute() == expected, "the interrupted code went wrong")?;
    }
    Ok(())
}

/// The handler takes longer than the interval: it is not called in the midst of itself, and the rest makes progress.
pub fn not_reentered(form: Form) -> Result<(), Reason> {
    IS_SLOW.store(true, Ordering::Relaxed);
    form.start(1)?;
    while count() < 5 {}
    ensure(
        !IS_REENTERED.load(Ordering::Relaxed),
        "called in the midst of itself",
    )
}

/// All registers and the red zone are as they were.
pub fn registers(form: Form) -> Result<(), Reason> {
    form.start(1)?;
    for seed in 0..100 {
        let pattern = Registers::pattern(seed);
        if registers::hold(&pattern) != pattern {
            return Err("a register has changed");
        }
    }
    ensure(count() >= 100, "too few came")
}

/// Several processes have alarms of their own, and one has none.
pub fn processes(form: Form) -> Result<(), Reason> {
    let mut children = [0; 3];
    for (ticks, place) in (1..).zip(&mut children) {
        *place = child(|| {
            form.start(ticks)?;
            while count() < 10 {}
            stop()
        })?;
    }
    let without = child(|| {
        spin(100);
        ensure(count() == 0, "another's alarm")
    })?;
    children.into_iter().chain([without]).try_for_each(reap)
}

/// After `sigalarm(0, 0)`, also in the handler's own time, none comes.
pub fn stopped(form: Form) -> Result<(), Reason> {
    form.start(1)?;
    while count() == 0 {}
    stop()?;
    let before = count();
    spin(100);
    ensure(count() == before, "it came all the same")?;
    form.start(1)?;
    while count() == before {}
    Ok(())
}

/// Only CPU time counts.
pub fn asleep(form: Form) -> Result<(), Reason> {
    form.start(3)?;
    for _ in 0..10 {
        time::sleep(Duration::from_millis(30)).map_err(|_| "sleep")?;
    }
    ensure(count() <= 1, "it came in sleep")
}

/// A child has no alarm, even if it was made by the handler's process.
pub fn fork(form: Form) -> Result<(), Reason> {
    form.start(1)?;
    while count() == 0 {}
    let other = child(|| {
        COUNT.store(0, Ordering::Relaxed);
        spin(100);
        ensure(count() == 0, "a child has the alarm")
    })?;
    stop()?;
    reap(other)
}

/// Arguments that are none.
pub fn arguments(form: Form) -> Result<(), Reason> {
    let address = (handler as *const ()).addr() as u64;
    let mut refused = [
        (uintr::return_from_alarm(), Error::INVALID),
        (failure(interrupt::set_alarm_at(1, 0, 0)), Error::FAULT),
        (
            failure(interrupt::set_alarm_at(1, 1 << 63, 0)),
            Error::FAULT,
        ),
        (
            failure(interrupt::set_alarm_at(1, 0x4210_0000, 0)),
            Error::FAULT,
        ),
        (
            failure(interrupt::set_alarm_at(1, address, 2)),
            Error::INVALID,
        ),
        // This thread is no receiver.
        (failure(interrupt::set_alarm_at(1, 3, 1)), Error::INVALID),
        (failure(interrupt::set_alarm_at(1, 64, 1)), Error::INVALID),
    ];
    if form == Form::Interrupt {
        receive().map_err(|_| "register_handler")?;
        refused[5] = (
            failure(interrupt::set_alarm_at(1, u64::MAX, 1)),
            Error::INVALID,
        );
    }
    for (error, expected) in refused {
        ensure(error == expected, "not refused as it should be")?;
    }
    interrupt::set_alarm_at(u64::MAX, address, 0).map_err(|_| "a rare alarm")?;
    stop()
}

fn failure(result: Result<(), Error>) -> Error {
    result.err().unwrap_or(Error(0))
}

/// Uses so many milliseconds of time.
fn spin(milliseconds: i64) {
    let end = system::time_ms() + milliseconds;
    while system::time_ms() < end {}
}
