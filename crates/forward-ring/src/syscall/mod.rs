// SPDX-License-Identifier: MIT OR Apache-2.0
//! Linux's system calls as they travel: one table says what the arguments of each are.
//!
//! A forwarded call has the number and the arguments of Linux's call on x86-64 (`syscall(2)`), with one difference:
//! an address becomes an offset in the call's buffer, where the client has put what the call reads and finds what it
//! has written. The table [`Signature`] drives all three: the client's copying ([`prepare`], [`finish`]), and the
//! server's checks ([`Signature::check`]). What is not in the table is not forwarded.

mod caller;
mod table;

pub use caller::{CallerMemory, Prepared, finish, prepare};

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

/// What an argument is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arg {
    /// A number.
    Value,
    /// A file descriptor of the process.
    Fd,
    /// A directory's descriptor or AT_FDCWD.
    DirFd,
    /// Address of a string that ends with NUL.
    Path,
    /// Address of data that the call reads. Their length is argument n; the call may be done for fewer bytes.
    In(u8),
    /// Address of memory that the call fills with as many bytes as its result says. Its length is argument n.
    Out(u8),
    /// Address of a structure that the call reads whole. Its length is argument n.
    Small(u8),
    /// Address of a structure of this length that the call fills if it succeeds.
    Struct(u16),
    /// Address of a structure that the call fills if it succeeds. Argument n is the address of its length, a u32: the
    /// memory's before, the structure's after the call. As sent, argument n is the memory's length. None if 0.
    ValueResult(u8),
    /// Address of an array of `struct pollfd`. Their number is argument n.
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
}

/// Bytes of the buffer that an argument means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// First byte.
    pub offset: usize,
    /// Bytes; for an [`Arg::ValueResult`] without its header.
    pub len: usize,
}

/// Returns the signature of Linux's call `number`, if it is forwarded.
pub fn signature(number: u32) -> Option<&'static Signature> {
    table::TABLE
        .binary_search_by_key(&number, |(key, _)| *key)
        .ok()
        .map(|place| &table::TABLE[place].1)
}

/// Returns the numbers of all calls that are forwarded, ascending.
pub fn numbers() -> impl Iterator<Item = u32> {
    table::TABLE.iter().map(|(number, _)| *number)
}

impl Signature {
    /// Checks, as the server, that every argument which means bytes of the buffer means bytes in it.
    pub fn check(&self, args: &[u64; 6], buffer_len: usize) -> Result<(), CallError> {
        for index in 0..self.args.len() {
            self.extent(index, args, buffer_len)?;
        }
        Ok(())
    }

    /// Returns the bytes that argument `index` of a request means, all of them in the buffer; `None` if it means none.
    /// A path reaches to the end of the buffer, or PATH_MAX: where its NUL is, if it has one, is to be seen.
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
        let (header, len) = match *arg {
            Arg::Value | Arg::Fd | Arg::DirFd | Arg::Length => return Ok(None),
            Arg::Path => {
                let offset = usize::try_from(args[index]).map_err(|_| invalid(index))?;
                let rest = buffer_len.checked_sub(offset).ok_or(invalid(index))?;
                (0, rest.min(PATH_MAX))
            }
            Arg::In(n) | Arg::Out(n) => (0, length(n, buffer_len)?),
            Arg::Small(n) => (0, length(n, SMALL_MAX)?),
            Arg::Struct(len) => (0, usize::from(len)),
            Arg::ValueResult(n) => (VALUE_RESULT_HEADER, length(n, SMALL_MAX)?),
            Arg::PollFds(n) => (0, length(n, POLL_MAX)? * POLLFD_LEN),
        };
        if args[index] == NULL {
            return Ok(None);
        }
        let offset = usize::try_from(args[index]).map_err(|_| invalid(index))?;
        match offset.checked_add(header + len) {
            Some(end) if end <= buffer_len => Ok(Some(Extent { offset, len })),
            _ => Err(invalid(index)),
        }
    }
}
