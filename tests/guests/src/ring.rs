// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ring as plain words, for a side that breaks its rules. (docs/interfaces.md, "Ring")

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use forward_ring::Message;

use crate::arch::cpu;
use crate::boot::Boot;
use crate::channel::Channel;

const REQUEST_TAIL: usize = 0x00;
const REQUEST_HEAD: usize = 0x40;
const COMPLETION_TAIL: usize = 0x80;
const COMPLETION_HEAD: usize = 0xc0;
const CLIENT_GENERATION: usize = 0x100;
const GREETED: usize = 0x104;
const SERVER_GENERATION: usize = 0x140;
const ACCEPTED: usize = 0x144;
const COMPLETIONS: usize = 0x400;
const REQUESTS: usize = 0x800;
const SLOTS: u32 = 32;
/// Bytes before the buffers.
const CONTROL_LEN: usize = 0x1000;
const PATIENCE_MS: u64 = 20_000;

/// An index that one side publishes.
#[derive(Clone, Copy, Debug)]
pub enum Index {
    /// Requests submitted.
    RequestTail = REQUEST_TAIL as isize,
    /// Requests taken.
    RequestHead = REQUEST_HEAD as isize,
    /// Calls completed.
    CompletionTail = COMPLETION_TAIL as isize,
    /// Completions taken.
    CompletionHead = COMPLETION_HEAD as isize,
}

/// A word of the session.
#[derive(Clone, Copy, Debug)]
pub enum Session {
    /// Which client this is.
    ClientGeneration = CLIENT_GENERATION as isize,
    /// Which server the client greets.
    Greeted = GREETED as isize,
    /// Which server this is.
    ServerGeneration = SERVER_GENERATION as isize,
    /// Which client the server has accepted.
    Accepted = ACCEPTED as isize,
}

/// A channel's ring.
#[derive(Clone, Copy, Debug)]
pub struct Ring {
    channel: Channel,
}

impl Ring {
    /// Takes the ring of a channel.
    pub fn new(channel: Channel) -> Self {
        Self { channel }
    }

    /// Returns an index.
    pub fn index(&self, index: Index) -> &'static AtomicU32 {
        self.channel.ring_u32(index as usize)
    }

    /// Returns a word of the session.
    pub fn session(&self, word: Session) -> &'static AtomicU32 {
        self.channel.ring_u32(word as usize)
    }

    /// Says as the server that it has begun anew.
    pub fn announce(&self) {
        self.session(Session::ServerGeneration)
            .fetch_add(1, Ordering::SeqCst);
    }

    /// Accepts as the server a client that greets, if there is one that has not been accepted.
    pub fn accept(&self) -> bool {
        let read = |word| self.session(word).load(Ordering::SeqCst);
        let client = read(Session::ClientGeneration);
        if read(Session::Greeted) != read(Session::ServerGeneration)
            || read(Session::Accepted) == client
        {
            return false;
        }
        let tail = self.index(Index::RequestTail).load(Ordering::SeqCst);
        self.index(Index::RequestHead).store(tail, Ordering::SeqCst);
        self.index(Index::CompletionTail).store(0, Ordering::SeqCst);
        self.session(Session::Accepted)
            .store(client, Ordering::SeqCst);
        true
    }

    /// Begins a session as the client with the server that has announced itself.
    pub fn greet(&self) {
        self.session(Session::Greeted).store(0, Ordering::SeqCst);
        self.session(Session::ClientGeneration)
            .fetch_add(1, Ordering::SeqCst);
        self.index(Index::CompletionHead).store(0, Ordering::SeqCst);
        let server = self.session(Session::ServerGeneration);
        self.session(Session::Greeted)
            .store(server.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    /// Tells the client whether the server that it has greeted has accepted it.
    pub fn is_accepted(&self) -> bool {
        let read = |word| self.session(word).load(Ordering::SeqCst);
        read(Session::Accepted) == read(Session::ClientGeneration)
            && read(Session::Greeted) == read(Session::ServerGeneration)
    }

    /// Tells the client whether there is another server than the one that it has greeted.
    pub fn is_server_new(&self) -> bool {
        let read = |word| self.session(word).load(Ordering::SeqCst);
        read(Session::Greeted) != read(Session::ServerGeneration)
    }

    /// Takes the next request as the server, and returns its token and opcode, if there is one.
    pub fn next_request(&self) -> Option<(u32, u32)> {
        let head = self.index(Index::RequestHead);
        let tail = self.index(Index::RequestTail);
        let position = head.load(Ordering::SeqCst);
        if tail.load(Ordering::SeqCst) == position {
            return None;
        }
        let slot = REQUESTS + (position % SLOTS) as usize * 64;
        let first = self.word(slot).load(Ordering::SeqCst);
        head.store(position.wrapping_add(1), Ordering::SeqCst);
        Some((first as u32, (first >> 32) as u32))
    }

    /// Completes a call as the server.
    pub fn complete(&self, token: u32, result: i64) {
        let tail = self.index(Index::CompletionTail);
        let position = tail.load(Ordering::SeqCst);
        let slot = COMPLETIONS + (position % SLOTS) as usize * 16;
        self.word(slot).store(token.into(), Ordering::SeqCst);
        self.word(slot + 8)
            .store(result.cast_unsigned(), Ordering::SeqCst);
        tail.store(position.wrapping_add(1), Ordering::SeqCst);
    }

    /// Submits a call as the client.
    pub fn submit(&self, token: u32, message: &Message) {
        let tail = self.index(Index::RequestTail);
        let position = tail.load(Ordering::SeqCst);
        let slot = REQUESTS + (position % SLOTS) as usize * 64;
        let pair = |high: u32, low: u32| u64::from(high) << 32 | u64::from(low);
        let first = pair(message.opcode, token);
        let second = pair(message.reply_slot, message.process);
        let words = [first, second].into_iter().chain(message.args);
        for (number, value) in words.enumerate() {
            self.word(slot + 8 * number).store(value, Ordering::SeqCst);
        }
        tail.store(position.wrapping_add(1), Ordering::SeqCst);
    }

    /// Waits for the next completion as the client, takes it, and returns its token and result; `None` if there is none
    /// for long.
    pub fn next_completion(&self, boot: &Boot) -> Option<(u32, i64)> {
        let head = self.index(Index::CompletionHead);
        let tail = self.index(Index::CompletionTail);
        let position = head.load(Ordering::SeqCst);
        let has_come = || tail.load(Ordering::SeqCst) != position;
        if !cpu::wait_until(boot.ticks(PATIENCE_MS), has_come) {
            return None;
        }
        let slot = COMPLETIONS + (position % SLOTS) as usize * 16;
        let token = self.word(slot).load(Ordering::SeqCst) as u32;
        let result = self.word(slot + 8).load(Ordering::SeqCst).cast_signed();
        head.store(position.wrapping_add(1), Ordering::SeqCst);
        Some((token, result))
    }

    /// Fills everything before the buffers with numbers without order: indices, requests, completions.
    pub fn scribble(&self, seed: u64) {
        let mut number = seed | 1;
        for offset in (0..CONTROL_LEN).step_by(8) {
            // (D. E. Knuth's MMIX)
            number = number
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            self.word(offset)
                .store(number >> (number >> 58), Ordering::SeqCst);
        }
    }

    fn word(&self, offset: usize) -> &'static AtomicU64 {
        self.channel.ring_u64(offset)
    }
}
