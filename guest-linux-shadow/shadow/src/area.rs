// SPDX-License-Identifier: MIT OR Apache-2.0
//! A call's buffer, as a worker has it: an address range that the client may write at any time.
#![expect(unsafe_code, reason = "accesses memory that another cell writes")]

use std::sync::atomic::{AtomicU8, Ordering};

use forward_ring::Buffer;

/// A buffer without the lifetime of the ring that it belongs to.
#[derive(Clone, Copy, Debug)]
pub struct Area {
    start: *mut u8,
    len: usize,
}

// SAFETY: an address range, which is accessed by atomics, or by the kernel, only.
unsafe impl Send for Area {}

impl Area {
    /// Returns the bytes of `buffer`.
    ///
    /// # Safety
    /// The ring's mapping stays as long as the area is used.
    pub unsafe fn new(buffer: &Buffer<'_>) -> Self {
        Self {
            start: buffer.as_ptr(),
            len: buffer.len(),
        }
    }

    /// Returns the length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns the address of the `len` bytes at `offset`, for the kernel, if they lie in the area.
    pub fn address(&self, offset: usize, len: usize) -> Option<usize> {
        let end = offset.checked_add(len)?;
        (end <= self.len).then(|| self.start.wrapping_add(offset).expose_provenance())
    }

    /// Copies the bytes at `offset` out; `None` if they do not lie in the area.
    pub fn read(&self, offset: usize, into: &mut [u8]) -> Option<()> {
        self.address(offset, into.len())?;
        for (i, byte) in into.iter_mut().enumerate() {
            *byte = self.byte(offset + i).load(Ordering::Relaxed);
        }
        Some(())
    }

    /// Copies bytes to `offset`; `None` if they do not lie in the area.
    pub fn write(&self, offset: usize, from: &[u8]) -> Option<()> {
        self.address(offset, from.len())?;
        for (i, byte) in from.iter().enumerate() {
            self.byte(offset + i).store(*byte, Ordering::Relaxed);
        }
        Some(())
    }

    /// Copies the string at `offset` out with its NUL; `None` if it does not end before the area or `into` do.
    pub fn read_string<'a>(&self, offset: usize, into: &'a mut [u8]) -> Option<&'a std::ffi::CStr> {
        let most = self.len.checked_sub(offset)?.min(into.len());
        for (i, byte) in into[..most].iter_mut().enumerate() {
            *byte = self.byte(offset + i).load(Ordering::Relaxed);
            if *byte == 0 {
                break;
            }
        }
        std::ffi::CStr::from_bytes_until_nul(&into[..most]).ok()
    }

    /// Returns a byte; `offset` is in the area.
    fn byte(&self, offset: usize) -> &AtomicU8 {
        debug_assert!(offset < self.len);
        // SAFETY: in the area, which its maker keeps mapped; atomics only.
        unsafe { AtomicU8::from_ptr(self.start.wrapping_add(offset)) }
    }
}
