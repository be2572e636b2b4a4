// SPDX-License-Identifier: MIT OR Apache-2.0
//! The caller's side: its memory into the buffer before the call, and the other way after it.

use super::{
    Arg, MAX_ERRNO, NULL, PATH_MAX, POLL_MAX, POLLFD_LEN, SMALL_MAX, Signature, VALUE_RESULT_HEADER,
};
use crate::Buffer;
use crate::call::errno;

/// The memory of whoever makes a system call. Errors are negative errno: EFAULT for addresses that are not the caller's.
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
    /// ENAMETOOLONG if that is more than `limit`, for which there is room.
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
pub fn prepare(
    signature: &'static Signature,
    given: [u64; 6],
    memory: &impl CallerMemory,
    buffer: &Buffer<'_>,
) -> Result<Prepared, i64> {
    let mut layout = Layout {
        buffer,
        next: 0,
        sent: [0; 6],
    };
    for (index, arg) in signature.args.iter().enumerate() {
        layout.place_small(index, *arg, &given, memory)?;
    }
    // Data take what the rest has left.
    for (index, arg) in signature.args.iter().enumerate() {
        layout.place_data(index, *arg, &given, memory)?;
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
        ..0 => errno::EIO,
        _ => match copy_results(call, result, memory, buffer) {
            Ok(()) => result,
            Err(error) => error,
        },
    }
}

struct Layout<'a> {
    buffer: &'a Buffer<'a>,
    /// First byte that is free.
    next: usize,
    sent: [u64; 6],
}

impl Layout<'_> {
    /// Takes `len` bytes of the buffer.
    fn take(&mut self, len: usize) -> Result<usize, i64> {
        let offset = self.next;
        if len > self.buffer.len() - offset {
            return Err(errno::EINVAL);
        }
        self.next = (offset + len).next_multiple_of(8).min(self.buffer.len());
        Ok(offset)
    }

    fn place_small(
        &mut self,
        index: usize,
        arg: Arg,
        given: &[u64; 6],
        memory: &impl CallerMemory,
    ) -> Result<(), i64> {
        let address = given[index];
        let small = |value: u64, most: usize| {
            let len = usize::try_from(value).map_err(|_| errno::EINVAL)?;
            if len <= most {
                Ok(len)
            } else {
                Err(errno::EINVAL)
            }
        };
        match arg {
            Arg::Value | Arg::Fd | Arg::DirFd => self.sent[index] = address,
            Arg::In(_) | Arg::Out(_) | Arg::Length => {}
            Arg::Path => {
                let limit = PATH_MAX.min(self.buffer.len() - self.next);
                let len = memory.copy_string_in(address, limit, self.buffer, self.next)?;
                self.sent[index] = self.take(len)? as u64;
            }
            Arg::Small(n) | Arg::PollFds(n) => {
                let n = usize::from(n);
                let len = match arg {
                    Arg::PollFds(_) => small(given[n], POLL_MAX)? * POLLFD_LEN,
                    _ => small(given[n], SMALL_MAX)?,
                };
                self.sent[n] = given[n];
                self.sent[index] = NULL;
                if len != 0 {
                    let offset = self.take(len)?;
                    memory.copy_in(address, len, self.buffer, offset)?;
                    if matches!(arg, Arg::PollFds(_)) {
                        memory.check_writable(address, len)?;
                    }
                    self.sent[index] = offset as u64;
                }
            }
            Arg::Struct(len) => {
                let len = usize::from(len);
                memory.check_writable(address, len)?;
                self.sent[index] = self.take(len)? as u64;
            }
            Arg::ValueResult(n) => {
                let n = usize::from(n);
                self.sent[index] = NULL;
                if address != 0 {
                    // What is longer than any structure is cut off, not refused: the length says how much was meant.
                    let len = (memory.read_u32(given[n])? as usize).min(SMALL_MAX);
                    memory.check_writable(address, len)?;
                    memory.check_writable(given[n], size_of::<u32>())?;
                    self.sent[n] = len as u64;
                    self.sent[index] = self.take(VALUE_RESULT_HEADER + len)? as u64;
                }
            }
        }
        Ok(())
    }

    fn place_data(
        &mut self,
        index: usize,
        arg: Arg,
        given: &[u64; 6],
        memory: &impl CallerMemory,
    ) -> Result<(), i64> {
        let (Arg::In(n) | Arg::Out(n)) = arg else {
            return Ok(());
        };
        let n = usize::from(n);
        let room = self.buffer.len() - self.next;
        let len = usize::try_from(given[n]).unwrap_or(usize::MAX).min(room);
        match arg {
            Arg::In(_) => memory.copy_in(given[index], len, self.buffer, self.next)?,
            _ => memory.check_writable(given[index], len)?,
        }
        self.sent[n] = len as u64;
        self.sent[index] = self.take(len)? as u64;
        Ok(())
    }
}

fn copy_results(
    call: &Prepared,
    result: i64,
    memory: &mut impl CallerMemory,
    buffer: &Buffer<'_>,
) -> Result<(), i64> {
    let Prepared {
        signature,
        given,
        sent,
    } = call;
    for (index, arg) in signature.args.iter().enumerate() {
        // What `prepare` placed lies in the buffer.
        let (address, offset) = (given[index], sent[index] as usize);
        match *arg {
            Arg::Value | Arg::Fd | Arg::DirFd | Arg::Path | Arg::Small(_) | Arg::Length => {}
            Arg::In(n) => {
                if result as u64 > sent[usize::from(n)] {
                    return Err(errno::EIO);
                }
            }
            Arg::Out(n) => {
                if result as u64 > sent[usize::from(n)] {
                    return Err(errno::EIO);
                }
                memory.copy_out(address, result as usize, buffer, offset)?;
            }
            Arg::Struct(len) => memory.copy_out(address, len.into(), buffer, offset)?,
            Arg::PollFds(n) => {
                let count = given[usize::from(n)] as usize;
                if result as usize > count {
                    return Err(errno::EIO);
                }
                if sent[index] != NULL {
                    memory.copy_out(address, count * POLLFD_LEN, buffer, offset)?;
                }
            }
            Arg::ValueResult(_) if sent[index] == NULL => {}
            Arg::ValueResult(n) => {
                let n = usize::from(n);
                let mut len = [0; 4];
                buffer.read(offset, &mut len).map_err(|_| errno::EIO)?;
                let len = u32::from_le_bytes(len);
                let copied = (sent[n] as usize).min(len as usize);
                memory.copy_out(address, copied, buffer, offset + VALUE_RESULT_HEADER)?;
                memory.write_u32(given[n], len)?;
            }
        }
    }
    Ok(())
}
