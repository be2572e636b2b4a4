// SPDX-License-Identifier: MIT OR Apache-2.0
//! The only place that touches shared memory.
//!
//! Both sides and whoever else maps the channel write there at any time. Every access is therefore an atomic one of
//! a word or a byte (relaxed but for the indices): what comes out may be nonsense, but it is one value, copied once.
#![expect(unsafe_code, reason = "accesses memory that another cell writes")]

use core::ptr::NonNull;

use crate::error::OutOfBounds;
use crate::geometry::{self, Geometry};
use crate::sync::{AtomicU8, AtomicU32, AtomicU64, Memory, Ordering, fence};
use crate::{Message, SLOTS, Token};

/// One of the four published indices.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Index {
    RequestTail = geometry::REQUEST_TAIL as isize,
    RequestHead = geometry::REQUEST_HEAD as isize,
    CompletionTail = geometry::COMPLETION_TAIL as isize,
    CompletionHead = geometry::COMPLETION_HEAD as isize,
}

/// A word of the session's two lines.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SessionWord {
    ClientGeneration = geometry::CLIENT_LINE as isize,
    Greeted = geometry::CLIENT_LINE as isize + 4,
    ServerGeneration = geometry::SERVER_LINE as isize,
    Accepted = geometry::SERVER_LINE as isize + 4,
}

/// A request as it lies in its slot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestSlot {
    pub(crate) token: u32,
    pub(crate) message: Message,
}

/// A completion as it lies in its slot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CompletionSlot {
    pub(crate) token: u32,
    pub(crate) result: i64,
}

/// A ring's region, mapped.
#[derive(Debug)]
pub struct Mapping {
    memory: Memory,
    geometry: Geometry,
}

// SAFETY: a mapping is an address range that the whole program may access, by atomics only; nothing in it belongs
// to a thread.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Takes over the ring region that starts at `base` (the channel's base plus [`Geometry::ring_offset`]).
    ///
    /// # Safety
    /// `base` is aligned to 64 bytes. The `geometry.region_len()` bytes there are ordinary write-back memory, readable
    /// and writable as long as the mapping and everything made from it exist. This program accesses them by way of a
    /// `Mapping` only. (Other cells may do with them what they like.)
    pub unsafe fn new(base: NonNull<u8>, geometry: Geometry) -> Self {
        // SAFETY: the caller vouches for the region; the offsets used here are in it.
        let memory = unsafe { Memory::new(base) };
        Self { memory, geometry }
    }

    /// Returns the layout.
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    #[inline]
    pub(crate) fn observe(&self, index: Index) -> u32 {
        self.index(index).load(Ordering::Acquire)
    }

    /// Publishes an index: tells the other side, and lets nothing that comes after be done before.
    ///
    /// The two sides look at each other's index after they have published their own. The fences see to it that not both
    /// miss the other's: a producer that finds its item not taken yet knows that the consumer will look again.
    #[inline]
    pub(crate) fn publish(&self, index: Index, value: u32) {
        self.index(index).store(value, Ordering::Release);
        fence(Ordering::SeqCst);
    }

    #[inline]
    pub(crate) fn read_request(&self, position: u32) -> RequestSlot {
        let slot = slot_offset(geometry::REQUESTS, geometry::REQUEST_LEN, position);
        let word = |i: usize| self.word(slot + 8 * i).load(Ordering::Relaxed);
        let first = word(0);
        let second = word(1);
        RequestSlot {
            token: first as u32,
            message: Message {
                opcode: (first >> 32) as u32,
                process: second as u32,
                reply_slot: (second >> 32) as u32,
                args: core::array::from_fn(|i| word(2 + i)),
            },
        }
    }

    #[inline]
    pub(crate) fn write_request(&self, position: u32, request: &RequestSlot) {
        let slot = slot_offset(geometry::REQUESTS, geometry::REQUEST_LEN, position);
        let RequestSlot { token, message } = request;
        let first = u64::from(message.opcode) << 32 | u64::from(*token);
        let second = u64::from(message.reply_slot) << 32 | u64::from(message.process);
        let [a, b, c, d, e, f] = message.args;
        // An array, so that the compiler unrolls the loop: this is on the way of every call.
        for (i, value) in [first, second, a, b, c, d, e, f].into_iter().enumerate() {
            self.word(slot + 8 * i).store(value, Ordering::Relaxed);
        }
    }

    #[inline]
    pub(crate) fn read_completion(&self, position: u32) -> CompletionSlot {
        let slot = slot_offset(geometry::COMPLETIONS, geometry::COMPLETION_LEN, position);
        CompletionSlot {
            token: self.word(slot).load(Ordering::Relaxed) as u32,
            result: self.word(slot + 8).load(Ordering::Relaxed) as i64,
        }
    }

    #[inline]
    pub(crate) fn write_completion(&self, position: u32, completion: &CompletionSlot) {
        let slot = slot_offset(geometry::COMPLETIONS, geometry::COMPLETION_LEN, position);
        self.word(slot)
            .store(u64::from(completion.token), Ordering::Relaxed);
        self.word(slot + 8)
            .store(completion.result as u64, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn buffer(&self, token: &Token) -> Buffer<'_> {
        Buffer {
            memory: &self.memory,
            start: self.geometry.buffer_offset(token.number()),
            len: self.geometry.buffer_len(),
        }
    }

    pub(crate) fn observe_session(&self, word: SessionWord) -> u32 {
        self.session(word).load(Ordering::Acquire)
    }

    /// Publishes a word of the session. Whoever sees it sees everything that this side published before.
    pub(crate) fn publish_session(&self, word: SessionWord, value: u32) {
        self.session(word).store(value, Ordering::Release);
    }

    fn session(&self, word: SessionWord) -> &AtomicU32 {
        // SAFETY: the four offsets are aligned and in the control page, which every geometry has.
        unsafe { self.memory.u32_at(word as usize) }
    }

    #[inline]
    fn index(&self, index: Index) -> &AtomicU32 {
        // SAFETY: the four offsets are aligned and in the control page, which every geometry has.
        unsafe { self.memory.u32_at(index as usize) }
    }

    /// Returns a word of a slot; `offset` is a multiple of 8 in the control page.
    #[inline]
    fn word(&self, offset: usize) -> &AtomicU64 {
        debug_assert!(offset.is_multiple_of(8) && offset < geometry::BUFFERS);
        // SAFETY: `slot_offset` and the fixed fields of a slot keep the offset aligned and in the control page, which
        // every geometry has.
        unsafe { self.memory.u64_at(offset) }
    }
}

/// Returns the offset of the slot for a free-running index.
#[inline]
fn slot_offset(queue: usize, slot_len: usize, position: u32) -> usize {
    queue + (position as usize % SLOTS) * slot_len
}

/// The data buffer of one call.
///
/// Reading twice may give two different values if the other side breaks the rules: copy once, then check.
#[derive(Clone, Copy, Debug)]
pub struct Buffer<'a> {
    memory: &'a Memory,
    /// Offset in the region, a multiple of 4 KiB: `Geometry` places every buffer inside.
    start: usize,
    len: usize,
}

impl Buffer<'_> {
    /// Returns the length in bytes.
    #[expect(clippy::len_without_is_empty, reason = "no buffer is empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns where the buffer lies, for handing it to a kernel as it is.
    #[cfg(not(loom))]
    pub fn as_ptr(&self) -> *mut u8 {
        self.memory.address(self.start)
    }

    /// Copies out the bytes at `offset`.
    pub fn read(&self, offset: usize, into: &mut [u8]) -> Result<(), OutOfBounds> {
        self.check(offset, into.len())?;
        let head = bytes_to_word(offset).min(into.len());
        let (first, rest) = into.split_at_mut(head);
        let (words, last) = rest.as_chunks_mut::<8>();
        for (i, byte) in first.iter_mut().enumerate() {
            *byte = self.byte(offset + i).load(Ordering::Relaxed);
        }
        for (i, word) in words.iter_mut().enumerate() {
            *word = self
                .word(offset + head + 8 * i)
                .load(Ordering::Relaxed)
                .to_ne_bytes();
        }
        let tail = offset + head + 8 * words.len();
        for (i, byte) in last.iter_mut().enumerate() {
            *byte = self.byte(tail + i).load(Ordering::Relaxed);
        }
        Ok(())
    }

    /// Copies `from` to the bytes at `offset`.
    pub fn write(&self, offset: usize, from: &[u8]) -> Result<(), OutOfBounds> {
        self.check(offset, from.len())?;
        let head = bytes_to_word(offset).min(from.len());
        let (first, rest) = from.split_at(head);
        let (words, last) = rest.as_chunks::<8>();
        for (i, byte) in first.iter().enumerate() {
            self.byte(offset + i).store(*byte, Ordering::Relaxed);
        }
        for (i, word) in words.iter().enumerate() {
            self.word(offset + head + 8 * i)
                .store(u64::from_ne_bytes(*word), Ordering::Relaxed);
        }
        let tail = offset + head + 8 * words.len();
        for (i, byte) in last.iter().enumerate() {
            self.byte(tail + i).store(*byte, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Sees to it that the `len` bytes at `offset` lie in the buffer.
    fn check(&self, offset: usize, len: usize) -> Result<(), OutOfBounds> {
        match offset.checked_add(len) {
            Some(end) if end <= self.len => Ok(()),
            _ => Err(OutOfBounds { offset, len }),
        }
    }

    /// Returns a byte; `offset` is in the buffer.
    fn byte(&self, offset: usize) -> &AtomicU8 {
        debug_assert!(offset < self.len);
        // SAFETY: `check` has seen that the offset is in the buffer, which is in the region.
        unsafe { self.memory.u8_at(self.start + offset) }
    }

    /// Returns eight bytes; `offset` is a multiple of 8 in the buffer, with seven more bytes behind it.
    fn word(&self, offset: usize) -> &AtomicU64 {
        debug_assert!(offset.is_multiple_of(8) && offset + 8 <= self.len);
        // SAFETY: `check` has seen that the bytes are in the buffer, which is in the region and starts at a multiple of
        // 4 KiB.
        unsafe { self.memory.u64_at(self.start + offset) }
    }
}

/// Returns the number of bytes from `offset` to the next word.
fn bytes_to_word(offset: usize) -> usize {
    offset.wrapping_neg() % 8
}
