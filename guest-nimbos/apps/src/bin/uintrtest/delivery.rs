// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is delivered, when and how.

use core::sync::atomic::Ordering;
use core::time::Duration;

use nimbos_apps::registers::{self, Registers};
use nimbos_apps::{interrupt, process, system, time};

use crate::{
    DELIVERED, ORDER, Reason, allow, allow_all, child, count, ensure, hold, reap, receive, sender,
    this_thread, wait_until,
};

const ROUNDS: u64 = 300;
/// Long in comparison with what a process needs to come to its wait.
const WHILE: Duration = Duration::from_millis(30);

/// Two vectors are pending: the higher one comes first.
pub fn priority() -> Result<(), Reason> {
    receive()?;
    let (low, high) = (sender(this_thread(), 3)?, sender(this_thread(), 40)?);
    for round in 1..=ROUNDS {
        DELIVERED.store(0, Ordering::Relaxed);
        low.send();
        high.send();
        allow();
        while count(3) < round || count(40) < round {
            system::yield_now();
        }
        hold();
        let order = [&ORDER[0], &ORDER[1]].map(|place| place.load(Ordering::Relaxed));
        ensure(order == [40, 3], "the lower vector came first")?;
    }
    ensure(count(3) + count(40) == 2 * ROUNDS, "one came twice")
}

/// A vector that is pending already is not pending twice.
pub fn coalescing() -> Result<(), Reason> {
    receive()?;
    let sender = sender(this_thread(), 5)?;
    for round in 1..=ROUNDS {
        for _ in 0..3 {
            sender.send();
        }
        wait_until(5, round)?;
        system::yield_now();
        ensure(count(5) == round, "three sends came more than once")?;
    }
    Ok(())
}

/// While delivery is held, nothing comes; then all of it.
pub fn masks() -> Result<(), Reason> {
    receive()?;
    allow_all()?;
    let receiver = this_thread();
    let posting = child(|| {
        for vector in 0..64 {
            sender(receiver, vector)?.send();
        }
        Ok(())
    })?;
    reap(posting)?;
    ensure(
        DELIVERED.load(Ordering::Acquire) == 0,
        "the mask has a hole",
    )?;
    wait_until(0, 1)?;
    for vector in 0..64 {
        ensure(count(vector) == 1, "a vector is missing")?;
        let order = ORDER[63 - vector].load(Ordering::Relaxed);
        ensure(order == vector as u64, "not in order")?;
    }
    Ok(())
}

/// All registers and the red zone are as they were.
pub fn registers() -> Result<(), Reason> {
    receive()?;
    allow_all()?;
    let receiver = this_thread();
    let posting = child(|| {
        let sender = sender(receiver, 9)?;
        loop {
            sender.send();
            system::yield_now();
        }
    })?;
    allow();
    for seed in 0..200 {
        let pattern = Registers::pattern(seed);
        if registers::hold(&pattern) != pattern {
            return Err("a register has changed");
        }
    }
    process::kill(posting, 9).map_err(|_| "kill")?;
    process::wait(posting).map_err(|_| "wait")?;
    ensure(count(9) >= 200, "too few came")
}

/// A thread that waits is woken; one that has something pending does not wait.
pub fn wait() -> Result<(), Reason> {
    receive()?;
    allow_all()?;
    let receiver = this_thread();
    let posting = child(|| {
        let sender = sender(receiver, 7)?;
        for _ in 0..5 {
            time::sleep(WHILE).map_err(|_| "sleep")?;
            sender.send();
        }
        Ok(())
    })?;
    wait_until(7, 5)?;
    reap(posting)?;
    ensure(count(7) == 5, "not as many as were sent")?;
    sender(receiver, 8)?.send();
    interrupt::wait().map_err(|_| "uintr_wait")?;
    ensure(count(8) == 0, "it came while delivery was held")?;
    wait_until(8, 1)
}

/// A wait ends when its time is over.
pub fn wait_with_limit() -> Result<(), Reason> {
    receive()?;
    for _ in 0..3 {
        let start = time::now().map_err(|_| "time")?;
        let came = interrupt::wait_for(WHILE).map_err(|_| "uintr_wait")?;
        let end = time::now().map_err(|_| "time")?;
        ensure(!came, "something came")?;
        ensure(end - start >= WHILE, "the wait was too short")?;
    }
    ensure(
        interrupt::wait_for(Duration::ZERO) == Ok(false),
        "no time at all",
    )?;
    sender(this_thread(), 1)?.send();
    let came = interrupt::wait_for(WHILE).map_err(|_| "uintr_wait")?;
    ensure(came, "nothing came")
}

/// What is posted to a thread that sleeps in another call comes when the call is over, and does not end it.
pub fn sleeping() -> Result<(), Reason> {
    receive()?;
    allow_all()?;
    let receiver = this_thread();
    allow();
    for round in 1..=3 {
        let posting = child(|| {
            sender(receiver, 6)?.send();
            Ok(())
        })?;
        let start = time::now().map_err(|_| "time")?;
        time::sleep(WHILE).map_err(|_| "sleep")?;
        let end = time::now().map_err(|_| "time")?;
        ensure(end - start >= WHILE, "the sleep was too short")?;
        reap(posting)?;
        while count(6) < round {
            system::yield_now();
        }
    }
    ensure(count(6) == 3, "not as many as were sent")
}
