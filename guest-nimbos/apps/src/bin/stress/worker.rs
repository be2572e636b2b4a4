// SPDX-License-Identifier: MIT OR Apache-2.0
//! A thread's calls: counted when they begin and when they return, and checked.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use fastrand::Rng;
use nimbos_apps::{Error, eprintln};

/// Kinds of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A forwarded call that does nothing.
    Null,
    /// Calls of the kernel alone.
    Local,
    /// What files hold.
    File,
    /// What files are called.
    Name,
    Pipe,
    Socket,
    /// Processes that are started and waited for.
    Process,
    /// Processes that are killed.
    Kill,
    Sleep,
}

impl Kind {
    /// All, with their names.
    pub const ALL: [(Self, &'static str); 9] = [
        (Self::Null, "null"),
        (Self::Local, "local"),
        (Self::File, "file"),
        (Self::Name, "name"),
        (Self::Pipe, "pipe"),
        (Self::Socket, "socket"),
        (Self::Process, "process"),
        (Self::Kill, "kill"),
        (Self::Sleep, "sleep"),
    ];
}

/// Counts of one thread, which another one reads.
pub struct Counts {
    begun: [AtomicU64; Kind::ALL.len()],
    returned: [AtomicU64; Kind::ALL.len()],
    wrong: AtomicU64,
    is_done: AtomicBool,
}

impl Counts {
    /// Nothing yet.
    pub const fn new() -> Self {
        Self {
            begun: [const { AtomicU64::new(0) }; Kind::ALL.len()],
            returned: [const { AtomicU64::new(0) }; Kind::ALL.len()],
            wrong: AtomicU64::new(0),
            is_done: AtomicBool::new(false),
        }
    }

    /// Returns the calls of a kind that have returned.
    pub fn returned(&self, kind: Kind) -> u64 {
        self.returned[kind as usize].load(Ordering::Relaxed)
    }

    /// Returns the calls of a kind that have not returned.
    pub fn outstanding(&self, kind: Kind) -> u64 {
        // In this order: a call that returns meanwhile counts as outstanding, not as less than none.
        let returned = self.returned(kind);
        self.begun[kind as usize].load(Ordering::Relaxed) - returned
    }

    /// Returns how many results were wrong.
    pub fn wrong(&self) -> u64 {
        self.wrong.load(Ordering::Relaxed)
    }

    /// Says that the thread makes no more calls.
    pub fn set_done(&self) {
        self.is_done.store(true, Ordering::Release);
    }

    /// Tells whether the thread makes no more calls.
    pub fn is_done(&self) -> bool {
        self.is_done.load(Ordering::Acquire)
    }
}

/// A result that was not what it had to be. It has been counted and told.
#[derive(Clone, Copy, Debug)]
pub struct Wrong;

/// A thread that makes calls.
pub struct Worker {
    /// Number of the thread: names of its files have it.
    pub number: usize,
    /// What it does next.
    pub random: Rng,
    kind: Kind,
    counts: &'static Counts,
}

impl Worker {
    /// A thread whose calls are counted in `counts`.
    pub fn new(number: usize, seed: u64, counts: &'static Counts) -> Self {
        Self {
            number,
            random: Rng::with_seed(seed),
            kind: Kind::Null,
            counts,
        }
    }

    /// The calls that follow are of this kind.
    pub fn begin(&mut self, kind: Kind) {
        self.kind = kind;
    }

    /// Makes a call, which must succeed.
    pub fn call<T>(&self, what: &str, call: impl FnOnce() -> Result<T, Error>) -> Result<T, Wrong> {
        match self.counted(call) {
            Ok(value) => Ok(value),
            Err(error) => Err(self.wrong(what, format_args!("{error}"))),
        }
    }

    /// Makes a call, which must fail with this error.
    pub fn refused<T>(
        &self,
        what: &str,
        expected: Error,
        call: impl FnOnce() -> Result<T, Error>,
    ) -> Result<(), Wrong> {
        match self.counted(call) {
            Err(error) if error == expected => Ok(()),
            Err(error) => Err(self.wrong(what, format_args!("{error}, not {expected}"))),
            Ok(_) => Err(self.wrong(what, format_args!("success, not {expected}"))),
        }
    }

    /// Checks what calls have given.
    pub fn check(&self, what: &str, is_right: bool) -> Result<(), Wrong> {
        if is_right {
            Ok(())
        } else {
            Err(self.wrong(what, format_args!("not what it should be")))
        }
    }

    fn counted<T>(&self, call: impl FnOnce() -> T) -> T {
        let place = self.kind as usize;
        self.counts.begun[place].fetch_add(1, Ordering::Relaxed);
        let result = call();
        self.counts.returned[place].fetch_add(1, Ordering::Relaxed);
        result
    }

    fn wrong(&self, what: &str, why: core::fmt::Arguments<'_>) -> Wrong {
        self.counts.wrong.fetch_add(1, Ordering::Relaxed);
        let Self { number, kind, .. } = self;
        eprintln!("stress: thread {number}: {kind:?}: {what}: {why}");
        Wrong
    }
}
