// SPDX-License-Identifier: MIT OR Apache-2.0
//! The cell's end of its first channel: state words, UPID slots, and a few words of these tests' own where the
//! ring would be.
#![expect(unsafe_code, reason = "refers to memory that another cell writes too")]

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use core::ptr::NonNull;
use forward_ring::{Geometry, Mapping};
use hv_abi::channel::{
    CLIENT_STATE_OFFSET, CLIENT_UPIDS_OFFSET, RING_OFFSET, SERVER_STATE_OFFSET,
    SERVER_UPIDS_OFFSET, STATE_ABSENT, STATE_READY, UPID_SLOT_LEN,
};
use hv_abi::{ChannelInfo, ChannelRole, Doorbell};
use uintr::Upid;

use crate::arch::uintr::RawUpid;
use crate::boot::Boot;

/// The words of the client's side begin here, those of the server's a page later.
const CLIENT_WORDS: usize = RING_OFFSET;
const SERVER_WORDS: usize = RING_OFFSET + 0x1000;
/// A page of counters of each side.
const CLIENT_COUNTERS: usize = RING_OFFSET + 0x2000;
const SERVER_COUNTERS: usize = RING_OFFSET + 0x3000;
const COUNTERS: usize = 512;
/// A ring that keeps the protocol, behind all that.
const RING: usize = RING_OFFSET + 0x4000;

/// Which word of a side.
#[derive(Clone, Copy, Debug)]
pub enum Word {
    /// What a cell asks: the number of its question.
    Question = 0,
    /// The number of the last question that this side has answered.
    Answer = 1,
    /// How far a test is.
    Phase = 2,
}

/// Which side of the channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// This cell's.
    Own,
    /// The other cell's.
    Peer,
}

/// The cell's end of a channel.
#[derive(Clone, Copy, Debug)]
pub struct Channel {
    base: usize,
    role: ChannelRole,
    is_filtered: bool,
}

impl Channel {
    /// Opens the cell's first channel.
    pub fn first(boot: &Boot) -> Option<Self> {
        Self::number(boot, 0)
    }

    /// Opens the cell's channel with this number, counted from 0.
    pub fn number(boot: &Boot, number: usize) -> Option<Self> {
        let info: &ChannelInfo = boot.info.channels().get(number)?;
        Some(Self {
            base: usize::try_from(info.base).ok()?,
            role: info.role()?,
            is_filtered: info.doorbell == Doorbell::Filtered as u32,
        })
    }

    /// Tells which end this is.
    pub fn is_client(&self) -> bool {
        self.role == ChannelRole::Client
    }

    /// Tells whether the hypervisor checks notifications.
    pub fn is_filtered(&self) -> bool {
        self.is_filtered
    }

    /// Returns a word of a side.
    pub fn word(&self, side: Side, word: Word) -> &'static AtomicU64 {
        let offset = self.pick(side, CLIENT_WORDS, SERVER_WORDS) + 64 * word as usize;
        // SAFETY: inside the channel, which lasts as long as the cell; aligned; atomics only.
        unsafe { &*self.at::<AtomicU64>(offset) }
    }

    /// Returns the counters of a side, which only that side changes.
    pub fn counters(&self, side: Side) -> &'static [AtomicU64; COUNTERS] {
        let offset = self.pick(side, CLIENT_COUNTERS, SERVER_COUNTERS);
        // SAFETY: a page of the channel; as for the words.
        unsafe { &*self.at::<[AtomicU64; COUNTERS]>(offset) }
    }

    /// Returns a mapping of a small ring, which only that of [`Self::mapped_ring`] accesses.
    pub fn mapped_ring(&self) -> Option<Mapping> {
        let geometry = Geometry::for_channel(Geometry::MIN_CHANNEL_SIZE).ok()?;
        let base = NonNull::new(self.at::<u8>(RING).cast_mut())?;
        // SAFETY: the channel has 2 MiB at least, is mapped write-back as long as the cell lives, and nothing else of these
        // tests lies there.
        Some(unsafe { Mapping::new(base, geometry) })
    }

    /// Returns a UPID of a side.
    pub fn upid(&self, side: Side, slot: usize) -> &'static Upid {
        let slots = self.pick(side, CLIENT_UPIDS_OFFSET, SERVER_UPIDS_OFFSET);
        // SAFETY: a slot of the channel, aligned to 64 bytes, which this cell accesses as a UPID only.
        unsafe { Upid::from_ptr(self.at::<Upid>(slots + slot * UPID_SLOT_LEN).cast_mut()) }
    }

    /// Returns the words of a UPID of a side, for a cell that uses it in no other way.
    pub fn raw_upid(&self, side: Side, slot: usize) -> &'static RawUpid {
        let slots = self.pick(side, CLIENT_UPIDS_OFFSET, SERVER_UPIDS_OFFSET);
        // SAFETY: a slot of the channel, aligned to 64 bytes; atomics only.
        unsafe { &*self.at::<RawUpid>(slots + slot * UPID_SLOT_LEN) }
    }

    /// Returns a 32-bit word of the ring.
    pub fn ring_u32(&self, offset: usize) -> &'static AtomicU32 {
        // SAFETY: the ring begins aligned, is longer than a page, and lasts; atomics only.
        unsafe { &*self.at::<AtomicU32>(RING_OFFSET + (offset & 0xffc)) }
    }

    /// Returns a 64-bit word of the ring.
    pub fn ring_u64(&self, offset: usize) -> &'static AtomicU64 {
        // SAFETY: as for `ring_u32`.
        unsafe { &*self.at::<AtomicU64>(RING_OFFSET + (offset & 0xff8)) }
    }

    /// Says whether this side is ready.
    pub fn set_ready(&self, ready: bool) {
        let state = if ready { STATE_READY } else { STATE_ABSENT };
        self.state(Side::Own).store(state, Ordering::SeqCst);
    }

    /// Tells whether the other side is ready.
    pub fn is_peer_ready(&self) -> bool {
        self.state(Side::Peer).load(Ordering::SeqCst) == STATE_READY
    }

    /// Waits until the other side is ready.
    pub fn await_peer(&self) {
        while !self.is_peer_ready() {
            core::hint::spin_loop();
        }
    }

    /// Asks the other side `count` times and waits for each answer.
    pub fn ask(&self, count: u64) {
        let question = self.word(Side::Own, Word::Question);
        let answer = self.word(Side::Peer, Word::Answer);
        for _ in 0..count {
            let number = question.fetch_add(1, Ordering::SeqCst) + 1;
            while answer.load(Ordering::SeqCst) != number {
                core::hint::spin_loop();
            }
        }
    }

    fn state(&self, side: Side) -> &'static AtomicU32 {
        let offset = self.pick(side, CLIENT_STATE_OFFSET, SERVER_STATE_OFFSET);
        // SAFETY: as for the other words.
        unsafe { &*self.at::<AtomicU32>(offset) }
    }

    /// Returns the client's or the server's of two offsets.
    fn pick(&self, side: Side, client: usize, server: usize) -> usize {
        if self.is_client() == (side == Side::Own) {
            client
        } else {
            server
        }
    }

    fn at<T>(&self, offset: usize) -> *const T {
        core::ptr::with_exposed_provenance(self.base + offset)
    }
}
