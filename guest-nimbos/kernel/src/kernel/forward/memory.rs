// SPDX-License-Identifier: MIT OR Apache-2.0
//! A program's memory, as the calls that travel need it.

use forward_ring::Buffer;
use forward_ring::syscall::CallerMemory;
use nimbos::abi::Errno;
use nimbos::user_memory::Access;

use crate::user_space::UserSpace;

impl CallerMemory for UserSpace {
    fn copy_in(
        &self,
        address: u64,
        len: usize,
        buffer: &Buffer<'_>,
        offset: usize,
    ) -> Result<(), i64> {
        self.read_to_buffer(address, len, buffer, offset)
            .map_err(number)
    }

    fn copy_string_in(
        &self,
        address: u64,
        limit: usize,
        buffer: &Buffer<'_>,
        offset: usize,
    ) -> Result<usize, i64> {
        let put = |at: usize, piece: &[u8]| {
            buffer
                .write(offset + at, piece)
                .expect("there is room for `limit` bytes");
        };
        let len = self.read_string(address, limit, put).map_err(number)?;
        put(len, &[0]);
        Ok(len + 1)
    }

    fn copy_out(
        &mut self,
        address: u64,
        len: usize,
        buffer: &Buffer<'_>,
        offset: usize,
    ) -> Result<(), i64> {
        self.write_from_buffer(address, len, buffer, offset)
            .map_err(number)
    }

    fn check_writable(&self, address: u64, len: usize) -> Result<(), i64> {
        self.check(address, len, Access::Write).map_err(number)
    }

    fn read_u32(&self, address: u64) -> Result<u32, i64> {
        let mut bytes = [0; 4];
        self.read(address, &mut bytes).map_err(number)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn write_u32(&mut self, address: u64, value: u32) -> Result<(), i64> {
        self.write(address, &value.to_le_bytes()).map_err(number)
    }
}

fn number(errno: Errno) -> i64 {
    errno as i64
}
