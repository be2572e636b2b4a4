// SPDX-License-Identifier: MIT OR Apache-2.0
//! What arguments are, and the server's checks of them.

use crate::call::CallError;

/// Instead of an offset: the caller gave no address.
pub const NULL: u64 = u64::MAX;
/// Longest path with its NUL. (Linux's PATH_MAX)
pub const PATH_MAX: usize = 4096;
/// Longest structure of [`Arg::Small`] and [`Arg::ValueResult`]: socket addresses and options are smaller.
pub const SMALL_MAX: usize = 256;
/// Most descriptors that one `poll` waits for.
pub const POLL_MAX: usize = 64;
/// Size of Linux's `struct pollfd`.
pub const POLLFD_LEN: usize = 8;
/// Before the data of an [`Arg::ValueResult`]: its length as the server set it, u32, and four bytes of nothing.
pub const VALUE_RESULT_HEADER: usize = 8;
/// The greatest number of an error. (Linux's MAX_ERRNO)
pub const MAX_ERRNO: i64 = 4095;
/// The flag that [`Arg::ReceiveFlags`] may not have. (recv(2))
pub const MSG_TRUNC: u64 = 0x20;

/// What an argument is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arg {
    /// A number, as wide as Linux's call has it.
    Value,
    /// A file descriptor of the process, a C int: the upper half of the register does not count.
    Fd,
    /// A directory's descriptor or AT_FDCWD, a C int.
    DirFd,
    /// Flags of a call that receives. MSG_TRUNC is refused (EINVAL): the result would not be the number of bytes that
    /// have come.
    ReceiveFlags,
    /// Address of a string that ends with NUL.
    Path,
    /// Address of data that the call reads. Their length is argument n; the call may be done for fewer bytes.
    In(u8),
    /// Address of memory that the call fills with as many bytes as its result says. Its length is argument n; the call
    /// may be done for fewer bytes.
    Out(u8),
    /// Address of a structure that the call reads whole. Its length is argument n, a C int, at most [`SMALL_MAX`]. None
    /// if 0, or if the length is.
    Small(u8),
    /// Address of a structure of this length that the call fills if it succeeds.
    Struct(u16),
    /// Address of a structure that the call fills if it succeeds. Argument n is the address of its length, a C int: the
    /// memory's before, the structure's after the call, which is the greater if the structure was cut off. As sent,
    /// argument n is the memory's length, at most [`SMALL_MAX`]. None if 0.
    ValueResult(u8),
    /// Address of an array of `struct pollfd`, of which the call writes `revents`. Their number is argument n, at most
    /// [`POLL_MAX`]. None if there are none.
    PollFds(u8),
    /// Belongs to another argument.
    Length,
}

/// A call's name and its arguments; those behind them are sent as 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Linux's name.
    pub name: &'static str,
    /// What each argument is.
    pub args: &'static [Arg],
    /// Greatest result. [`Arg::In`], [`Arg::Out`] and [`Arg::PollFds`] limit it further.
    pub most: i64,
}

/// Bytes of the buffer that an argument means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// First byte. Of any alignment, if a bad client says so.
    pub offset: usize,
    /// Bytes; for an [`Arg::ValueResult`] without its header, which lies before them at `offset`.
    pub len: usize,
}

impl Signature {
    /// Checks, as the server, that every argument which means bytes of the buffer means bytes in it, and that the lengths
    /// are what they may be.
    pub fn check(&self, args: &[u64; 6], buffer_len: usize) -> Result<(), CallError> {
        for index in 0..self.args.len() {
            self.extent(index, args, buffer_len)?;
        }
        Ok(())
    }

    /// Returns the bytes that argument `index` of a request means, all of them in the buffer; `None` if it means none: the
    /// system call then gets a null pointer, or the argument as it is. A path reaches to the end of the buffer, or PATH_MAX:
    /// where its NUL is, if it has one, is to be seen.
    pub fn extent(
        &self,
        index: usize,
        args: &[u64; 6],
        buffer_len: usize,
    ) -> Result<Option<Extent>, CallError> {
        let invalid = |index: usize| CallError::InvalidArgument {
            index: index as u8,
            value: args[index],
        };
        let length = |n: u8, limit: usize| {
            let n = usize::from(n);
            usize::try_from(args[n])
                .ok()
                .filter(|&len| len <= limit)
                .ok_or(invalid(n))
        };
        let Some(arg) = self.args.get(index) else {
            return Ok(None);
        };
        let is_null = args[index] == NULL;
        let (header, len) = match *arg {
            Arg::ReceiveFlags if args[index] & MSG_TRUNC != 0 => return Err(invalid(index)),
            Arg::Value | Arg::Fd | Arg::DirFd | Arg::ReceiveFlags | Arg::Length => return Ok(None),
            Arg::Path => {
                let offset = usize::try_from(args[index]).map_err(|_| invalid(index))?;
                let rest = buffer_len.checked_sub(offset).ok_or(invalid(index))?;
                (0, rest.min(PATH_MAX))
            }
            Arg::In(n) | Arg::Out(n) => (0, length(n, buffer_len)?),
            Arg::Struct(len) => (0, usize::from(len)),
            Arg::Small(n) => match length(n, SMALL_MAX)? {
                _ if is_null => return Ok(None),
                len => (0, len),
            },
            Arg::ValueResult(n) => match length(n, SMALL_MAX)? {
                _ if is_null => return Ok(None),
                len => (VALUE_RESULT_HEADER, len),
            },
            Arg::PollFds(n) => match length(n, POLL_MAX)? {
                0 => return Ok(None),
                count => (0, count * POLLFD_LEN),
            },
        };
        let offset = usize::try_from(args[index]).map_err(|_| invalid(index))?;
        match offset.checked_add(header + len) {
            Some(end) if end <= buffer_len => Ok(Some(Extent { offset, len })),
            _ => Err(invalid(index)),
        }
    }
}
