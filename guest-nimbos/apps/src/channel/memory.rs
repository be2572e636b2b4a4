// SPDX-License-Identifier: MIT OR Apache-2.0
//! The program's own memory, as the calls that travel need it.

use core::ptr::{with_exposed_provenance, with_exposed_provenance_mut};

use forward_ring::Buffer;
use forward_ring::syscall::CallerMemory;

use crate::system::Error;

/// All memory of this program. An address outside is its own fault.
#[derive(Debug)]
pub struct OwnMemory(());

impl OwnMemory {
    /// Returns it for one call.
    ///
    /// # Safety
    /// What the call reads may be read, and what is written for it may be written; strings end.
    pub unsafe fn new() -> Self {
        Self(())
    }
}

impl CallerMemory for OwnMemory {
    fn copy_in(
        &self,
        address: u64,
        len: usize,
        buffer: &Buffer<'_>,
        offset: usize,
    ) -> Result<(), i64> {
        check(buffer, offset, len)?;
        // SAFETY: `new` was promised that the call may read this; the buffer is memory of the channel, without Rust objects, and
        // has these bytes.
        unsafe {
            let to = buffer.as_ptr().add(offset);
            core::ptr::copy_nonoverlapping(with_exposed_provenance(address as usize), to, len);
        }
        Ok(())
    }

    fn copy_string_in(
        &self,
        address: u64,
        limit: usize,
        buffer: &Buffer<'_>,
        offset: usize,
    ) -> Result<usize, i64> {
        let string: *const u8 = with_exposed_provenance(address as usize);
        // SAFETY: `new` was promised that the string ends; no byte behind the NUL is read.
        let len = (0..limit).find(|&len| unsafe { *string.add(len) } == 0);
        let len = len.ok_or(Error::NAME_TOO_LONG.0)? + 1;
        self.copy_in(address, len, buffer, offset)?;
        Ok(len)
    }

    fn copy_out(
        &mut self,
        address: u64,
        len: usize,
        buffer: &Buffer<'_>,
        offset: usize,
    ) -> Result<(), i64> {
        check(buffer, offset, len)?;
        // SAFETY: as in `copy_in`, the other way round.
        unsafe {
            let from = buffer.as_ptr().add(offset);
            core::ptr::copy_nonoverlapping(
                from,
                with_exposed_provenance_mut(address as usize),
                len,
            );
        }
        Ok(())
    }

    fn check_writable(&self, _address: u64, _len: usize) -> Result<(), i64> {
        Ok(())
    }

    fn read_u32(&self, address: u64) -> Result<u32, i64> {
        let place: *const u32 = with_exposed_provenance(address as usize);
        // SAFETY: `new` was promised that the call may read this.
        Ok(unsafe { place.read_unaligned() })
    }

    fn write_u32(&mut self, address: u64, value: u32) -> Result<(), i64> {
        let place: *mut u32 = with_exposed_provenance_mut(address as usize);
        // SAFETY: `new` was promised that this may be written.
        unsafe { place.write_unaligned(value) };
        Ok(())
    }
}

/// Sees to it that the buffer has `len` bytes at `offset`.
fn check(buffer: &Buffer<'_>, offset: usize, len: usize) -> Result<(), i64> {
    match offset.checked_add(len) {
        Some(end) if end <= buffer.len() => Ok(()),
        _ => Err(Error::IO.0),
    }
}
