// SPDX-License-Identifier: MIT OR Apache-2.0
//! The calls that are forwarded. Numbers and arguments are those of the manual pages, section 2.

use super::{Arg, Signature};
use Arg::{
    DirFd, Fd, In, Length, Out, Path, PollFds, ReceiveFlags, Small, Struct, Value, ValueResult,
};

/// Size of Linux's `struct stat` on x86-64.
const STAT_LEN: u16 = 144;
/// Size of the two descriptors of a pipe.
const PIPE_LEN: u16 = 8;

/// Greatest result: nothing but success.
const ZERO: i64 = 0;
/// Greatest result: a C int, such as a descriptor.
const INT: i64 = i32::MAX as i64;
/// Greatest result: a count, which the length of the data limits further.
const DATA: i64 = i32::MAX as i64;
/// Greatest result: a place in a file.
const OFFSET: i64 = i64::MAX;

const fn call(
    number: u32,
    name: &'static str,
    most: i64,
    args: &'static [Arg],
) -> (u32, Signature) {
    (number, Signature { name, args, most })
}

/// Ordered by number.
pub(super) const TABLE: &[(u32, Signature)] = &[
    call(0, "read", DATA, &[Fd, Out(2), Length]),
    call(1, "write", DATA, &[Fd, In(2), Length]),
    call(2, "open", INT, &[Path, Value, Value]),
    call(3, "close", ZERO, &[Fd]),
    call(4, "stat", ZERO, &[Path, Struct(STAT_LEN)]),
    call(5, "fstat", ZERO, &[Fd, Struct(STAT_LEN)]),
    call(6, "lstat", ZERO, &[Path, Struct(STAT_LEN)]),
    call(7, "poll", DATA, &[PollFds(1), Length, Value]),
    call(8, "lseek", OFFSET, &[Fd, Value, Value]),
    call(17, "pread64", DATA, &[Fd, Out(2), Length, Value]),
    call(18, "pwrite64", DATA, &[Fd, In(2), Length, Value]),
    call(22, "pipe", ZERO, &[Struct(PIPE_LEN)]),
    call(32, "dup", INT, &[Fd]),
    call(33, "dup2", INT, &[Fd, Value]),
    call(41, "socket", INT, &[Value, Value, Value]),
    call(42, "connect", ZERO, &[Fd, Small(2), Length]),
    call(43, "accept", INT, &[Fd, ValueResult(2), Length]),
    call(
        44,
        "sendto",
        DATA,
        &[Fd, In(2), Length, Value, Small(5), Length],
    ),
    call(
        45,
        "recvfrom",
        DATA,
        &[Fd, Out(2), Length, ReceiveFlags, ValueResult(5), Length],
    ),
    call(48, "shutdown", ZERO, &[Fd, Value]),
    call(49, "bind", ZERO, &[Fd, Small(2), Length]),
    call(50, "listen", ZERO, &[Fd, Value]),
    call(51, "getsockname", ZERO, &[Fd, ValueResult(2), Length]),
    call(52, "getpeername", ZERO, &[Fd, ValueResult(2), Length]),
    call(
        54,
        "setsockopt",
        ZERO,
        &[Fd, Value, Value, Small(4), Length],
    ),
    call(
        55,
        "getsockopt",
        ZERO,
        &[Fd, Value, Value, ValueResult(4), Length],
    ),
    call(72, "fcntl", INT, &[Fd, Value, Value]),
    call(74, "fsync", ZERO, &[Fd]),
    call(77, "ftruncate", ZERO, &[Fd, Value]),
    call(79, "getcwd", DATA, &[Out(1), Length]),
    call(80, "chdir", ZERO, &[Path]),
    call(82, "rename", ZERO, &[Path, Path]),
    call(83, "mkdir", ZERO, &[Path, Value]),
    call(84, "rmdir", ZERO, &[Path]),
    call(87, "unlink", ZERO, &[Path]),
    call(217, "getdents64", DATA, &[Fd, Out(2), Length]),
    call(257, "openat", INT, &[DirFd, Path, Value, Value]),
    call(288, "accept4", INT, &[Fd, ValueResult(2), Length, Value]),
    call(292, "dup3", INT, &[Fd, Value, Value]),
    call(293, "pipe2", ZERO, &[Struct(PIPE_LEN), Value]),
];

/// Numbers from here on are not forwarded.
const NUMBERS: usize = TABLE[TABLE.len() - 1].0 as usize + 1;
/// In [`PLACES`]: a number that is not forwarded.
const NOWHERE: u8 = u8::MAX;

/// For each number its place in [`TABLE`]: the look-up is on the way of every call.
const PLACES: [u8; NUMBERS] = {
    let mut places = [NOWHERE; NUMBERS];
    let mut place = 0;
    while place < TABLE.len() {
        places[TABLE[place].0 as usize] = place as u8;
        place += 1;
    }
    places
};

/// Returns the signature of call `number`.
pub(super) fn find(number: u32) -> Option<&'static Signature> {
    let place = *PLACES.get(usize::try_from(number).ok()?)?;
    TABLE.get(usize::from(place)).map(|(_, call)| call)
}

const fn is_ordered() -> bool {
    let mut place = 1;
    while place < TABLE.len() {
        if TABLE[place - 1].0 >= TABLE[place].0 {
            return false;
        }
        place += 1;
    }
    true
}

const _: () = assert!(is_ordered() && TABLE.len() <= NOWHERE as usize);
