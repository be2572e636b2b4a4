// SPDX-License-Identifier: MIT OR Apache-2.0
//! What can go wrong on a ring.

use core::fmt;

/// Every token is in use: poll and release, then try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// An access to a buffer that would not lie in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfBounds {
    /// First byte asked for.
    pub offset: usize,
    /// Bytes asked for.
    pub len: usize,
}

/// What the other side did that the protocol forbids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RingError {
    /// The other side's index is not within a queue's length of ours. Nothing was consumed, and the error stays
    /// until the other side mends its index.
    Corrupt {
        /// Our own index.
        ours: u32,
        /// The index found in shared memory.
        theirs: u32,
    },
    /// A completion for a call that is not under way, or a request with a token out of range or whose call is under
    /// way already. The entry was dropped; the ones behind it can still be read.
    UnknownToken {
        /// The token found in shared memory.
        token: u32,
    },
    /// The client does not take its completions: there is no room for one more, though the client had no more than
    /// [`crate::SLOTS`] tokens. The completion was dropped.
    CompletionsFull,
}

/// Why there will be no completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitError {
    /// Nobody serves any more.
    ServerGone,
    /// The other side broke the protocol.
    Ring(RingError),
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("every token of the ring is in use")
    }
}

impl fmt::Display for OutOfBounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} bytes at {} do not lie in the buffer",
            self.len, self.offset
        )
    }
}

impl fmt::Display for RingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Corrupt { ours, theirs } => {
                write!(f, "index {theirs:#x} does not go with ours, {ours:#x}")
            }
            Self::UnknownToken { token } => {
                write!(f, "token {token:#x} names no call of this moment")
            }
            Self::CompletionsFull => f.write_str("no room for a completion"),
        }
    }
}

impl fmt::Display for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ServerGone => f.write_str("the server is gone"),
            Self::Ring(error) => write!(f, "{error}"),
        }
    }
}

impl core::error::Error for Full {}
impl core::error::Error for OutOfBounds {}
impl core::error::Error for RingError {}
impl core::error::Error for WaitError {}
