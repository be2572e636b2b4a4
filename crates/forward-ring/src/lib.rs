// SPDX-License-Identifier: MIT OR Apache-2.0
//! The forwarding ring: how the co-kernel's calls reach the shadow process, and the results come back.
//!
//! Two single-producer single-consumer queues of [`SLOTS`] slots in a channel's memory, requests from client to
//! server and completions back, and one data buffer for each call under way. A [`Token`] is the right to a buffer:
//! whoever holds it may touch the data, so neither side can use a buffer while the call is with the other.
//!
//! ```text
//! client                                         server
//! reserve() -> token
//! buffer(&token).write(..)
//! submit(token, &message)            ------->      next() -> Request { token, message }
//!                                                buffer(&token).read(..) / .write(..)
//! poll() -> (token, result)        <-------      complete(token, result)
//! buffer(&token).read(..)
//! release(token)
//! ```
//!
//! # Invariants
//! 1. Everything in shared memory is an allegation of the other side: it is copied once, then checked, then used.
//!    Nothing there can make this crate panic, loop or touch memory outside the region.
//! 2. Each side keeps its own indices and the states of tokens in private memory and only publishes the indices.
//! 3. An index is published with release and observed with acquire ordering; slots are written before and read after.
//! 4. A full fence follows each publication: the side that publishes then looks at the other's index, and at least one of
//!    two that do so at once sees what the other has published.
//!
//! Either side may end and begin anew: a *session* is what one client and one server do with each other. Each has a
//! generation; the client greets the server's, and the server accepts the client's after it has emptied its side. Whoever
//! finds another generation than the one it knows gives up what was under way.
//!
//! How the other side learns that something was published (SENDUIPI, polling) is not this crate's matter. But it says when
//! the other side needs to learn it: whoever finds that the other has yet to take an earlier item need not notify, because
//! the taker looks again after each. So a burst is one notification, whatever the way of it costs.
#![no_std]

#[cfg(loom)]
extern crate std;

mod call;
mod client;
mod error;
mod geometry;
mod mapping;
mod message;
mod server;
mod sync;
pub mod syscall;
mod token;

pub use call::{Call, CallError, UintrReply, errno, opcode};
pub use client::{Client, Submitted};
pub use error::{Full, OutOfBounds, RingError, WaitError};
pub use geometry::{Geometry, GeometryError, MAX_RINGS, RING_STRIDE};
pub use mapping::{Buffer, Mapping};
pub use message::Message;
pub use server::{Request, Server};
#[cfg(loom)]
pub use sync::ModelMemory;
pub use token::Token;

/// Slots of each queue, buffers, and calls that can be under way at once. (The model checker gets two, so that few calls
/// go round the queues.)
pub const SLOTS: usize = if cfg!(loom) { 2 } else { 32 };
