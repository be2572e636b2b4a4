// SPDX-License-Identifier: MIT OR Apache-2.0
//! Page frames of the cell's main memory, owned.
#![expect(unsafe_code, reason = "makes slices of page frames")]

use core::marker::PhantomData;
use core::num::NonZeroU64;
use core::ops::{Deref, DerefMut};

use nimbos::frames::FrameBitmap;
use nimbos::layout::{PAGE_LEN, page_align_down, page_align_up};
use spin::Mutex;

use crate::arch::{copy, image};
use crate::boot::{BOOT_AREA_LEN, Boot};

static FRAMES: Mutex<FrameBitmap> = Mutex::new(FrameBitmap::empty());

/// Some page frames in a row. Whoever has them is their only owner; dropped, they are free again.
///
/// A program uses its frames through mappings of its own, on any CPU, at any time. So the slices below are for frames that are
/// not mapped in an address space that a CPU may have active; [`Self::pointer`] is for the others.
#[derive(Debug)]
pub struct Pages {
    address: NonZeroU64,
    count: usize,
}

/// An object in pages of its own.
#[derive(Debug)]
pub struct PageBox<T> {
    pages: Pages,
    object: PhantomData<T>,
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

/// Returns the page frames that are free.
pub fn free_frames() -> usize {
    FRAMES.lock().free_count()
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
        let pages = Self::uninitialized(count)?;
        let words = pages.len() / size_of::<u64>();
        // SAFETY: the frames are this object's, and nothing refers to them yet.
        unsafe { copy::clear(pages.pointer(), words) };
        Some(pages)
    }

    /// Returns new frames with the same content, as far as that holds still.
    pub fn duplicate(&self) -> Option<Self> {
        let pages = Self::uninitialized(self.count)?;
        // SAFETY: both are frames of objects of their own, of the same number; nothing refers to the new ones yet, and whoever
        // has a slice of the old ones has borrowed this object.
        unsafe { copy::copy(pages.pointer(), self.pointer(), self.len()) };
        Some(pages)
    }

    fn uninitialized(count: usize) -> Option<Self> {
        let address = NonZeroU64::new(FRAMES.lock().allocate(count)?)?;
        Some(Self { address, count })
    }

    /// Returns the address of the first frame.
    pub fn address(&self) -> u64 {
        self.address.get()
    }

    /// Returns where the content is, for access by [`crate::arch::copy`].
    pub fn pointer(&self) -> *mut u8 {
        pointer(self.address())
    }

    /// Returns the content.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the frames are this object's alone, and mapped as ordinary memory at their addresses.
        unsafe { core::slice::from_raw_parts(self.pointer(), self.len()) }
    }

    /// Returns the content, to be changed.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for `bytes`.
        unsafe { core::slice::from_raw_parts_mut(self.pointer(), self.len()) }
    }

    /// Gives up ownership without freeing the frames, and returns the address of the first.
    pub fn leak(self) -> u64 {
        let address = self.address();
        core::mem::forget(self);
        address
    }

    /// Takes a frame that [`Self::leak`] gave up back.
    ///
    /// # Safety
    /// `address` comes from `leak` of a single frame, and this is done once.
    pub unsafe fn from_leaked(address: u64) -> Self {
        let address = NonZeroU64::new(address).expect("no frame is at address 0");
        Self { address, count: 1 }
    }

    /// Returns the length in bytes.
    pub fn len(&self) -> usize {
        self.count * PAGE_LEN as usize
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        FRAMES.lock().free(self.address(), self.count);
    }
}

impl<T> PageBox<T> {
    const IS_ALIGNED: () = assert!(align_of::<T>() <= PAGE_LEN as usize);

    /// Puts an object into pages of its own, or returns `None` if there is no memory.
    pub fn new(object: T) -> Option<Self> {
        () = Self::IS_ALIGNED;
        let pages = Pages::allocate(size_of::<T>().div_ceil(PAGE_LEN as usize).max(1))?;
        // SAFETY: the pages are large enough, aligned and this box's alone.
        unsafe { pages.pointer().cast::<T>().write(object) };
        Some(Self {
            pages,
            object: PhantomData,
        })
    }
}

impl<T> Deref for PageBox<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: `new` put the object there, and it is borrowed with the box.
        unsafe { &*self.pages.pointer().cast::<T>() }
    }
}

impl<T> DerefMut for PageBox<T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`.
        unsafe { &mut *self.pages.pointer().cast::<T>() }
    }
}

impl<T> Drop for PageBox<T> {
    fn drop(&mut self) {
        // SAFETY: `new` put the object there; nobody uses it after the box.
        unsafe { self.pages.pointer().cast::<T>().drop_in_place() };
    }
}

fn pointer(address: u64) -> *mut u8 {
    core::ptr::with_exposed_provenance_mut(address as usize)
}
