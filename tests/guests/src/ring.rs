// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ring as plain words, for a side that breaks its rules. (docs/interfaces.md, "Ring")

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::arch::cpu;
use crate::boot::Boot;
use crate::channel::Channel;

const REQUEST_TAIL: usize = 0x00;
const REQUEST_HEAD: usize = 0x40;
const COMPLETION_TAIL: usize = 0x80;
const COMPLETION_HEAD: usize = 0xc0;
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

    /// Waits for the next request as the server, takes it, and returns its token and opcode; `None` if there is none for
    /// long.
    pub fn next_request(&self, boot: &Boot) -> Option<(u32, u32)> {
        let head = self.index(Index::RequestHead);
        let tail = self.index(Index::RequestTail);
        let position = head.load(Ordering::SeqCst);
        let has_come = || tail.load(Ordering::SeqCst) != position;
        if !cpu::wait_until(boot.ticks(PATIENCE_MS), has_come) {
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
    pub fn submit(&self, token: u32, opcode: u32, arguments: [u64; 4]) {
        let tail = self.index(Index::RequestTail);
        let position = tail.load(Ordering::SeqCst);
        let slot = REQUESTS + (position % SLOTS) as usize * 64;
        let first = u64::from(opcode) << 32 | u64::from(token);
        for (number, value) in [first].into_iter().chain(arguments).enumerate() {
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
