// SPDX-License-Identifier: MIT OR Apache-2.0
//! What workers are given, and what they return.
#![expect(unsafe_code, reason = "closes descriptors by their numbers")]

use arrayvec::ArrayVec;
use forward_ring::syscall::{POLL_MAX, Signature};

use crate::area::Area;
use crate::files::Kind;
use crate::syscall;

/// `struct pollfd`.
pub type PollFd = libc::pollfd;

/// A job.
#[expect(
    clippy::large_enum_variant,
    reason = "made in the handler, which does not allocate"
)]
pub enum Job {
    /// Make one of Linux's calls.
    Call(Call),
    /// Close files that nobody uses any more.
    Close(Files),
    /// Start the workers of a ring.
    StartRing(usize),
}

/// One of Linux's calls, checked by [`Signature::check`] and with descriptors of this process.
pub struct Call {
    /// Linux's number.
    pub number: u32,
    /// What the arguments are.
    pub signature: &'static Signature,
    /// As they were sent, but for descriptors.
    pub args: [u64; 6],
    /// The call's buffer.
    pub area: Area,
    /// Directory that relative paths start at; `None` where the client gave a descriptor that is none.
    pub base: Option<i32>,
    /// What a `poll` waits for.
    pub poll: Option<Poll>,
}

/// Descriptors of a `poll`. What is none is -1.
pub struct Poll {
    /// In the client's order.
    pub files: ArrayVec<PollFd, POLL_MAX>,
    /// Those that are none of the client's, a bit each. (Negative numbers are left out, not wrong.)
    pub invalid: u64,
}

/// Files to be closed, as descriptors of this process that nobody else knows.
#[derive(Default)]
pub struct Files(ArrayVec<i32, 64>);

impl Files {
    /// Takes files up to what fits.
    pub fn take(from: impl FnMut() -> Option<i32>) -> Self {
        Self(std::iter::from_fn(from).take(64).collect())
    }

    /// Closes them.
    pub fn close(&mut self) {
        for fd in self.0.drain(..) {
            // SAFETY: the tables had it for nobody any more, and gave it away.
            unsafe { syscall::close(fd) };
        }
    }
}

/// What became of a job.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// The call's result.
    pub result: i64,
    /// Files that it opened, to be given numbers.
    pub opened: [Option<(i32, Kind)>; 2],
}

impl Outcome {
    /// Of a call that opens nothing.
    pub fn result(result: i64) -> Self {
        Self {
            result,
            opened: [None; 2],
        }
    }

    /// Of a call that opens a file, or fails.
    pub fn opened(result: i64, kind: impl FnOnce(i32) -> Kind) -> Self {
        match i32::try_from(result) {
            Ok(fd) if fd >= 0 => Self {
                result: 0,
                opened: [Some((fd, kind(fd))), None],
            },
            _ => Self::result(result),
        }
    }
}
