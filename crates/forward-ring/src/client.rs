// SPDX-License-Identifier: MIT OR Apache-2.0
//! The client's side: puts requests in, takes completions out.

use crate::error::{Full, RingError, WaitError};
use crate::mapping::{Buffer, CompletionSlot, Index, Mapping, RequestSlot, SessionWord};
use crate::token::{Token, TokenSet};
use crate::{Geometry, Message, SLOTS};

/// What [`Client::submit`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a server that is not notified may sleep"]
pub struct Submitted {
    /// The number by which [`Client::poll`] will name the call.
    pub number: u32,
    /// Whether the server may have stopped looking: then it wants a notification. If not, it has been notified of a
    /// request before this one, has not come to it yet, and will find this one too.
    pub notify: bool,
}

/// The client's end of a ring. There is one at a time for a channel.
#[derive(Debug)]
pub struct Client {
    mapping: Mapping,
    /// Where the next request goes.
    request_tail: u32,
    /// Where the next completion is taken.
    completion_head: u32,
    free: TokenSet,
    in_flight: TokenSet,
    /// Own generation, 0 before the first greeting.
    generation: u32,
    /// Generation of the server that was greeted, 0 for none.
    greeted: u32,
}

/// How far a client that begins anew moves its tail: an index beyond the reach of whoever still serves the former one,
/// so that it takes none of the requests that lie there, however often the client begins anew.
const RESET_DISTANCE: u32 = 0x4000_0100;

impl Client {
    /// Starts at the indices that this side published last: 0 in a new channel. For a ring that has been reset, and for
    /// [`Self::greet`].
    pub fn new(mapping: Mapping) -> Self {
        Self {
            request_tail: mapping.observe(Index::RequestTail),
            completion_head: mapping.observe(Index::CompletionHead),
            mapping,
            free: TokenSet::FULL,
            in_flight: TokenSet::EMPTY,
            generation: 0,
            greeted: 0,
        }
    }

    /// Begins a session: says that this client starts anew, empties this side of the ring and greets the server that has
    /// announced itself. Returns whether there is one; if not, the client tries again later.
    ///
    /// Nothing may be submitted until [`Self::is_accepted`], and if [`Self::is_server_new`] the client is to greet again.
    /// Calls under way are forgotten, and tokens of before are void: they are to be dropped, not submitted or released.
    pub fn greet(&mut self) -> bool {
        self.announce();
        self.reset();
        self.greeted = self.mapping.observe_session(SessionWord::ServerGeneration);
        self.mapping
            .publish_session(SessionWord::Greeted, self.greeted);
        self.greeted != 0
    }

    /// Says that this client has begun anew, and greets nobody yet: a server that serves a former one gives that up. For a client
    /// that may have had a former life and does not call at once; [`Self::greet`] does so itself.
    pub fn announce(&mut self) {
        let last = self.mapping.observe_session(SessionWord::ClientGeneration);
        self.generation = next_generation(last);
        // In this order: who sees the new generation does not take the greeting of the last one for its own.
        self.mapping.publish_session(SessionWord::Greeted, 0);
        self.mapping
            .publish_session(SessionWord::ClientGeneration, self.generation);
    }

    /// Tells whether the server that was greeted has emptied its side for this client, and no other server has come since.
    pub fn is_accepted(&self) -> bool {
        self.greeted != 0
            && self.mapping.observe_session(SessionWord::Accepted) == self.generation
            && !self.is_server_new()
    }

    /// Tells whether there is another server than the one that was greeted, or the channel has been zeroed.
    pub fn is_server_new(&self) -> bool {
        let is = |word, value| self.mapping.observe_session(word) == value;
        !(is(SessionWord::ServerGeneration, self.greeted)
            && is(SessionWord::ClientGeneration, self.generation))
    }

    /// Empties this side of the ring, while the server does not serve it. Tokens of before are void.
    pub fn reset(&mut self) {
        self.request_tail = self.request_tail.wrapping_add(RESET_DISTANCE);
        self.completion_head = 0;
        self.mapping.publish(Index::RequestTail, self.request_tail);
        self.mapping.publish(Index::CompletionHead, 0);
        (self.free, self.in_flight) = (TokenSet::FULL, TokenSet::EMPTY);
    }

    /// Takes a free token, and with it the right to its buffer.
    #[inline]
    pub fn reserve(&mut self) -> Result<Token, Full> {
        self.free.take_any().ok_or(Full)
    }

    /// Publishes a request. Notifying the server is the caller's task, if the result says so.
    ///
    /// There is always room: a client has as many tokens as the queue has slots, and an honest server takes a
    /// request before it completes it. (What a dishonest one finds in the slots is its own business.)
    #[inline]
    pub fn submit(&mut self, token: Token, message: &Message) -> Submitted {
        let number = token.number();
        self.mapping.write_request(
            self.request_tail,
            &RequestSlot {
                token: number,
                message: *message,
            },
        );
        self.in_flight.insert(token);
        let before = self.request_tail;
        self.request_tail = before.wrapping_add(1);
        self.mapping.publish(Index::RequestTail, self.request_tail);
        Submitted {
            number,
            notify: self.mapping.observe(Index::RequestHead) == before,
        }
    }

    /// Takes the next completion: the call's token, with its buffer, and its result (negative errno).
    ///
    /// After [`RingError::UnknownToken`] the completions behind it can still be polled; after
    /// [`RingError::Corrupt`] the ring is out of order and stays so.
    #[inline]
    pub fn poll(&mut self) -> Result<Option<(Token, i64)>, RingError> {
        let (ours, theirs) = (
            self.completion_head,
            self.mapping.observe(Index::CompletionTail),
        );
        if theirs == ours {
            return Ok(None);
        }
        if theirs.wrapping_sub(ours) > SLOTS as u32 {
            return Err(RingError::Corrupt { ours, theirs });
        }
        let CompletionSlot { token, result } = self.mapping.read_completion(ours);
        self.completion_head = ours.wrapping_add(1);
        self.mapping
            .publish(Index::CompletionHead, self.completion_head);
        let token = self
            .in_flight
            .take(token)
            .ok_or(RingError::UnknownToken { token })?;
        Ok(Some((token, result)))
    }

    /// Waits for the next completion, as [`Self::poll`] returns it.
    ///
    /// `idle` waits for an interrupt, and returns at once if one came since its caller last looked at anything; it may
    /// return without. `is_server_there` tells whether somebody still serves. If that is another server than the one that
    /// was greeted, the wait is over too.
    pub fn wait(
        &mut self,
        is_server_there: impl Fn() -> bool,
        mut idle: impl FnMut(),
    ) -> Result<(Token, i64), WaitError> {
        loop {
            // Looked at before the ring: a server that completes and goes is not one that has gone without.
            let is_server_gone = !is_server_there() || self.is_server_new();
            match self.poll() {
                Ok(Some(completion)) => return Ok(completion),
                Ok(None) if is_server_gone => return Err(WaitError::ServerGone),
                Ok(None) => idle(),
                Err(error) => return Err(WaitError::Ring(error)),
            }
        }
    }

    /// Tells whether [`Self::poll`] would return something else than nothing.
    #[inline]
    pub fn has_completions(&self) -> bool {
        self.mapping.observe(Index::CompletionTail) != self.completion_head
    }

    /// Gives a token back, and with it the right to its buffer.
    #[inline]
    pub fn release(&mut self, token: Token) {
        self.free.insert(token);
    }

    /// Returns the buffer of a token.
    #[inline]
    pub fn buffer(&self, token: &Token) -> Buffer<'_> {
        self.mapping.buffer(token)
    }

    /// Returns the number of calls that wait for their completion.
    #[inline]
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Returns the layout.
    #[inline]
    pub fn geometry(&self) -> Geometry {
        self.mapping.geometry()
    }
}

/// Returns the generation after `last`; 0 is none.
pub(crate) fn next_generation(last: u32) -> u32 {
    last.wrapping_add(1).max(1)
}
