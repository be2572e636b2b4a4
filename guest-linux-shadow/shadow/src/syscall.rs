// SPDX-License-Identifier: MIT OR Apache-2.0
//! System calls that are fit for the user-interrupt handler.
//!
//! The handler may interrupt the C library anywhere, between a system call and the look at `errno` too. These
//! calls go to the kernel directly, touch no `errno`, take no lock and allocate nothing. Results are the kernel's:
//! negative errno.
#![expect(unsafe_code, reason = "makes system calls")]

use std::arch::asm;
use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};

use forward_ring::Buffer;

/// Reads at most `len` bytes, and no more than the buffer holds, to `offset` of `buffer`.
pub fn read(fd: i32, buffer: Buffer<'_>, offset: usize, len: usize) -> i64 {
    let (address, len) = part(buffer, offset, len);
    // SAFETY: the kernel writes these `len` bytes of the buffer, which is shared memory that nobody holds a Rust
    // reference to.
    unsafe { syscall(libc::SYS_read, [fd as usize, address, len, 0]) }
}

/// Writes the `len` bytes at `offset` of `buffer`, and no more than it holds.
pub fn write(fd: i32, buffer: Buffer<'_>, offset: usize, len: usize) -> i64 {
    let (address, len) = part(buffer, offset, len);
    // SAFETY: the kernel only reads the buffer, which is mapped.
    unsafe { syscall(libc::SYS_write, [fd as usize, address, len, 0]) }
}

/// Returns the address of `offset` in the buffer, and as much of `len` as lies in it.
fn part(buffer: Buffer<'_>, offset: usize, len: usize) -> (usize, usize) {
    let offset = offset.min(buffer.len());
    let start = buffer.as_ptr().wrapping_add(offset);
    (start.expose_provenance(), len.min(buffer.len() - offset))
}

/// `struct open_how` of openat2().
#[repr(C)]
struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

/// Opens `path` as if `root` were the root directory: neither `..` nor links lead out.
pub fn open_in_root(root: BorrowedFd<'_>, path: &CStr, flags: i32, mode: u32) -> i64 {
    let creates = flags & libc::O_CREAT != 0 || flags & libc::O_TMPFILE == libc::O_TMPFILE;
    let how = OpenHow {
        flags: u64::from((flags | libc::O_CLOEXEC) as u32),
        mode: if creates { u64::from(mode & 0o7777) } else { 0 },
        resolve: libc::RESOLVE_IN_ROOT,
    };
    let how_pointer = &raw const how;
    let args = [
        root.as_raw_fd() as usize,
        path.as_ptr().expose_provenance(),
        how_pointer.expose_provenance(),
        size_of::<OpenHow>(),
    ];
    // SAFETY: the kernel only reads the string and the structure, which both live to the end of the call.
    unsafe { syscall(libc::SYS_openat2, args) }
}

/// Closes `fd`.
///
/// # Safety
/// Nothing in this process owns `fd`.
pub unsafe fn close(fd: i32) -> i64 {
    // SAFETY: touches no memory; the caller vouches for the descriptor.
    unsafe { syscall(libc::SYS_close, [fd as usize, 0, 0, 0]) }
}

/// Controls the device `fd`.
///
/// # Safety
/// `argument` is what `request` of this device takes: the device may write there as far as `request` says.
pub unsafe fn ioctl(fd: BorrowedFd<'_>, request: u64, argument: usize) -> i64 {
    // SAFETY: the caller vouches for the argument.
    unsafe {
        syscall(
            libc::SYS_ioctl,
            [fd.as_raw_fd() as usize, request as usize, argument, 0],
        )
    }
}

/// Makes a system call of up to four arguments.
///
/// # Safety
/// As the call demands.
unsafe fn syscall(number: i64, args: [usize; 4]) -> i64 {
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
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}
