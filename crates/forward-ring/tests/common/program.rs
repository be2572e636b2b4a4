// SPDX-License-Identifier: MIT OR Apache-2.0
//! A program that makes system calls: pages of memory, some of which it may write.
#![allow(dead_code, reason = "each test uses its part")]

use forward_ring::Buffer;
use forward_ring::syscall::CallerMemory;

pub const EFAULT: i64 = -14;
pub const ENAMETOOLONG: i64 = -36;
/// Size of each page.
pub const PAGE: usize = 0x1000;
/// Address of the first page.
pub const BASE: u64 = 0x10_0000;
/// Pages that may be read only; they come first.
pub const CONSTANT_PAGES: usize = 1;
/// All pages.
pub const PAGES: usize = 8;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    pub bytes: Vec<u8>,
}

impl Program {
    /// Makes a program whose memory is full of `fill`.
    pub fn filled(fill: u8) -> Self {
        Self {
            bytes: vec![fill; PAGES * PAGE],
        }
    }

    /// The address of a page.
    pub fn page(number: usize) -> u64 {
        BASE + (number * PAGE) as u64
    }

    /// Puts `bytes` at `address`.
    pub fn put(&mut self, address: u64, bytes: &[u8]) {
        let at = (address - BASE) as usize;
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// Where the bytes at `address` lie, if they are all there.
    fn place(&self, address: u64, len: usize) -> Result<usize, i64> {
        let at = usize::try_from(address.checked_sub(BASE).ok_or(EFAULT)?).map_err(|_| EFAULT)?;
        match at.checked_add(len) {
            Some(end) if end <= self.bytes.len() => Ok(at),
            _ => Err(EFAULT),
        }
    }

    fn writable_place(&self, address: u64, len: usize) -> Result<usize, i64> {
        self.place(address, len)
            .and_then(|at| (at >= CONSTANT_PAGES * PAGE).then_some(at).ok_or(EFAULT))
    }
}

/// What is promised to an implementation.
fn assert_fits(len: usize, buffer: &Buffer<'_>, offset: usize) {
    assert!(len != 0 && offset <= buffer.len() && len <= buffer.len() - offset);
}

impl CallerMemory for Program {
    fn copy_in(
        &self,
        address: u64,
        len: usize,
        buffer: &Buffer<'_>,
        offset: usize,
    ) -> Result<(), i64> {
        assert_fits(len, buffer, offset);
        let at = self.place(address, len)?;
        buffer
            .write(offset, &self.bytes[at..at + len])
            .map_err(|_| EFAULT)
    }

    fn copy_string_in(
        &self,
        address: u64,
        limit: usize,
        buffer: &Buffer<'_>,
        offset: usize,
    ) -> Result<usize, i64> {
        assert!(offset <= buffer.len() && limit <= buffer.len() - offset);
        let at = self.place(address, 1)?;
        let rest = &self.bytes[at..];
        match rest.iter().take(limit).position(|&byte| byte == 0) {
            Some(end) => {
                buffer.write(offset, &rest[..=end]).expect("there is room");
                Ok(end + 1)
            }
            None if rest.len() >= limit => Err(ENAMETOOLONG),
            None => Err(EFAULT),
        }
    }

    fn copy_out(
        &mut self,
        address: u64,
        len: usize,
        buffer: &Buffer<'_>,
        offset: usize,
    ) -> Result<(), i64> {
        assert_fits(len, buffer, offset);
        let at = self.writable_place(address, len)?;
        buffer
            .read(offset, &mut self.bytes[at..at + len])
            .map_err(|_| EFAULT)
    }

    fn check_writable(&self, address: u64, len: usize) -> Result<(), i64> {
        assert_ne!(len, 0);
        self.writable_place(address, len).map(drop)
    }

    fn read_u32(&self, address: u64) -> Result<u32, i64> {
        let at = self.place(address, 4)?;
        let bytes = self.bytes[at..at + 4].try_into().expect("four of them");
        Ok(u32::from_le_bytes(bytes))
    }

    fn write_u32(&mut self, address: u64, value: u32) -> Result<(), i64> {
        let at = self.writable_place(address, 4)?;
        self.bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        Ok(())
    }
}
