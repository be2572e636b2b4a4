// SPDX-License-Identifier: MIT OR Apache-2.0
//! Several threads, calls of all kinds.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;

use nimbos_apps::{Error, eprint, eprintln, process, system, time};

use crate::Notifications;
use crate::kinds;
use crate::worker::{Counts, Kind, Worker};

/// Most threads that make calls.
pub const MAX_THREADS: usize = 16;
/// How long the last calls may take: far longer than any does.
const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(100);
/// A thread that had so many wrong results is done: more would say nothing new.
const MAX_WRONG: u64 = 20;

/// What is done.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Threads that make calls.
    pub threads: usize,
    /// Until when, by the kernel's clock.
    pub seconds: u64,
    /// Where the threads' random numbers begin.
    pub seed: u64,
}

/// What the threads have counted.
static COUNTS: [Counts; MAX_THREADS] = [const { Counts::new() }; MAX_THREADS];
/// When they end: milliseconds of the kernel's clock.
static END_MS: AtomicU64 = AtomicU64::new(0);
/// Where their random numbers begin.
static SEED: AtomicU64 = AtomicU64::new(0);

/// Tells whether there can be so many threads.
pub fn is_possible(plan: Plan) -> bool {
    (1..=MAX_THREADS).contains(&plan.threads)
}

/// Runs the threads; returns how many results were wrong and calls lost.
pub fn run(plan: Plan) -> Result<u64, Error> {
    let Plan {
        threads,
        seconds,
        seed,
    } = plan;
    // The clock starts when there is somebody who serves calls.
    system::forward_null()?;
    let before = Notifications::read()?;
    let start = time::now()?;
    let end = start + Duration::from_secs(seconds);
    END_MS.store(end.as_millis() as u64, Ordering::Relaxed);
    SEED.store(seed, Ordering::Relaxed);
    for number in 0..threads {
        process::spawn_thread(work, number)?;
    }
    let counts = &COUNTS[..threads];
    while !counts.iter().all(Counts::is_done) && time::now()? < end + PATIENCE {
        time::sleep(PAUSE)?;
    }
    let Notifications { sent, received } = Notifications::read()?.since(&before);

    let sum = |of: &dyn Fn(&Counts, Kind) -> u64| -> u64 {
        let of_all = |counts| Kind::ALL.iter().map(move |&(kind, _)| of(counts, kind));
        counts.iter().flat_map(of_all).sum()
    };
    let calls = sum(&|counts, kind| counts.returned(kind));
    let lost = sum(&|counts, kind| counts.outstanding(kind));
    let errors: u64 = counts.iter().map(Counts::wrong).sum();
    let seconds = (time::now()? - start).as_secs();
    eprint!("stress: calls={calls} errors={errors} sent={sent} received={received} lost={lost}");
    eprint!(" threads={threads} seconds={seconds} seed={seed}");
    for (kind, name) in Kind::ALL {
        let calls: u64 = counts.iter().map(|counts| counts.returned(kind)).sum();
        eprint!(" {name}={calls}");
    }
    eprintln!("");
    Ok(errors + lost)
}

/// What each thread does.
fn work(number: usize) {
    let counts = &COUNTS[number];
    // Neighbouring seeds would give neighbouring numbers.
    let seed =
        SEED.load(Ordering::Relaxed) ^ (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut worker = Worker::new(number, seed, counts);
    let end = Duration::from_millis(END_MS.load(Ordering::Relaxed));
    kinds::run(&mut worker, || {
        counts.wrong() < MAX_WRONG && time::now().is_ok_and(|now| now < end)
    });
    counts.set_done();
}
