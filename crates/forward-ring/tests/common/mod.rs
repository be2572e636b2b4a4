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
}

impl SharedMemory {
    pub fn new(geometry: Geometry) -> Self {
        let page_count = geometry.region_len() / 4096;
        let pages = (0..page_count + 2)
            .map(|i| {
                Page::filled(if i == 0 || i == page_count + 1 {
                    GUARD
                } else {
                    0
                })
            })
            .collect();
        Self { pages, geometry }
    }

    /// The smallest ring: one page for each buffer.
    pub fn smallest() -> Self {
        Self::new(Geometry::for_channel(Geometry::MIN_CHANNEL_SIZE).unwrap())
    }

    pub fn client(&self) -> Client {
        Client::new(self.mapping())
    }

    pub fn server(&self) -> Server {
        Server::new(self.mapping())
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
        let pages: *const Page = self.pages.as_ptr();
        NonNull::new(pages.wrapping_add(1).cast_mut().cast()).unwrap()
    }

    fn mapping(&self) -> Mapping {
        // SAFETY: the pages are aligned, made of atomics, and outlive the test's sides; `smallest` and `new` made them
        // as many as the geometry says.
        unsafe { Mapping::new(self.base(), self.geometry) }
    }
}
