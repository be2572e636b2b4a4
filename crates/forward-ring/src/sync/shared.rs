// SPDX-License-Identifier: MIT OR Apache-2.0
//! A ring region as it lies in memory shared with another cell.
#![expect(unsafe_code, reason = "accesses memory that another cell writes")]

use core::ptr::NonNull;

use super::{AtomicU8, AtomicU32, AtomicU64};

/// Where a ring region lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory(NonNull<u8>);

impl Memory {
    /// Names the region that starts at `base`.
    ///
    /// # Safety
    /// As for [`crate::Mapping::new`]; the offsets handed to the other functions are to lie in the region.
    pub(crate) unsafe fn new(base: NonNull<u8>) -> Self {
        Self(base)
    }

    /// Returns the address of `offset`.
    pub(crate) fn address(&self, offset: usize) -> *mut u8 {
        self.0.as_ptr().wrapping_add(offset)
    }

    /// Returns the byte at `offset`.
    ///
    /// # Safety
    /// `offset` lies in the region.
    pub(crate) unsafe fn u8_at(&self, offset: usize) -> &AtomicU8 {
        // SAFETY: in the region, which is valid as long as `self` and is accessed by atomics only.
        unsafe { AtomicU8::from_ptr(self.address(offset)) }
    }

    /// Returns the four bytes at `offset`.
    ///
    /// # Safety
    /// `offset` is a multiple of 4, and the bytes lie in the region.
    pub(crate) unsafe fn u32_at(&self, offset: usize) -> &AtomicU32 {
        // SAFETY: aligned, because the base is; in the region, which is valid as long as `self` and is accessed by
        // atomics only.
        unsafe { AtomicU32::from_ptr(self.address(offset).cast()) }
    }

    /// Returns the eight bytes at `offset`.
    ///
    /// # Safety
    /// `offset` is a multiple of 8, and the bytes lie in the region.
    pub(crate) unsafe fn u64_at(&self, offset: usize) -> &AtomicU64 {
        // SAFETY: aligned, because the base is; in the region, which is valid as long as `self` and is accessed by
        // atomics only.
        unsafe { AtomicU64::from_ptr(self.address(offset).cast()) }
    }
}
