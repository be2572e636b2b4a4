// SPDX-License-Identifier: MIT OR Apache-2.0
//! Workers: threads that make the calls which may block.
//!
//! Each call that can be under way has a worker of its own, that of its ring and token. So there are always enough, a job
//! needs no queue, and a call is interrupted by a signal to the thread that makes it. A worker and the main
//! thread share a [`Desk`]; the main thread's part is fit for the handler: it neither waits nor allocates.

mod calls;
mod desk;
mod job;
mod path;
mod socket;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use forward_ring::SLOTS;

pub use calls::{direct, is_quick};
use desk::Desk;
pub use job::{Call, Files, Job, Outcome, Poll, PollFd};

use crate::syscall;

/// Ends a worker's system call.
const INTERRUPT: i32 = libc::SIGUSR1;
/// Two paths, and what signal delivery puts there.
const STACK_LEN: usize = 128 << 10;

/// What all workers know.
struct Shared {
    rings: Box<[Ring]>,
    root: OwnedFd,
    process: u32,
    /// Lets the main thread know that there are results.
    wake: Box<dyn Fn() + Send + Sync>,
    ends: AtomicBool,
}

/// The workers of one ring.
struct Ring {
    desks: Box<[Desk]>,
    /// Calls whose results are there, one bit each.
    done: AtomicU32,
    /// Workers that were started: the first ones.
    started: AtomicU32,
}

/// The workers of all rings, as the main thread has them.
pub struct Workers {
    shared: Arc<Shared>,
}

impl Workers {
    /// Makes the desks for `ring_count` rings and starts the first ring's workers. Paths are resolved as if `root` were
    /// the root directory. `wake` is called by workers after they have put results on empty desks.
    pub fn start(
        ring_count: usize,
        root: OwnedFd,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> io::Result<Self> {
        desk::catch_signal(INTERRUPT)?;
        let ring = || Ring {
            desks: (0..SLOTS).map(|_| Desk::new()).collect(),
            done: AtomicU32::new(0),
            started: AtomicU32::new(0),
        };
        let shared = Arc::new(Shared {
            rings: (0..ring_count).map(|_| ring()).collect(),
            root,
            process: std::process::id(),
            wake: Box::new(wake),
            ends: AtomicBool::new(false),
        });
        Shared::start_ring(&shared, 0)?;
        Ok(Self { shared })
    }

    /// Gives a job to the worker of a token, which has none.
    pub fn give(&mut self, ring: usize, token: u32, job: Job) {
        self.shared.rings[ring].desks[token as usize].give(job);
    }

    /// Takes the calls of a ring whose results have come since, as a bit for each token.
    pub fn take_done(&mut self, ring: usize) -> u32 {
        let done = &self.shared.rings[ring].done;
        // Most of the time there is nothing, and looking is cheap.
        match done.load(Ordering::Relaxed) {
            0 => 0,
            _ => done.swap(0, Ordering::AcqRel),
        }
    }

    /// Returns the result of a job that [`Self::take_done`] has named.
    pub fn outcome(&mut self, ring: usize, token: u32) -> Outcome {
        self.shared.rings[ring].desks[token as usize].outcome()
    }

    /// Interrupts the call of a worker, which has one. It may come too early or meet a worker between two system calls, so
    /// it is to be repeated until the result comes.
    pub fn interrupt(&mut self, ring: usize, token: u32) {
        let desk = &self.shared.rings[ring].desks[token as usize];
        desk.interrupt(self.shared.process, INTERRUPT);
    }
}

/// Ends the workers; no calls are under way any more, or they are interrupted.
impl Drop for Workers {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::SeqCst);
        for ring in &self.shared.rings {
            let started = ring.started.load(Ordering::SeqCst) as usize;
            for desk in &ring.desks[..started] {
                desk.end(self.shared.process, INTERRUPT);
            }
        }
    }
}

impl Shared {
    /// Starts the workers of a ring that do not run yet.
    fn start_ring(self: &Arc<Self>, number: usize) -> io::Result<()> {
        let ring = &self.rings[number];
        while (ring.started.load(Ordering::SeqCst) as usize) < SLOTS {
            let token = ring.started.load(Ordering::SeqCst);
            let shared = Arc::clone(self);
            let (report, started) = std::sync::mpsc::channel();
            thread::Builder::new()
                .name(format!("worker {number}.{token}"))
                .stack_size(STACK_LEN)
                .spawn(move || {
                    let result = desk::prepare_thread(INTERRUPT);
                    let is_ready = result.is_ok();
                    shared.rings[number].desks[token as usize].take_seat();
                    // The starter waits for it.
                    let _ = report.send(result);
                    if is_ready {
                        shared.work(number, token);
                    }
                })?;
            let gone = || io::Error::other("a worker ended at once");
            started.recv().map_err(|_| gone())??;
            ring.started.store(token + 1, Ordering::SeqCst);
        }
        Ok(())
    }

    /// A worker's life.
    fn work(self: Arc<Self>, number: usize, token: u32) {
        let ring = &self.rings[number];
        let desk = &ring.desks[token as usize];
        while let Some(mut job) = desk.next(&self.ends) {
            let outcome = match &mut job {
                Job::Call(call) => calls::blocking(call, &self.root),
                Job::Close(files) => {
                    files.close();
                    Outcome::result(0)
                }
                Job::StartRing(ring) => match self.start_ring(*ring) {
                    Ok(()) => Outcome::result(0),
                    Err(_) => Outcome::result(syscall::error(libc::EAGAIN)),
                },
            };
            desk.put(outcome);
            // The results before the bit, and the bit before the wake-up. Whoever finds other results there leaves it to
            // who put the first: the main thread has yet to take them.
            if ring.done.fetch_or(1 << token, Ordering::AcqRel) == 0 {
                (self.wake)();
            }
        }
        desk.leave();
    }
}
