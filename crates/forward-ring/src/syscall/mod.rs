// SPDX-License-Identifier: MIT OR Apache-2.0
//! Linux's system calls as they travel: one table says what the arguments of each are.
//!
//! A forwarded call has the number and the arguments of Linux's call on x86-64 (`syscall(2)`), with one difference:
//! an address becomes an offset in the call's buffer, where the client has put what the call reads and finds what it
//! has written. The table of [`Signature`]s drives all three: the client's copying ([`prepare`], [`finish`]), and the
//! server's checks ([`Signature::check`]). What is not in the table is not forwarded.
//!
//! The server decides nothing by what it has checked once and reads again: arguments are a copy, but what they mean lies
//! in the buffer, which a bad client goes on writing to, and the parts of which may overlap.

mod arg;
mod caller;
mod table;

pub use arg::{
    Arg, Extent, MAX_ERRNO, MSG_TRUNC, NULL, PATH_MAX, POLL_MAX, POLLFD_LEN, SMALL_MAX, Signature,
    VALUE_RESULT_HEADER,
};
pub use caller::{CallerMemory, Prepared, finish, prepare};

/// Returns the signature of Linux's call `number`, if it is forwarded.
pub fn signature(number: u32) -> Option<&'static Signature> {
    table::find(number)
}

/// Returns the numbers of all calls that are forwarded, ascending.
pub fn numbers() -> impl Iterator<Item = u32> {
    table::TABLE.iter().map(|(number, _)| *number)
}
