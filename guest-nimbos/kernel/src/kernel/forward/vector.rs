// SPDX-License-Identifier: MIT OR Apache-2.0
//! readv and writev: they travel as read and write, and the pieces are put together and taken apart here.

use forward_ring::{Buffer, Message, opcode};
use nimbos::abi::Errno;
use nimbos::reply::clipped;
use nimbos::user_memory::Access;

use crate::user_space::UserSpace;

/// Most pieces; Linux's IOV_MAX.
const MAX_PIECES: u64 = 1024;
/// Size of Linux's `struct iovec`: address and length.
const PIECE_LEN: usize = 16;

/// A call that reads or writes memory in many places.
#[derive(Clone, Copy, Debug)]
pub struct Vector {
    direction: Direction,
    fd: u64,
    /// Where the pieces are described.
    pieces: u64,
    count: u64,
}

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the file to memory.
    Read,
    /// From memory to the file.
    Write,
}

/// A piece of memory.
#[derive(Clone, Copy, Debug)]
struct Piece {
    address: u64,
    len: u64,
}

impl Vector {
    /// Returns the call with these arguments of readv or writev, or -EINVAL if there are too many pieces.
    pub fn new(direction: Direction, [fd, pieces, count]: [u64; 3]) -> Result<Self, Errno> {
        if count > MAX_PIECES {
            return Err(Errno::Invalid);
        }
        Ok(Self {
            direction,
            fd,
            pieces,
            count,
        })
    }

    /// Checks, as Linux does before anything else, that the pieces can be read and are together no longer than a file can be.
    fn check(&self, space: &UserSpace) -> Result<(), Errno> {
        let mut sum: u64 = 0;
        for number in 0..self.count {
            let len = self.piece(space, number)?.len;
            let longer = sum.checked_add(len).filter(|&sum| sum <= i64::MAX as u64);
            sum = longer.ok_or(Errno::Invalid)?;
        }
        Ok(())
    }

    /// Reads a piece as the program describes it now.
    fn piece(&self, space: &UserSpace, number: u64) -> Result<Piece, Errno> {
        let mut bytes = [0; PIECE_LEN];
        let place = number * PIECE_LEN as u64;
        let place = self.pieces.checked_add(place).ok_or(Errno::Fault)?;
        space.read(place, &mut bytes)?;
        let word = |at: usize| u64::from_le_bytes(core::array::from_fn(|i| bytes[at + i]));
        Ok(Piece {
            address: word(0),
            len: word(8),
        })
    }

    /// Calls `write` with one piece after the other until it fails or all are written; returns the bytes.
    pub(super) fn for_each(
        &self,
        space: &UserSpace,
        mut write: impl FnMut(u64, u64) -> Result<i64, Errno>,
    ) -> Result<i64, Errno> {
        self.check(space)?;
        let mut done: i64 = 0;
        for number in 0..self.count {
            let Piece { address, len } = self.piece(space, number)?;
            match write(address, len) {
                Ok(count) => done = done.saturating_add(count),
                Err(errno) if done == 0 => return Err(errno),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    /// Copies what is written into the buffer, as far as it fits, or checks that what is read can be written to memory; returns
    /// the message, and how many bytes it asks for.
    pub(super) fn gather(
        &self,
        space: &UserSpace,
        buffer: &Buffer<'_>,
    ) -> Result<(Message, i64), i64> {
        self.check(space).map_err(number)?;
        let mut len = 0;
        for at in 0..self.count {
            let piece = self.piece(space, at).map_err(number)?;
            let part = clipped(piece.len, buffer.len() - len);
            let done = match self.direction {
                Direction::Read => space.check(piece.address, part, Access::Write),
                Direction::Write => space.read_to_buffer(piece.address, part, buffer, len),
            };
            done.map_err(number)?;
            len += part;
        }
        let opcode = match self.direction {
            Direction::Read => opcode::READ,
            Direction::Write => opcode::WRITE,
        };
        Ok((Message::new(opcode, &[self.fd, 0, len as u64]), len as i64))
    }

    /// Copies the `result` bytes that were read to memory, and returns the result of the call.
    pub(super) fn scatter(&self, result: i64, space: &mut UserSpace, buffer: &Buffer<'_>) -> i64 {
        let (Direction::Read, Ok(count)) = (self.direction, usize::try_from(result)) else {
            return result;
        };
        // The program may have changed the description meanwhile; so everything is checked again.
        match self.put(count, space, buffer) {
            Ok(()) => result,
            Err(errno) => number(errno),
        }
    }

    fn put(&self, count: usize, space: &mut UserSpace, buffer: &Buffer<'_>) -> Result<(), Errno> {
        let mut done = 0;
        for at in 0..self.count {
            let piece = self.piece(space, at)?;
            let part = clipped(piece.len, count - done);
            space.write_from_buffer(piece.address, part, buffer, done)?;
            done += part;
        }
        Ok(())
    }
}

fn number(errno: Errno) -> i64 {
    errno as i64
}
