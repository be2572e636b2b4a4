// SPDX-License-Identifier: MIT OR Apache-2.0
//! The client's files: what it may open, and which descriptors are its own.
//!
//! Descriptors of the client are this process's numbers. It may use those that it opened, and 0, 1 and 2; to
//! anything else of this process (the device above all) it has no access.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

use forward_ring::Buffer;

use crate::syscall;

/// Descriptors that a client can have, from 0 up.
const DESCRIPTORS: usize = 1024;
/// Longest path, with its NUL: the kernel's PATH_MAX.
const PATH_LEN: usize = 4096;

/// Negative errno, as results carry it.
fn error(errno: i32) -> i64 {
    -i64::from(errno)
}

/// The client's files.
#[derive(Debug)]
pub struct Files {
    root: OwnedFd,
    own: [u64; DESCRIPTORS / 64],
}

impl Files {
    /// Starts with descriptors 0, 1 and 2; paths are resolved as if `root` were the root directory.
    pub fn new(root: OwnedFd) -> Self {
        let mut own = [0; DESCRIPTORS / 64];
        own[0] = 0b111;
        Self { root, own }
    }

    /// Reads into the buffer.
    pub fn read(&self, fd: i32, buffer: Buffer<'_>, offset: usize, len: usize) -> i64 {
        match self.slot(fd) {
            Some(_) => syscall::read(fd, buffer, offset, len),
            None => error(libc::EBADF),
        }
    }

    /// Writes from the buffer.
    pub fn write(&self, fd: i32, buffer: Buffer<'_>, offset: usize, len: usize) -> i64 {
        match self.slot(fd) {
            Some(_) => syscall::write(fd, buffer, offset, len),
            None => error(libc::EBADF),
        }
    }

    /// Opens the file whose path is in the buffer.
    pub fn open(&mut self, buffer: Buffer<'_>, offset: usize, flags: i32, mode: u32) -> i64 {
        let mut path = [0; PATH_LEN];
        let len = buffer.len().saturating_sub(offset).min(PATH_LEN);
        if buffer.read(offset, &mut path[..len]).is_err() {
            return error(libc::EINVAL);
        }
        let Ok(path) = CStr::from_bytes_until_nul(&path[..len]) else {
            return error(libc::ENAMETOOLONG);
        };
        let fd = syscall::open_in_root(self.root.as_fd(), path, flags, mode);
        if fd >= 0 { self.adopt(fd as i32) } else { fd }
    }

    /// Closes a descriptor of the client. 0, 1 and 2 end for the client only: this process goes on using them.
    pub fn close(&mut self, fd: i32) -> i64 {
        let Some((word, bit)) = self.slot(fd) else {
            return error(libc::EBADF);
        };
        self.own[word] &= !bit;
        if fd <= 2 {
            return 0;
        }
        #[expect(unsafe_code, reason = "closes a descriptor by its number")]
        // SAFETY: the table had it, so it came from `open_in_root` and only the client used it.
        unsafe {
            syscall::close(fd)
        }
    }

    fn adopt(&mut self, fd: i32) -> i64 {
        if let Some((word, bit)) = position(fd) {
            self.own[word] |= bit;
            return i64::from(fd);
        }
        #[expect(unsafe_code, reason = "closes a descriptor by its number")]
        // SAFETY: it was opened a moment ago and nobody else knows it.
        unsafe {
            syscall::close(fd)
        };
        error(libc::EMFILE)
    }

    /// Returns the place of a descriptor in the table if it is the client's.
    fn slot(&self, fd: i32) -> Option<(usize, u64)> {
        position(fd).filter(|&(word, bit)| self.own[word] & bit != 0)
    }
}

fn position(fd: i32) -> Option<(usize, u64)> {
    let fd = usize::try_from(fd).ok().filter(|&fd| fd < DESCRIPTORS)?;
    Some((fd / 64, 1 << (fd % 64)))
}
