// SPDX-License-Identifier: MIT OR Apache-2.0
//! Threads that take turns.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nimbos_apps::{eprintln, interrupt, process, system};

use crate::{
    Reason, SENDS, allow, allow_all, child, count, ensure, hold, reap, receive, sender,
    this_thread, wait_until,
};

const TURNS: u64 = 2_000;

/// Posts to a thread that is not running wait for it, also while others run with handlers of their own.
pub fn descheduled() -> Result<(), Reason> {
    receive()?;
    allow_all()?;
    let receiver = this_thread();
    let mut others = [0; 2];
    for (vector, other) in (10..).zip(&mut others) {
        *other = child(|| {
            receive()?;
            allow();
            let sender = sender(receiver, vector)?;
            for _ in 0..TURNS / 10 {
                sender.send();
                system::yield_now();
            }
            ensure((0..64).all(|vector| count(vector) == 0), "not for this one")
        })?;
    }
    let mut last = 0;
    for turn in 0..TURNS {
        system::yield_now();
        if turn % 8 == 0 {
            allow();
            hold();
            last = count(10) + count(11);
        }
        ensure(
            count(10) + count(11) == last,
            "it came while delivery was held",
        )?;
    }
    for other in others {
        reap(other)?;
    }
    allow();
    ensure(count(10) > 1 && count(11) > 1, "nothing came")
}

/// UIF is each thread's own.
pub fn uif() -> Result<(), Reason> {
    let mut children = [0; 4];
    for (number, place) in children.iter_mut().enumerate() {
        *place = child(|| {
            // The last one is no receiver.
            if number < 3 {
                receive()?;
            }
            for turn in 0..TURNS / 4 {
                let is_allowed = (turn + number as u64).is_multiple_of(2);
                if is_allowed {
                    allow()
                } else {
                    hold()
                }
                system::yield_now();
                // SAFETY: `receive` was not refused.
                let is = unsafe { interrupt::is_delivery_allowed() };
                ensure(is == is_allowed || number == 3, "UIF has changed")?;
            }
            Ok(())
        })?;
    }
    children.into_iter().try_for_each(reap)
}

static PARTNER: AtomicU64 = AtomicU64::new(0);
static IS_READY: AtomicBool = AtomicBool::new(false);

/// Two threads of one process answer each other.
pub fn threads() -> Result<(), Reason> {
    receive()?;
    PARTNER.store(this_thread().into(), Ordering::Release);
    let other = process::spawn_thread(answer, 0).map_err(|_| "spawn_thread")?;
    while !IS_READY.load(Ordering::Acquire) {
        system::yield_now();
    }
    let sender = sender(other, 20)?;
    let rounds = SENDS.load(Ordering::Relaxed) / 2;
    for round in 1..=rounds {
        sender.send();
        wait_until(21, round)?;
    }
    ensure(
        count(20) == rounds && count(21) == rounds,
        "not one for one",
    )
}

fn answer(_: usize) {
    let rounds = SENDS.load(Ordering::Relaxed) / 2;
    let result = receive().and_then(|()| {
        let sender = sender(PARTNER.load(Ordering::Acquire) as u32, 21)?;
        IS_READY.store(true, Ordering::Release);
        for round in 1..=rounds {
            wait_until(20, round)?;
            sender.send();
        }
        Ok(())
    });
    if let Err(reason) = result {
        eprintln!("uintrtest: thread: {reason}");
        system::exit(1);
    }
}

/// Two processes answer each other: every send is a switch of processes where there is one CPU.
pub fn processes() -> Result<(), Reason> {
    receive()?;
    allow_all()?;
    let parent = this_thread();
    let rounds = SENDS.load(Ordering::Relaxed) / 2;
    let other = child(|| {
        receive()?;
        allow_all()?;
        let sender = sender(parent, 31)?;
        // The first one says that this side is ready.
        sender.send();
        for round in 1..=rounds {
            wait_until(30, round)?;
            sender.send();
        }
        ensure(count(30) == rounds && count(31) == 0, "not one for one")
    })?;
    wait_until(31, 1)?;
    let sender = sender(other, 30)?;
    for round in 1..=rounds {
        sender.send();
        wait_until(31, round + 1)?;
    }
    reap(other)?;
    ensure(count(31) == rounds + 1 && count(30) == 0, "not one for one")?;
    eprintln!("uintrtest: processes sends={}", 2 * rounds);
    Ok(())
}
