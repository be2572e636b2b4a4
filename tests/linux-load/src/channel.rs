// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the two sides of the load tell each other in the channel's memory; `tests/guests` has the other side.
#![expect(unsafe_code, reason = "refers to memory that another cell writes too")]

use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Result, ensure};

use crate::PATIENCE;
use crate::device::Device;

/// User vectors.
pub const VECTORS: usize = 64;
/// The other side posts it to a slot that was given up.
pub const STALE_VECTOR: usize = VECTORS - 1;

/// In the mapping, which begins where the ring would: words of the client and the server, counters of both.
const CLIENT_WORDS: usize = 0;
const SERVER_WORDS: usize = 0x1000;
const CLIENT_COUNTERS: usize = 0x2000;
const SERVER_COUNTERS: usize = 0x3000;
const LEN: usize = 0x4000;
/// Words are on cache lines of their own.
const ANSWER: usize = 64;
const PHASE: usize = 128;
/// In a side's counters, those of what was delivered begin here.
const DELIVERED: usize = 256;

/// What this side does. Its number is in the low byte of the word, above it counts what was announced before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It has no slot. The other side posts [`STALE_VECTOR`] to the last one and then sends nothing.
    Closed,
    /// The other side may send to this slot.
    Open {
        /// The slot.
        slot: u32,
    },
    /// The other side is to send no more.
    Stopping,
}

/// The mapped channel; this side is the server.
pub struct Channel(NonNull<u8>);

impl Channel {
    /// Maps it, for good.
    pub fn map(device: &Device) -> Result<Self> {
        // SAFETY: a new mapping at an address of the kernel's choice.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                LEN,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                device.file().as_raw_fd(),
                0,
            )
        };
        ensure!(
            base != libc::MAP_FAILED,
            "mmap: {}",
            std::io::Error::last_os_error()
        );
        let base = NonNull::new(base.cast());
        base.map(Self)
            .ok_or_else(|| anyhow::anyhow!("mapped at address 0"))
    }

    /// Tells the other side and waits until it has heard.
    pub fn announce(&self, phase: Phase) -> Result<()> {
        let word = self.word(SERVER_WORDS + PHASE);
        let number = match phase {
            Phase::Closed => 0,
            Phase::Open { slot } => 1 + u64::from(slot),
            Phase::Stopping => 0x80,
        };
        let value = ((word.load(Ordering::SeqCst) >> 8) + 1) << 8 | number;
        word.store(value, Ordering::SeqCst);
        let since = Instant::now();
        while self.word(CLIENT_WORDS + ANSWER).load(Ordering::SeqCst) != value {
            ensure!(since.elapsed() < PATIENCE, "no answer to {phase:?}");
            std::hint::spin_loop();
        }
        Ok(())
    }

    /// Begins where a process before was killed, maybe just before a send that it had counted.
    pub fn take_over(&self) {
        for vector in 0..STALE_VECTOR {
            let counted = self.counter(CLIENT_COUNTERS, DELIVERED + vector);
            self.counter(SERVER_COUNTERS, vector)
                .store(counted.load(Ordering::SeqCst), Ordering::SeqCst);
        }
        self.adopt_delivered();
    }

    /// Waits until all is counted, while nobody sends.
    pub fn agree(&self) -> Result<()> {
        let since = Instant::now();
        while !self.is_balanced() {
            ensure!(
                since.elapsed() < PATIENCE,
                "delivery-lost: {}",
                self.describe()
            );
            std::hint::spin_loop();
        }
        Ok(())
    }

    fn adopt_delivered(&self) {
        for vector in 0..STALE_VECTOR {
            let sent = self.counter(CLIENT_COUNTERS, vector).load(Ordering::SeqCst);
            self.own_delivered()[vector].store(sent, Ordering::SeqCst);
        }
    }

    /// Tells whether the other side has counted what was sent with this vector; fails if it has counted more.
    pub fn may_send(&self, vector: usize) -> Result<bool> {
        let sent = self.counter(SERVER_COUNTERS, vector).load(Ordering::SeqCst);
        let counted = self
            .counter(CLIENT_COUNTERS, DELIVERED + vector)
            .load(Ordering::SeqCst);
        ensure!(counted <= sent, "too-many: vector {vector}");
        Ok(counted == sent)
    }

    /// Counts a vector that is about to be sent.
    pub fn note_sent(&self, vector: usize) {
        self.counter(SERVER_COUNTERS, vector)
            .fetch_add(1, Ordering::SeqCst);
    }

    /// Returns the counters of what was delivered here, by vector.
    pub fn own_delivered(&self) -> &'static [AtomicU64] {
        // SAFETY: in the mapping, which stays for good; atomics only.
        unsafe { std::slice::from_raw_parts(self.counter(SERVER_COUNTERS, DELIVERED), VECTORS) }
    }

    /// Returns how many vectors were delivered here.
    pub fn delivered(&self) -> u64 {
        (0..VECTORS).map(|vector| self.count(vector)).sum()
    }

    /// Returns how many of one vector were delivered here.
    pub fn count(&self, vector: usize) -> u64 {
        self.own_delivered()[vector].load(Ordering::SeqCst)
    }

    /// Tells whether both sides have counted all that was sent.
    pub fn is_balanced(&self) -> bool {
        self.missing() == [0, 0]
    }

    /// Tells whether the other side has answered all that was sent, and the answers have come.
    pub fn is_answered(&self) -> bool {
        (0..STALE_VECTOR).all(|vector| {
            let sent = self.counter(SERVER_COUNTERS, vector).load(Ordering::SeqCst);
            sent == self.count(vector)
        })
    }

    /// Says what is missing.
    pub fn describe(&self) -> String {
        let [here, there] = self.missing();
        format!("here={here} there={there}")
    }

    /// Returns how many posts have not been counted here and on the other side.
    fn missing(&self) -> [i64; 2] {
        let sum = |side, first: usize| -> i64 {
            (0..STALE_VECTOR)
                .map(|vector| self.counter(side, first + vector).load(Ordering::SeqCst) as i64)
                .sum()
        };
        [
            sum(CLIENT_COUNTERS, 0) - sum(SERVER_COUNTERS, DELIVERED),
            sum(SERVER_COUNTERS, 0) - sum(CLIENT_COUNTERS, DELIVERED),
        ]
    }

    fn counter(&self, side: usize, index: usize) -> &'static AtomicU64 {
        self.word(side + 8 * index)
    }

    fn word(&self, offset: usize) -> &'static AtomicU64 {
        // SAFETY: in the mapping, which stays for good; aligned; atomics only.
        unsafe { self.0.add(offset).cast::<AtomicU64>().as_ref() }
    }
}
