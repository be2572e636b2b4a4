// SPDX-License-Identifier: MIT OR Apache-2.0
//! The calls that are forwarded. Numbers and arguments are those of the manual pages, section 2.

use super::{Arg, Signature};
use Arg::{DirFd, Fd, In, Length, Out, Path, PollFds, Small, Struct, Value, ValueResult};

/// Size of Linux's `struct stat` on x86-64.
const STAT_LEN: u16 = 144;
/// Size of the two descriptors of a pipe.
const PIPE_LEN: u16 = 8;

const fn call(number: u32, name: &'static str, args: &'static [Arg]) -> (u32, Signature) {
    (number, Signature { name, args })
}

/// Ordered by number.
pub(super) const TABLE: &[(u32, Signature)] = &[
    call(0, "read", &[Fd, Out(2), Length]),
    call(1, "write", &[Fd, In(2), Length]),
    call(2, "open", &[Path, Value, Value]),
    call(3, "close", &[Fd]),
    call(4, "stat", &[Path, Struct(STAT_LEN)]),
    call(5, "fstat", &[Fd, Struct(STAT_LEN)]),
    call(6, "lstat", &[Path, Struct(STAT_LEN)]),
    call(7, "poll", &[PollFds(1), Length, Value]),
    call(8, "lseek", &[Fd, Value, Value]),
    call(17, "pread64", &[Fd, Out(2), Length, Value]),
    call(18, "pwrite64", &[Fd, In(2), Length, Value]),
    call(22, "pipe", &[Struct(PIPE_LEN)]),
    call(32, "dup", &[Fd]),
    call(33, "dup2", &[Fd, Value]),
    call(41, "socket", &[Value, Value, Value]),
    call(42, "connect", &[Fd, Small(2), Length]),
    call(43, "accept", &[Fd, ValueResult(2), Length]),
    call(44, "sendto", &[Fd, In(2), Length, Value, Small(5), Length]),
    call(
        45,
        "recvfrom",
        &[Fd, Out(2), Length, Value, ValueResult(5), Length],
    ),
    call(48, "shutdown", &[Fd, Value]),
    call(49, "bind", &[Fd, Small(2), Length]),
    call(50, "listen", &[Fd, Value]),
    call(51, "getsockname", &[Fd, ValueResult(2), Length]),
    call(52, "getpeername", &[Fd, ValueResult(2), Length]),
    call(54, "setsockopt", &[Fd, Value, Value, Small(4), Length]),
    call(
        55,
        "getsockopt",
        &[Fd, Value, Value, ValueResult(4), Length],
    ),
    call(72, "fcntl", &[Fd, Value, Value]),
    call(74, "fsync", &[Fd]),
    call(77, "ftruncate", &[Fd, Value]),
    call(79, "getcwd", &[Out(1), Length]),
    call(80, "chdir", &[Path]),
    call(82, "rename", &[Path, Path]),
    call(83, "mkdir", &[Path, Value]),
    call(84, "rmdir", &[Path]),
    call(87, "unlink", &[Path]),
    call(217, "getdents64", &[Fd, Out(2), Length]),
    call(257, "openat", &[DirFd, Path, Value, Value]),
    call(288, "accept4", &[Fd, ValueResult(2), Length, Value]),
    call(292, "dup3", &[Fd, Value, Value]),
    call(293, "pipe2", &[Struct(PIPE_LEN), Value]),
];

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

const _: () = assert!(is_ordered());
