// SPDX-License-Identifier: MIT OR Apache-2.0
//! A ring region for the model checker, whose atomics cannot lie in plain memory: a table from offset to atomic.
#![expect(unsafe_code, reason = "stands in for memory shared with another cell")]

use core::ptr::NonNull;
use std::collections::BTreeMap;

use super::{AtomicU8, AtomicU32, AtomicU64};
use crate::geometry::{self, Geometry};
use crate::{Mapping, SLOTS};

/// The words of a ring region: indices, the session's lines, slots, and the first word of each buffer.
#[derive(Debug)]
pub struct ModelMemory {
    geometry: Geometry,
    indices: BTreeMap<usize, AtomicU32>,
    words: BTreeMap<usize, AtomicU64>,
}

impl ModelMemory {
    /// Makes the zeroed region of the smallest channel.
    pub fn smallest() -> Self {
        let geometry = Geometry::for_channel(Geometry::MIN_CHANNEL_SIZE)
            .expect("the smallest channel holds a ring");
        let indices = [
            geometry::REQUEST_TAIL,
            geometry::REQUEST_HEAD,
            geometry::COMPLETION_TAIL,
            geometry::COMPLETION_HEAD,
            geometry::CLIENT_LINE,
            geometry::CLIENT_LINE + 4,
            geometry::SERVER_LINE,
            geometry::SERVER_LINE + 4,
        ];
        let queue = |start, slot_len| (start..start + SLOTS * slot_len).step_by(8);
        let words = queue(geometry::REQUESTS, geometry::REQUEST_LEN)
            .chain(queue(geometry::COMPLETIONS, geometry::COMPLETION_LEN))
            .chain((0..SLOTS as u32).map(|number| geometry.buffer_offset(number)));
        Self {
            geometry,
            indices: indices.map(|offset| (offset, AtomicU32::new(0))).into(),
            words: words.map(|offset| (offset, AtomicU64::new(0))).collect(),
        }
    }

    /// Maps the region for one side.
    ///
    /// # Safety
    /// The region outlives the mapping and everything made from it.
    pub unsafe fn map(&self) -> Mapping {
        // SAFETY: under the model checker a mapping's base is the address of a `ModelMemory`; the caller vouches for
        // its life.
        unsafe { Mapping::new(NonNull::from(self).cast(), self.geometry) }
    }
}

/// Where a ring region lies: a [`ModelMemory`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory(NonNull<ModelMemory>);

impl Memory {
    /// Names the region whose [`ModelMemory`] lies at `base`.
    ///
    /// # Safety
    /// As for [`ModelMemory::map`].
    pub(crate) unsafe fn new(base: NonNull<u8>) -> Self {
        Self(base.cast())
    }

    /// Never returns: no call under the model checker ends within a word.
    ///
    /// # Safety
    /// None is needed; the signature is that of the real memory.
    pub(crate) unsafe fn u8_at(&self, offset: usize) -> &AtomicU8 {
        panic!("the model has no single byte at {offset:#x}");
    }

    /// Returns the index at `offset`.
    ///
    /// # Safety
    /// None is needed; the signature is that of the real memory.
    pub(crate) unsafe fn u32_at(&self, offset: usize) -> &AtomicU32 {
        &self.model().indices[&offset]
    }

    /// Returns the word at `offset`.
    ///
    /// # Safety
    /// None is needed; the signature is that of the real memory.
    pub(crate) unsafe fn u64_at(&self, offset: usize) -> &AtomicU64 {
        &self.model().words[&offset]
    }

    fn model(&self) -> &ModelMemory {
        // SAFETY: `map`'s caller keeps the region alive; it is only ever borrowed shared.
        unsafe { self.0.as_ref() }
    }
}
