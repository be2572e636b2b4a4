// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the main thread and a worker hand jobs and results to each other.
//!
//! # Invariants
//! 1. `job` is the main thread's while the state is EMPTY, and the worker's from FULL until it has set it back.
//! 2. `outcome` is the worker's from taking a job until it has set the ring's bit `done`, then the main thread's until it
//!    gives the next job.
#![expect(unsafe_code, reason = "cells that change hands, and signals")]

use std::cell::UnsafeCell;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::{Job, Outcome};
use crate::syscall;

const EMPTY: u32 = 0;
const FULL: u32 = 1;
/// The worker has ended, or has not begun.
const LEFT: u32 = 2;

/// A worker's desk.
pub struct Desk {
    state: AtomicU32,
    job: UnsafeCell<Option<Job>>,
    outcome: UnsafeCell<Outcome>,
    /// The worker's thread.
    thread: AtomicU32,
    /// The main thread wants the call to end.
    is_interrupted: AtomicBool,
}

// SAFETY: invariants 1 and 2: each cell is one thread's at a time, and changes hands by `state` and `done`.
unsafe impl Sync for Desk {}

impl Desk {
    /// An empty desk without worker.
    pub fn new() -> Self {
        Self {
            state: AtomicU32::new(LEFT),
            job: UnsafeCell::new(None),
            outcome: UnsafeCell::new(Outcome::result(0)),
            thread: AtomicU32::new(0),
            is_interrupted: AtomicBool::new(false),
        }
    }

    /// The main thread: gives a job to a worker without one.
    pub fn give(&self, job: Job) {
        debug_assert_eq!(self.state.load(Ordering::Relaxed), EMPTY);
        // SAFETY: the worker has put its last result, so it has set the state back: invariant 1.
        unsafe { *self.job.get() = Some(job) };
        self.state.store(FULL, Ordering::Release);
        syscall::wake(&self.state);
    }

    /// The main thread: the result of a job that is done.
    pub fn outcome(&self) -> Outcome {
        // SAFETY: the caller has seen the bit `done`: invariant 2.
        unsafe { *self.outcome.get() }
    }

    /// The main thread: ends the system call of the worker.
    pub fn interrupt(&self, process: u32, signal: i32) {
        self.is_interrupted.store(true, Ordering::Release);
        syscall::signal_thread(process, self.thread.load(Ordering::Relaxed), signal);
    }

    /// The main thread: waits until the worker has ended, which was told to.
    pub fn end(&self, process: u32, signal: i32) {
        while self.state.load(Ordering::Acquire) != LEFT {
            syscall::signal_thread(process, self.thread.load(Ordering::Relaxed), signal);
            syscall::wake(&self.state);
            std::thread::yield_now();
        }
    }

    /// The worker: begins.
    pub fn take_seat(&self) {
        self.thread.store(syscall::thread_id(), Ordering::Relaxed);
        self.state.store(EMPTY, Ordering::Release);
    }

    /// The worker: ends.
    pub fn leave(&self) {
        self.state.store(LEFT, Ordering::Release);
    }

    /// The worker: waits for a job; `None` if workers are to end.
    pub fn next(&self, ends: &AtomicBool) -> Option<Job> {
        loop {
            if ends.load(Ordering::SeqCst) {
                return None;
            }
            if self.state.load(Ordering::Acquire) == FULL {
                break;
            }
            syscall::sleep_while(&self.state, EMPTY);
        }
        if self.is_interrupted.swap(false, Ordering::AcqRel) {
            // The last call was interrupted, and a signal that came too late for it must not end this one.
            syscall::take_signals();
        }
        // SAFETY: the state is FULL: invariant 1.
        let job = unsafe { (*self.job.get()).take() };
        self.state.store(EMPTY, Ordering::Release);
        job
    }

    /// The worker: puts the result, before it sets the bit `done`.
    pub fn put(&self, outcome: Outcome) {
        // SAFETY: the worker has a job: invariant 2.
        unsafe { *self.outcome.get() = outcome };
    }
}

extern "C" fn on_signal(_signal: i32) {}

/// Lets a signal do nothing but end the system call that it meets.
pub fn catch_signal(signal: i32) -> io::Result<()> {
    let on_signal: extern "C" fn(i32) = on_signal;
    // SAFETY: all-zero is a sigaction without flags (without SA_RESTART above all) and with an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = on_signal as usize;
    // SAFETY: the handler does nothing; the old action is not asked for.
    match unsafe { libc::sigaction(signal, &action, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Makes the calling thread a worker: of all signals it takes `signal` only, and its working directory is its own.
pub fn prepare_thread(signal: i32) -> io::Result<()> {
    // SAFETY: a set that is filled before use; the old mask is not asked for.
    let error = unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&mut set);
        libc::sigdelset(&mut set, signal);
        libc::pthread_sigmask(libc::SIG_SETMASK, &set, std::ptr::null_mut())
    };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error));
    }
    // SAFETY: takes no memory; what it changes is this thread's.
    match unsafe { libc::unshare(libc::CLONE_FS) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
