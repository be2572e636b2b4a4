// SPDX-License-Identifier: MIT OR Apache-2.0
//! System calls: the contract between the kernel and its programs.
//!
//! SYSCALL: number in RAX, arguments in RDI, RSI, RDX, result in RAX (negative errno). An unknown number ends the
//! program with status -1, as NimbOS does. `docs/interfaces.md`, "Ring", has the table.

/// Numbers of the system calls.
pub mod number {
    /// `read(fd, buffer, length)`.
    pub const READ: u64 = 0;
    /// `write(fd, buffer, length)`.
    pub const WRITE: u64 = 1;
    /// `open(path, flags, mode)`; the path ends with NUL.
    pub const OPEN: u64 = 2;
    /// `close(fd)`.
    pub const CLOSE: u64 = 3;
    /// `yield()`.
    pub const YIELD: u64 = 24;
    /// `getpid()`.
    pub const GETPID: u64 = 39;
    /// `exit(status)`.
    pub const EXIT: u64 = 60;
    /// `get_time_ms()`: milliseconds since the kernel started.
    pub const GET_TIME_MS: u64 = 96;
    /// `clock_gettime(clock, *timespec)`: time since the kernel started; the clock is ignored.
    pub const CLOCK_GETTIME: u64 = 228;
    /// `forward_null()`: a forwarded call that does nothing.
    pub const FORWARD_NULL: u64 = 500;
    /// `counters(index)`: see [`super::counter`].
    pub const COUNTERS: u64 = 501;
}

/// Indices of the system call [`number::COUNTERS`].
pub mod counter {
    /// VM exits of the own cell's CPU. The query is one itself.
    pub const VM_EXITS: u64 = 0;
    /// Notifications received from the channel's server.
    pub const RECEIVED: u64 = 1;
    /// Notifications sent to the channel's server.
    pub const SENT: u64 = 2;
    /// This plus n is the server's counter n.
    pub const SERVER_BASE: u64 = 16;
    /// VM exits of the server's cell.
    pub const SERVER_VM_EXITS: u64 = SERVER_BASE;
}

/// Standard output: a file of the server.
pub const STDOUT: i32 = 1;
/// Standard error: the cell's own console.
pub const STDERR: i32 = 2;

/// Linux's numbers for what went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i64)]
pub enum Errno {
    /// No such file.
    NoEntry = -2,
    /// The channel does not work, or its other side is gone.
    Io = -5,
    /// No such open file.
    BadFile = -9,
    /// An address outside the program's memory.
    Fault = -14,
    /// Invalid argument.
    Invalid = -22,
    /// A path that does not end.
    NameTooLong = -36,
}

/// Time as `clock_gettime` stores it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct TimeSpec {
    /// Whole seconds.
    pub seconds: u64,
    /// Nanoseconds of the current second.
    pub nanoseconds: u64,
}
