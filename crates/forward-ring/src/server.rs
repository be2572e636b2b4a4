// SPDX-License-Identifier: MIT OR Apache-2.0
//! The server's side: takes requests out, puts completions in.

use crate::call::{Call, CallError};
use crate::client::next_generation;
use crate::error::RingError;
use crate::mapping::{Buffer, CompletionSlot, Index, Mapping, RequestSlot, SessionWord};
use crate::token::{Token, TokenSet};
use crate::{Geometry, Message, SLOTS};

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
    /// Own generation, 0 before the first announcement.
    generation: u32,
    /// Generation of the client that was accepted, 0 for none.
    accepted: u32,
}

/// A request, copied from the ring.
#[derive(Debug)]
#[must_use = "the client waits for a completion"]
pub struct Request {
    /// The call's token, to be given back by [`Server::complete`].
    pub token: Token,
    /// What is asked, not checked; see [`Self::call`] and [`crate::syscall`].
    pub message: Message,
}

impl Request {
    /// Returns what is asked, if it is a call of the client's own.
    pub fn call(&self) -> Result<Call, CallError> {
        Call::decode(&self.message)
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
            generation: 0,
            accepted: 0,
        }
    }

    /// Says that this server has begun anew; to be done before it says that it is ready. A client that knows a former
    /// generation will give its calls up and greet.
    pub fn announce(&mut self) {
        let last = match self.generation {
            0 => self.mapping.observe_session(SessionWord::ServerGeneration),
            own => own,
        };
        self.generation = next_generation(last);
        self.accepted = 0;
        self.mapping
            .publish_session(SessionWord::ServerGeneration, self.generation);
    }

    /// Tells whether a client greets this server that is not the one it has accepted. If the channel has been zeroed since
    /// the announcement, for another client, who this server is is said again.
    pub fn is_greeted(&self) -> bool {
        self.greeting().is_some()
    }

    /// Tells whether the client that was accepted has begun anew, or gone over to another server, or the channel has been
    /// zeroed.
    pub fn is_client_gone(&self) -> bool {
        let is = |word, value| self.mapping.observe_session(word) == value;
        self.accepted != 0
            && !(is(SessionWord::ClientGeneration, self.accepted)
                && is(SessionWord::Accepted, self.accepted)
                && is(SessionWord::ServerGeneration, self.generation))
    }

    /// Accepts the client that greets, if one does: empties this side of the ring and says so. Returns whether there is
    /// one.
    ///
    /// Calls under way are forgotten, and tokens of before are void: they are to be dropped, not completed. Whoever still
    /// writes to a buffer of before, such as a system call that another thread makes, has to be stopped first: the buffer
    /// is the new client's from now on.
    pub fn accept(&mut self) -> bool {
        let Some(client) = self.greeting() else {
            return false;
        };
        self.accepted = client;
        self.reset();
        self.mapping.publish_session(SessionWord::Accepted, client);
        true
    }

    /// Empties this side of the ring, after the client's side has been emptied and before it is used. Tokens of before are
    /// void.
    pub fn reset(&mut self) {
        // Whatever the tail is: there is no request before it any more.
        self.request_head = self.mapping.observe(Index::RequestTail);
        self.completion_tail = 0;
        self.mapping.publish(Index::RequestHead, self.request_head);
        self.mapping.publish(Index::CompletionTail, 0);
        self.idle = TokenSet::FULL;
    }

    /// Returns the generation of the client that greets this server and has not been accepted.
    fn greeting(&self) -> Option<u32> {
        let Self {
            mapping,
            generation,
            ..
        } = self;
        if *generation == 0 {
            return None;
        }
        if mapping.observe_session(SessionWord::ServerGeneration) != *generation {
            mapping.publish_session(SessionWord::ServerGeneration, *generation);
        }
        // The generation first: a greeting seen afterwards is of that generation or a later one. If it is a later one, the
        // client knows that it has not been accepted.
        let client = mapping.observe_session(SessionWord::ClientGeneration);
        let greeted = mapping.observe_session(SessionWord::Greeted);
        // In a zeroed channel a new client may have the generation of the former one; but it has not been told so.
        let is_accepted =
            client == self.accepted && mapping.observe_session(SessionWord::Accepted) == client;
        (client != 0 && greeted == *generation && !is_accepted).then_some(client)
    }

    /// Takes the next request.
    ///
    /// After [`RingError::UnknownToken`] the requests behind it can still be taken; after [`RingError::Corrupt`] the
    /// ring is out of order and stays so.
    // Not an iterator: after an error, or nothing, there may be more.
    #[inline]
    #[expect(clippy::should_implement_trait, reason = "returns Result<Option<..>>")]
    pub fn next(&mut self) -> Result<Option<Request>, RingError> {
        let (ours, theirs) = (self.request_head, self.mapping.observe(Index::RequestTail));
        if theirs == ours {
            return Ok(None);
        }
        if theirs.wrapping_sub(ours) > SLOTS as u32 {
            return Err(RingError::Corrupt { ours, theirs });
        }
        let RequestSlot { token, message } = self.mapping.read_request(ours);
        self.request_head = ours.wrapping_add(1);
        self.mapping.publish(Index::RequestHead, self.request_head);
        let token = self
            .idle
            .take(token)
            .ok_or(RingError::UnknownToken { token })?;
        Ok(Some(Request { token, message }))
    }

    /// Tells whether [`Self::next`] would return something else than nothing.
    pub fn has_requests(&self) -> bool {
        self.mapping.observe(Index::RequestTail) != self.request_head
    }

    /// Returns the buffer of a token.
    #[inline]
    pub fn buffer(&self, token: &Token) -> Buffer<'_> {
        self.mapping.buffer(token)
    }

    /// Publishes a completion; returns whether the client may have stopped looking. If so, notifying it is the caller's
    /// task. If not, it has not come to an earlier completion yet, and will find this one too.
    #[inline]
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
