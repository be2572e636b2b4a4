// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory of a process of the client.

use std::ffi::CString;

use forward_ring::Buffer;
use forward_ring::syscall::CallerMemory;

/// Memory of a process of the client: addresses from [`Memory::START`] up.
#[derive(Default)]
pub struct Memory(Vec<u8>);

impl Memory {
    const START: u64 = 0x1000;

    /// Puts bytes somewhere; returns their address.
    pub fn put(&mut self, bytes: &[u8]) -> u64 {
        let address = Self::START + self.0.len() as u64;
        self.0.extend_from_slice(bytes);
        address
    }

    /// Puts a string somewhere; returns its address.
    pub fn put_string(&mut self, text: &str) -> u64 {
        self.put(CString::new(text).unwrap().to_bytes_with_nul())
    }

    pub fn bytes(&self, address: u64, len: usize) -> &[u8] {
        let start = (address - Self::START) as usize;
        &self.0[start..start + len]
    }

    pub fn int(&self, address: u64) -> i32 {
        i32::from_ne_bytes(self.bytes(address, 4).try_into().unwrap())
    }

    fn range(&self, address: u64, len: usize) -> Result<std::ops::Range<usize>, i64> {
        let start = address.checked_sub(Self::START).ok_or(-14)? as usize;
        match start.checked_add(len) {
            Some(end) if end <= self.0.len() => Ok(start..end),
            _ => Err(-i64::from(libc::EFAULT)),
        }
    }
}

impl CallerMemory for Memory {
    fn copy_in(
        &self,
        address: u64,
        len: usize,
        buffer: &Buffer<'_>,
        offset: usize,
    ) -> Result<(), i64> {
        let range = self.range(address, len)?;
        buffer.write(offset, &self.0[range]).map_err(|_| -5)
    }

    fn copy_string_in(
        &self,
        address: u64,
        limit: usize,
        buffer: &Buffer<'_>,
        offset: usize,
    ) -> Result<usize, i64> {
        let range = self.range(address, 0)?;
        let len = self.0[range.start..].iter().position(|&byte| byte == 0);
        let len = len.ok_or(-14)? + 1;
        if len > limit {
            return Err(-i64::from(libc::ENAMETOOLONG));
        }
        self.copy_in(address, len, buffer, offset).map(|()| len)
    }

    fn copy_out(
        &mut self,
        address: u64,
        len: usize,
        buffer: &Buffer<'_>,
        offset: usize,
    ) -> Result<(), i64> {
        let range = self.range(address, len)?;
        buffer.read(offset, &mut self.0[range]).map_err(|_| -5)
    }

    fn check_writable(&self, address: u64, len: usize) -> Result<(), i64> {
        self.range(address, len).map(|_| ())
    }

    fn read_u32(&self, address: u64) -> Result<u32, i64> {
        let range = self.range(address, 4)?;
        Ok(u32::from_ne_bytes(self.0[range].try_into().unwrap()))
    }

    fn write_u32(&mut self, address: u64, value: u32) -> Result<(), i64> {
        let range = self.range(address, 4)?;
        self.0[range].copy_from_slice(&value.to_ne_bytes());
        Ok(())
    }
}
