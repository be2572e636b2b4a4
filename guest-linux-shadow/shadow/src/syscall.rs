// SPDX-License-Identifier: MIT OR Apache-2.0
//! System calls that are fit for the handler.
//!
//! The handler may interrupt the C library anywhere, between a system call and the look at `errno` too. These
//! calls go to the kernel directly, touch no `errno`, take no lock and allocate nothing. Results are the kernel's:
//! negative errno.
#![expect(unsafe_code, reason = "makes system calls")]

use std::arch::asm;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::AtomicU32;

/// Negative errno, as results carry it.
pub fn error(errno: i32) -> i64 {
    -i64::from(errno)
}

/// Closes `fd`.
///
/// # Safety
/// Nothing in this process uses `fd` any more.
pub unsafe fn close(fd: i32) -> i64 {
    // SAFETY: touches no memory; the caller vouches for the descriptor.
    unsafe { call(libc::SYS_close, [fd as usize, 0, 0, 0, 0, 0]) }
}

/// Controls the device `fd`.
///
/// # Safety
/// `argument` is what `request` of this device takes: the device may write there as far as `request` says.
pub unsafe fn ioctl(fd: BorrowedFd<'_>, request: u64, argument: usize) -> i64 {
    let fd = fd.as_raw_fd() as usize;
    // SAFETY: the caller vouches for the argument.
    unsafe { call(libc::SYS_ioctl, [fd, request as usize, argument, 0, 0, 0]) }
}

/// Makes `fcntl` of a command that takes and returns numbers.
pub fn control_file(fd: i32, command: i32, value: u64) -> i64 {
    let args = [fd as usize, command as usize, value as usize, 0, 0, 0];
    // SAFETY: touches no memory.
    unsafe { call(libc::SYS_fcntl, args) }
}

/// Wakes the thread that sleeps in [`sleep_while`] on `word`, if there is one.
pub fn wake(word: &AtomicU32) {
    let operation = (libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG) as usize;
    // SAFETY: the kernel uses the word's address as a name only.
    unsafe { call(libc::SYS_futex, [address(word), operation, 1, 0, 0, 0]) };
}

/// Sleeps while `word` has this `value`, until [`wake`]; may return earlier.
pub fn sleep_while(word: &AtomicU32, value: u32) {
    let operation = (libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG) as usize;
    let args = [address(word), operation, value as usize, 0, 0, 0];
    // SAFETY: the kernel reads the word.
    unsafe { call(libc::SYS_futex, args) };
}

fn address(word: &AtomicU32) -> usize {
    word.as_ptr().expose_provenance()
}

/// Returns the number of the calling thread.
pub fn thread_id() -> u32 {
    // SAFETY: takes no arguments.
    unsafe { call(libc::SYS_gettid, [0; 6]) as u32 }
}

/// Sends a signal to a thread of this process.
pub fn signal_thread(process: u32, thread: u32, signal: i32) {
    let args = [process as usize, thread as usize, signal as usize, 0, 0, 0];
    // SAFETY: touches no memory; the caller has a handler for the signal.
    unsafe { call(libc::SYS_tgkill, args) };
}

/// Goes into the kernel and back: signals that are pending for this thread are delivered before this returns.
pub fn take_signals() {
    // SAFETY: takes no arguments.
    unsafe { call(libc::SYS_getppid, [0; 6]) };
}

/// Lets other threads have the CPU.
pub fn yield_cpu() {
    // SAFETY: takes no arguments.
    unsafe { call(libc::SYS_sched_yield, [0; 6]) };
}

/// Makes a system call.
///
/// # Safety
/// As the call demands.
pub unsafe fn call(number: i64, args: [usize; 6]) -> i64 {
    let result: i64;
    // SAFETY: the kernel's calling convention on x86-64; memory is clobbered by default.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") args[0],
            in("rsi") args[1],
            in("rdx") args[2],
            in("r10") args[3],
            in("r8") args[4],
            in("r9") args[5],
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}
