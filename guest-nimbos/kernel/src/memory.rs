// SPDX-License-Identifier: MIT OR Apache-2.0
//! Page frames of the cell's main memory, owned.
#![expect(unsafe_code, reason = "makes slices of page frames")]

use nimbos::frames::FrameBitmap;
use nimbos::layout::{PAGE_LEN, page_align_down, page_align_up};
use spin::Mutex;

use crate::arch::image;
use crate::boot::{BOOT_AREA_LEN, Boot};

static FRAMES: Mutex<FrameBitmap> = Mutex::new(FrameBitmap::empty());

/// Some page frames in a row. Whoever has them is their only owner; dropped, they are free again.
///
/// A program uses its frames through mappings of its own while it runs. Kernel code does not run then, so the slices
/// below are alone while they exist.
#[derive(Debug)]
pub struct Pages {
    address: u64,
    count: usize,
}

/// Takes over the main memory but for the boot area, the kernel's image and the archive of programs.
pub fn init(boot: &Boot) {
    let main = boot.main_memory();
    let end = main.base + main.size;
    let (image_start, image_end) = (image::start(), image::end());
    assert!(
        main.base + BOOT_AREA_LEN <= image_start && image_end <= end,
        "the image lies outside the main memory"
    );
    let start = page_align_up(main.base).expect("memory ends below the last page");
    let mut frames = FRAMES.lock();
    frames.reset(start, page_align_down(end).saturating_sub(start));
    frames.reserve(main.base, main.base + BOOT_AREA_LEN);
    frames.reserve(image_start, image_end);
    if let Some(initrd) = boot.initrd() {
        frames.reserve(initrd.base, initrd.base.saturating_add(initrd.size));
    }
}

/// Returns the bytes that are free.
pub fn free_bytes() -> u64 {
    FRAMES.lock().free_count() as u64 * PAGE_LEN
}

/// Returns the archive of programs, if there is one and it lies in the cell's memory.
pub fn archive(boot: &Boot) -> Option<&'static [u8]> {
    let range = boot.initrd()?;
    let end = range.base.checked_add(range.size)?;
    let is_inside = boot
        .memory()
        .iter()
        .any(|memory| memory.base <= range.base && end <= memory.base + memory.size);
    if !is_inside || range.base == 0 {
        return None;
    }
    // SAFETY: the range is memory of this cell, identity-mapped, and `init` never hands its frames out; nobody writes
    // there.
    Some(unsafe { core::slice::from_raw_parts(pointer(range.base), range.size as usize) })
}

impl Pages {
    /// Takes `count` frames in a row, filled with zeroes.
    pub fn allocate(count: usize) -> Option<Self> {
        let address = FRAMES.lock().allocate(count)?;
        let mut pages = Self { address, count };
        pages.bytes_mut().fill(0);
        Some(pages)
    }

    /// Returns the address of the first frame.
    pub fn address(&self) -> u64 {
        self.address
    }

    /// Returns the content.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the frames are this object's alone, and mapped as ordinary memory at their addresses.
        unsafe { core::slice::from_raw_parts(pointer(self.address), self.len()) }
    }

    /// Returns the content, to be changed.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for `bytes`.
        unsafe { core::slice::from_raw_parts_mut(pointer(self.address), self.len()) }
    }

    /// Gives up ownership without freeing the frames, and returns the address of the first.
    pub fn leak(self) -> u64 {
        let address = self.address;
        core::mem::forget(self);
        address
    }

    /// Takes a frame that [`Self::leak`] gave up back.
    ///
    /// # Safety
    /// `address` comes from `leak` of a single frame, and this is done once.
    pub unsafe fn from_leaked(address: u64) -> Self {
        Self { address, count: 1 }
    }

    fn len(&self) -> usize {
        self.count * PAGE_LEN as usize
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        FRAMES.lock().free(self.address, self.count);
    }
}

fn pointer(address: u64) -> *mut u8 {
    core::ptr::with_exposed_provenance_mut(address as usize)
}
