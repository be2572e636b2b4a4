//! The heap, for iced-x86 alone: it builds its decoder tables (about 360 KiB) at first use and keeps them.

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::null_mut;

use spin::Mutex;

use super::frames;
use crate::address::PAGE_SIZE;

/// Frames taken from the pool at a time.
const CHUNK_FRAMES: u64 = 16;

/// A bump allocator over the frame pool: memory is never given back.
pub struct BumpHeap {
    free: Mutex<(usize, usize)>,
}

impl BumpHeap {
    /// Returns a heap without memory; it takes frames when asked.
    pub const fn new() -> Self {
        Self {
            free: Mutex::new((0, 0)),
        }
    }
}

impl Default for BumpHeap {
    fn default() -> Self {
        Self::new()
    }
}

// SAFETY: each block is cut from frames that this heap alone owns, aligned as asked, and never handed out twice.
unsafe impl GlobalAlloc for BumpHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let mut free = self.free.lock();
        let cut = |(next, end): (usize, usize)| {
            let base = next.checked_next_multiple_of(layout.align())?;
            let after = base.checked_add(layout.size())?;
            (after <= end).then_some((base, after))
        };
        if cut(*free).is_none() {
            let frames = CHUNK_FRAMES.max((layout.size() as u64).div_ceil(PAGE_SIZE));
            let Ok(base) = frames::allocate(frames) else {
                return null_mut();
            };
            *free = (base.0 as usize, (base.0 + frames * PAGE_SIZE) as usize);
        }
        match cut(*free) {
            Some((base, after)) => {
                free.0 = after;
                core::ptr::with_exposed_provenance_mut(base)
            }
            None => null_mut(),
        }
    }

    unsafe fn dealloc(&self, _block: *mut u8, _layout: Layout) {}
}
