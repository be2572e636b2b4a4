// SPDX-License-Identifier: MIT OR Apache-2.0
//! The caller's side: its memory into the buffer before the call, and the other way after it.

use super::{
    Arg, MAX_ERRNO, MSG_TRUNC, NULL, PATH_MAX, POLL_MAX, POLLFD_LEN, SMALL_MAX, Signature,
    VALUE_RESULT_HEADER,
};
use crate::Buffer;
use crate::call::errno;

/// Bytes before `revents` in a `struct pollfd`, and its length. (poll(2))
const REVENTS: usize = 6;
const REVENTS_LEN: usize = 2;

/// The memory of whoever makes a system call. Errors are negative errno: EFAULT for addresses that are not the caller's.
/// Lengths are never 0.
pub trait CallerMemory {
    /// Copies the `len` bytes at `address` to `offset` of the buffer, where there is room.
    fn copy_in(
        &self,
        address: u64,
        len: usize,
        buffer: &Buffer<'_>,
        offset: usize,
    ) -> Result<(), i64>;

    /// Copies the string at `address` with its NUL to `offset` of the buffer and returns its length with the NUL;
    /// ENAMETOOLONG if that is more than `limit`, for which there is room. The limit may be 0.
    fn copy_string_in(
        &self,
        address: u64,
        limit: usize,
        buffer: &Buffer<'_>,
        offset: usize,
    ) -> Result<usize, i64>;

    /// Copies `len` bytes at `offset` of the buffer, which has them, to `address`.
    fn copy_out(
        &mut self,
        address: u64,
        len: usize,
        buffer: &Buffer<'_>,
        offset: usize,
    ) -> Result<(), i64>;

    /// Sees to it that [`Self::copy_out`] would find all `len` bytes at `address` writable.
    fn check_writable(&self, address: u64, len: usize) -> Result<(), i64>;

    /// Reads the u32 at `address`.
    fn read_u32(&self, address: u64) -> Result<u32, i64>;

    /// Writes the u32 at `address`.
    fn write_u32(&mut self, address: u64, value: u32) -> Result<(), i64>;
}

/// A call on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prepared {
    signature: &'static Signature,
    /// As the caller gave them.
    given: [u64; 6],
    /// As they go into the ring.
    sent: [u64; 6],
}

impl Prepared {
    /// Returns the arguments of the request.
    pub fn args(&self) -> [u64; 6] {
        self.sent
    }
}

/// Copies what the call reads into the buffer. Everything the call will write is seen to be writable.
///
/// Errors are what the caller gets. ENAMETOOLONG: a path of more than PATH_MAX, or one for which the buffer has no room,
/// which only buffers of one page can lack.
pub fn prepare(
    signature: &'static Signature,
    given: [u64; 6],
    memory: &impl CallerMemory,
    buffer: &Buffer<'_>,
) -> Result<Prepared, i64> {
    let mut layout = Layout {
        given: &given,
        memory,
        buffer,
        next: 0,
        sent: [0; 6],
    };
    for (index, arg) in signature.args.iter().enumerate() {
        layout.place(index, *arg)?;
    }
    // Data take what the rest has left.
    for (index, arg) in signature.args.iter().enumerate() {
        layout.place_data(index, *arg)?;
    }
    Ok(Prepared {
        signature,
        given,
        sent: layout.sent,
    })
}

/// Copies what the call has written to the caller, and returns what the caller gets: what the call returned, an error
/// of the copying, or EIO if what the server returned is no result of this call.
pub fn finish(
    call: &Prepared,
    result: i64,
    memory: &mut impl CallerMemory,
    buffer: &Buffer<'_>,
) -> i64 {
    match result {
        ..0 if result >= -MAX_ERRNO => result,
        0.. if result <= call.signature.most => match call.copy_results(result, memory, buffer) {
            Ok(()) => result,
            Err(error) => error,
        },
        _ => errno::EIO,
    }
}

/// Where in the buffer everything goes.
struct Layout<'a, M> {
    given: &'a [u64; 6],
    memory: &'a M,
    buffer: &'a Buffer<'a>,
    /// First byte that is free, a multiple of 8 or the buffer's length.
    next: usize,
    sent: [u64; 6],
}

impl<M: CallerMemory> Layout<'_, M> {
    fn room(&self) -> usize {
        self.buffer.len() - self.next
    }

    /// Takes `len` bytes of the buffer for argument `index`.
    fn take(&mut self, index: usize, len: usize) -> Result<usize, i64> {
        let offset = self.next;
        if len > self.room() {
            // All but paths fit even the smallest buffer, with each other.
            return Err(errno::ENAMETOOLONG);
        }
        self.next = (offset + len).next_multiple_of(8).min(self.buffer.len());
        self.sent[index] = offset as u64;
        Ok(offset)
    }

    fn place(&mut self, index: usize, arg: Arg) -> Result<(), i64> {
        let address = self.given[index];
        match arg {
            Arg::In(_) | Arg::Out(_) | Arg::Length => Ok(()),
            Arg::ReceiveFlags if address & MSG_TRUNC != 0 => Err(errno::EINVAL),
            Arg::Value | Arg::Fd | Arg::DirFd | Arg::ReceiveFlags => {
                self.sent[index] = address;
                Ok(())
            }
            Arg::Path => {
                let limit = PATH_MAX.min(self.room());
                let len = self
                    .memory
                    .copy_string_in(address, limit, self.buffer, self.next)?;
                self.take(index, len).map(drop)
            }
            Arg::Struct(len) => {
                self.memory.check_writable(address, len.into())?;
                self.take(index, len.into()).map(drop)
            }
            Arg::Small(n) => self.place_small(index, n.into()),
            Arg::ValueResult(n) => self.place_value_result(index, n.into()),
            Arg::PollFds(n) => self.place_pollfds(index, n.into()),
        }
    }

    fn place_small(&mut self, index: usize, n: usize) -> Result<(), i64> {
        let len = at_most(self.given[n], SMALL_MAX)?;
        self.sent[n] = len as u64;
        self.sent[index] = NULL;
        if self.given[index] == 0 || len == 0 {
            return Ok(());
        }
        let offset = self.take(index, len)?;
        self.memory
            .copy_in(self.given[index], len, self.buffer, offset)
    }

    fn place_value_result(&mut self, index: usize, n: usize) -> Result<(), i64> {
        let (address, len_address) = (self.given[index], self.given[n]);
        self.sent[index] = NULL;
        if address == 0 {
            return Ok(());
        }
        let len = self.memory.read_u32(len_address)?;
        if len > i32::MAX as u32 {
            return Err(errno::EINVAL);
        }
        self.memory.check_writable(len_address, size_of::<u32>())?;
        // What is longer than any structure is cut off, not refused: the length says how much was meant.
        let len = (len as usize).min(SMALL_MAX);
        if len != 0 {
            self.memory.check_writable(address, len)?;
        }
        self.sent[n] = len as u64;
        self.take(index, VALUE_RESULT_HEADER + len).map(drop)
    }

    fn place_pollfds(&mut self, index: usize, n: usize) -> Result<(), i64> {
        let count = at_most(self.given[n], POLL_MAX)?;
        self.sent[n] = count as u64;
        self.sent[index] = NULL;
        if count == 0 {
            return Ok(());
        }
        let len = count * POLLFD_LEN;
        self.memory.check_writable(self.given[index], len)?;
        let offset = self.take(index, len)?;
        self.memory
            .copy_in(self.given[index], len, self.buffer, offset)
    }

    fn place_data(&mut self, index: usize, arg: Arg) -> Result<(), i64> {
        let (Arg::In(n) | Arg::Out(n)) = arg else {
            return Ok(());
        };
        let n = usize::from(n);
        let address = self.given[index];
        // Linux refuses lengths that are negative as ssize_t.
        let len = i64::try_from(self.given[n]).map_err(|_| errno::EINVAL)?;
        let len = usize::try_from(len).unwrap_or(usize::MAX).min(self.room());
        self.sent[n] = len as u64;
        let offset = self.take(index, len)?;
        match arg {
            _ if len == 0 => Ok(()),
            Arg::In(_) => self.memory.copy_in(address, len, self.buffer, offset),
            _ => self.memory.check_writable(address, len),
        }
    }
}

/// Returns a C int that is a length or a number of things, if it is not negative and not more than `most`.
fn at_most(value: u64, most: usize) -> Result<usize, i64> {
    let value = value as u32 as usize;
    if value <= most {
        Ok(value)
    } else {
        Err(errno::EINVAL)
    }
}

impl Prepared {
    /// Copies to the caller what belongs to a `result` that is not negative.
    fn copy_results(
        &self,
        result: i64,
        memory: &mut impl CallerMemory,
        buffer: &Buffer<'_>,
    ) -> Result<(), i64> {
        let count = result as usize;
        for (index, arg) in self.signature.args.iter().enumerate() {
            // What `prepare` has placed lies in the buffer.
            let (address, offset) = (self.given[index], self.sent[index] as usize);
            let length = |n: u8| self.sent[usize::from(n)] as usize;
            match *arg {
                Arg::In(n) | Arg::Out(n) | Arg::PollFds(n) if count > length(n) => {
                    return Err(errno::EIO);
                }
                Arg::Out(_) if count != 0 => memory.copy_out(address, count, buffer, offset)?,
                Arg::Struct(len) => memory.copy_out(address, len.into(), buffer, offset)?,
                Arg::PollFds(n) => {
                    for place in (0..length(n)).map(|i| i * POLLFD_LEN + REVENTS) {
                        let address = address.wrapping_add(place as u64);
                        memory.copy_out(address, REVENTS_LEN, buffer, offset + place)?;
                    }
                }
                Arg::ValueResult(n) if self.sent[index] != NULL => {
                    let mut len = [0; 4];
                    buffer.read(offset, &mut len).map_err(|_| errno::EIO)?;
                    let len = u32::from_le_bytes(len);
                    if len as usize > SMALL_MAX {
                        return Err(errno::EIO);
                    }
                    let copied = length(n).min(len as usize);
                    if copied != 0 {
                        memory.copy_out(address, copied, buffer, offset + VALUE_RESULT_HEADER)?;
                    }
                    memory.write_u32(self.given[usize::from(n)], len)?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}
