// SPDX-License-Identifier: MIT OR Apache-2.0
//! The server's side: takes requests out, puts completions in.

use crate::call::{Call, CallError};
use crate::error::RingError;
use crate::mapping::{Buffer, CompletionSlot, Index, Mapping, RequestSlot};
use crate::token::{Token, TokenSet};
use crate::{Geometry, SLOTS};

/// The server's end of a ring. There is one at a time for a channel.
#[derive(Debug)]
pub struct Server {
    mapping: Mapping,
    /// Where the next request is taken.
    request_head: u32,
    /// Where the next completion goes.
    completion_tail: u32,
    /// Tokens of no request under way.
    idle: TokenSet,
}

/// A request, copied from the ring.
#[derive(Debug)]
#[must_use = "the client waits for a completion"]
pub struct Request {
    /// The call's token, to be given back by [`Server::complete`].
    pub token: Token,
    /// What is asked; see [`crate::opcode`].
    pub opcode: u32,
    /// The arguments, not checked; see [`Self::call`].
    pub args: [u64; 4],
}

impl Request {
    /// Returns what is asked, with arguments that fit a buffer of `buffer_len` bytes.
    pub fn call(&self, buffer_len: usize) -> Result<Call, CallError> {
        Call::decode(self.opcode, self.args, buffer_len)
    }
}

impl Server {
    /// Starts at the indices that this side published last: 0 in a new channel. Requests that a former server took
    /// and did not complete stay without completion.
    pub fn new(mapping: Mapping) -> Self {
        Self {
            request_head: mapping.observe(Index::RequestHead),
            completion_tail: mapping.observe(Index::CompletionTail),
            mapping,
            idle: TokenSet::FULL,
        }
    }

    /// Takes the next request.
    ///
    /// After [`RingError::UnknownToken`] the requests behind it can still be taken; after [`RingError::Corrupt`] the
    /// ring is out of order and stays so.
    // Not an iterator: after an error, or nothing, there may be more.
    #[expect(clippy::should_implement_trait, reason = "returns Result<Option<..>>")]
    pub fn next(&mut self) -> Result<Option<Request>, RingError> {
        let (ours, theirs) = (self.request_head, self.mapping.observe(Index::RequestTail));
        if theirs == ours {
            return Ok(None);
        }
        if theirs.wrapping_sub(ours) > SLOTS as u32 {
            return Err(RingError::Corrupt { ours, theirs });
        }
        let RequestSlot {
            token,
            opcode,
            args,
        } = self.mapping.read_request(ours);
        self.request_head = ours.wrapping_add(1);
        self.mapping.publish(Index::RequestHead, self.request_head);
        let token = self
            .idle
            .take(token)
            .ok_or(RingError::UnknownToken { token })?;
        Ok(Some(Request {
            token,
            opcode,
            args,
        }))
    }

    /// Tells whether [`Self::next`] would return something else than nothing.
    pub fn has_requests(&self) -> bool {
        self.mapping.observe(Index::RequestTail) != self.request_head
    }

    /// Returns the buffer of a token.
    pub fn buffer(&self, token: &Token) -> Buffer<'_> {
        self.mapping.buffer(token)
    }

    /// Publishes a completion; returns whether the client may have stopped looking. If so, notifying it is the caller's
    /// task. If not, it has not come to an earlier completion yet, and will find this one too.
    pub fn complete(&mut self, token: Token, result: i64) -> Result<bool, RingError> {
        let number = token.number();
        self.idle.insert(token);
        let (ours, theirs) = (
            self.completion_tail,
            self.mapping.observe(Index::CompletionHead),
        );
        match ours.wrapping_sub(theirs) as usize {
            0..SLOTS => {}
            SLOTS => return Err(RingError::CompletionsFull),
            _ => return Err(RingError::Corrupt { ours, theirs }),
        }
        self.mapping.write_completion(
            ours,
            &CompletionSlot {
                token: number,
                result,
            },
        );
        self.completion_tail = ours.wrapping_add(1);
        self.mapping
            .publish(Index::CompletionTail, self.completion_tail);
        Ok(self.mapping.observe(Index::CompletionHead) == ours)
    }

    /// Returns the layout.
    pub fn geometry(&self) -> Geometry {
        self.mapping.geometry()
    }
}
