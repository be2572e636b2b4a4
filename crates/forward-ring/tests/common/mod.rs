// SPDX-License-Identifier: MIT OR Apache-2.0
//! A channel's ring region in the test's own memory, with guard pages that must stay as they are.
#![expect(unsafe_code, reason = "stands in for memory shared with another cell")]
#![allow(dead_code, reason = "each test uses its part")]

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use forward_ring::{Client, Geometry, Mapping, Server};

pub const REQUEST_TAIL: usize = 0x00;
pub const REQUEST_HEAD: usize = 0x40;
pub const COMPLETION_TAIL: usize = 0x80;
pub const COMPLETION_HEAD: usize = 0xc0;
pub const CLIENT_GENERATION: usize = 0x100;
pub const GREETED: usize = 0x104;
pub const SERVER_GENERATION: usize = 0x140;
pub const ACCEPTED: usize = 0x144;
pub const COMPLETIONS: usize = 0x400;
pub const REQUESTS: usize = 0x800;

const GUARD: u64 = 0x6775_6172_6421_2121;

#[repr(C, align(4096))]
struct Page([AtomicU64; 512]);

impl Page {
    fn filled(value: u64) -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(value)))
    }
}

pub struct SharedMemory {
    pages: Box<[Page]>,
    geometry: Geometry,
    /// Where the rings lie in the pages, after the first guard.
    ring_offsets: Vec<usize>,
}

impl SharedMemory {
    /// The first ring alone.
    pub fn new(geometry: Geometry) -> Self {
        Self::with_rings(geometry, geometry.region_len(), vec![0])
    }

    /// A whole channel.
    pub fn channel(size: usize) -> Self {
        let geometry = Geometry::for_channel(size as u64).unwrap();
        let offsets = (0..geometry.ring_count()).map(|ring| geometry.ring_offset(ring).unwrap());
        Self::with_rings(geometry, size, offsets.collect())
    }

    fn with_rings(geometry: Geometry, size: usize, ring_offsets: Vec<usize>) -> Self {
        let page_count = size / 4096;
        let is_guard = |page| page == 0 || page == page_count + 1;
        let pages = (0..page_count + 2)
            .map(|page| Page::filled(if is_guard(page) { GUARD } else { 0 }))
            .collect();
        Self {
            pages,
            geometry,
            ring_offsets,
        }
    }

    /// The smallest ring: one page for each buffer.
    pub fn smallest() -> Self {
        Self::new(Geometry::for_channel(Geometry::MIN_CHANNEL_SIZE).unwrap())
    }

    pub fn client(&self) -> Client {
        Client::new(self.mapping(0))
    }

    pub fn server(&self) -> Server {
        Server::new(self.mapping(0))
    }

    /// What the other side sees of a control word.
    pub fn word(&self, offset: usize) -> &AtomicU32 {
        assert!(offset < 0x1000);
        // SAFETY: aligned by the callers' constants, inside the first page of the region, atomics only.
        unsafe { AtomicU32::from_ptr(self.base().as_ptr().add(offset).cast()) }
    }

    pub fn scribble(&self, offset: usize, value: u32) {
        self.word(offset).store(value, Ordering::SeqCst);
    }

    /// What the hypervisor does before it starts a cell.
    pub fn zero(&self) {
        for offset in (0..0x1000).step_by(4) {
            self.scribble(offset, 0);
        }
    }

    pub fn assert_guards_are_intact(&self) {
        for page in [&self.pages[0], &self.pages[self.pages.len() - 1]] {
            assert!(
                page.0
                    .iter()
                    .all(|word| word.load(Ordering::Relaxed) == GUARD)
            );
        }
    }

    fn base(&self) -> NonNull<u8> {
        self.ring_base(0)
    }

    fn ring_base(&self, ring: usize) -> NonNull<u8> {
        let pages: *const Page = self.pages.as_ptr();
        let first: *mut u8 = pages.wrapping_add(1).cast_mut().cast();
        NonNull::new(first.wrapping_add(self.ring_offsets[ring])).unwrap()
    }

    /// Maps a ring.
    pub fn mapping(&self, ring: usize) -> Mapping {
        // SAFETY: the pages are aligned, made of atomics, and outlive the test's sides; there are as many behind the ring's
        // base as the geometry says.
        unsafe { Mapping::new(self.ring_base(ring), self.geometry) }
    }
}
