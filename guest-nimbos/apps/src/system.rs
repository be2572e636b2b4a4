// SPDX-License-Identifier: MIT OR Apache-2.0
//! System calls, one function each. Results below 0 are error numbers; see [`nimbos::abi`].
#![expect(unsafe_code, reason = "enters the kernel")]

use core::arch::asm;
use core::ffi::CStr;

use nimbos::abi::{TimeSpec, number};

/// An error number of Linux, negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error(pub i64);

impl Error {
    /// No such file.
    pub const NO_ENTRY: Self = Self(-2);
    /// The other side of the channel is gone.
    pub const IO: Self = Self(-5);
    /// No such open file.
    pub const BAD_FILE: Self = Self(-9);
    /// An address that is not the program's.
    pub const FAULT: Self = Self(-14);
}

/// Reads at most as many bytes as `into` has; returns how many. May be fewer.
pub fn read(fd: i32, into: &mut [u8]) -> Result<usize, Error> {
    // SAFETY: the kernel writes to `into` only.
    let result = unsafe {
        call(
            number::READ,
            int(fd),
            into.as_mut_ptr().expose_provenance() as u64,
            into.len() as u64,
        )
    };
    checked(result).map(|count| count as usize)
}

/// Writes at most as many bytes as `from` has; returns how many. May be fewer.
pub fn write(fd: i32, from: &[u8]) -> Result<usize, Error> {
    write_at(
        fd,
        from.as_ptr().expose_provenance() as u64,
        from.len() as u64,
    )
}

/// Writes `len` bytes at any address at all; the kernel checks it.
pub fn write_at(fd: i32, address: u64, len: u64) -> Result<usize, Error> {
    // SAFETY: the kernel writes nothing.
    let result = unsafe { call(number::WRITE, int(fd), address, len) };
    checked(result).map(|count| count as usize)
}

/// Opens a file of Linux with Linux's flags and permissions; returns its descriptor.
pub fn open(path: &CStr, flags: i32, mode: u32) -> Result<i32, Error> {
    // SAFETY: the kernel writes nothing.
    let result = unsafe {
        call(
            number::OPEN,
            path.as_ptr().expose_provenance() as u64,
            int(flags),
            mode.into(),
        )
    };
    checked(result).map(|fd| fd as i32)
}

/// Closes a file.
pub fn close(fd: i32) -> Result<(), Error> {
    // SAFETY: the kernel writes nothing.
    checked(unsafe { call(number::CLOSE, int(fd), 0, 0) }).map(drop)
}

/// Lets other processes run.
pub fn yield_now() {
    // SAFETY: the kernel writes nothing.
    unsafe { call(number::YIELD, 0, 0, 0) };
}

/// Returns the number of this process.
pub fn process_id() -> i64 {
    // SAFETY: the kernel writes nothing.
    unsafe { call(number::GETPID, 0, 0, 0) }
}

/// Ends the program.
pub fn exit(status: i32) -> ! {
    loop {
        // SAFETY: does not return.
        unsafe { call(number::EXIT, int(status), 0, 0) };
    }
}

/// Returns the milliseconds since the kernel started.
pub fn time_ms() -> i64 {
    // SAFETY: the kernel writes nothing.
    unsafe { call(number::GET_TIME_MS, 0, 0, 0) }
}

/// Returns the time since the kernel started.
pub fn time() -> Result<TimeSpec, Error> {
    let mut time = TimeSpec {
        seconds: 0,
        nanoseconds: 0,
    };
    // SAFETY: the kernel writes to `time` only.
    let result = unsafe {
        call(
            number::CLOCK_GETTIME,
            0,
            (&raw mut time).expose_provenance() as u64,
            0,
        )
    };
    checked(result).map(|_| time)
}

/// Makes a forwarded call that does nothing.
pub fn forward_null() -> Result<(), Error> {
    // SAFETY: the kernel writes nothing.
    checked(unsafe { call(number::FORWARD_NULL, 0, 0, 0) }).map(drop)
}

/// Returns a counter; [`nimbos::abi::counter`] has the indices.
pub fn counter(index: u64) -> Result<u64, Error> {
    // SAFETY: the kernel writes nothing.
    let result = unsafe { call(number::COUNTERS, index, 0, 0) };
    checked(result).map(|count| count as u64)
}

/// Returns the time-stamp counter.
pub fn tsc() -> u64 {
    // SAFETY: RDTSC only reads a counter.
    unsafe { core::arch::x86_64::_rdtsc() }
}

fn checked(result: i64) -> Result<i64, Error> {
    if result < 0 {
        Err(Error(result))
    } else {
        Ok(result)
    }
}

fn int(value: i32) -> u64 {
    i64::from(value) as u64
}

/// Does a system call. SYSCALL takes RCX and R11; the kernel preserves all other registers.
///
/// # Safety
/// What the kernel writes for this call is memory that may be written.
unsafe fn call(number: u64, first: u64, second: u64, third: u64) -> i64 {
    let result;
    // SAFETY: the caller vouches for what the kernel writes. Without `nomem`, because it reads and writes memory behind
    // the addresses among the arguments.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") first,
            in("rsi") second,
            in("rdx") third,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}
