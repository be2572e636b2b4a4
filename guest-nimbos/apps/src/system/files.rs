// SPDX-License-Identifier: MIT OR Apache-2.0
//! System calls about files and directories. Most are forwarded.

use core::ffi::CStr;

use nimbos::abi;

use super::{Error, checked, int, invoke, path};
use crate::linux::{STAT_LEN, number};

/// Reads at an offset of the file, whose own place stays; returns how many bytes.
pub fn read_at(fd: i32, into: &mut [u8], offset: u64) -> Result<usize, Error> {
    let address = into.as_mut_ptr().expose_provenance() as u64;
    let args = [int(fd), address, into.len() as u64, offset];
    // SAFETY: the kernel writes to `into` only.
    checked(unsafe { invoke(number::PREAD, args) }).map(|count| count as usize)
}

/// Writes at an offset of the file, whose own place stays; returns how many bytes.
pub fn write_at_offset(fd: i32, from: &[u8], offset: u64) -> Result<usize, Error> {
    let address = from.as_ptr().expose_provenance() as u64;
    let args = [int(fd), address, from.len() as u64, offset];
    // SAFETY: the kernel writes nothing.
    checked(unsafe { invoke(number::PWRITE, args) }).map(|count| count as usize)
}

/// Sets the file's place; `whence` 0 from the beginning, 1 from the place, 2 from the end. Returns the new place.
pub fn seek(fd: i32, offset: i64, whence: u64) -> Result<u64, Error> {
    // SAFETY: the kernel writes nothing.
    checked(unsafe { invoke(number::LSEEK, [int(fd), offset as u64, whence]) })
        .map(|place| place as u64)
}

/// Returns what Linux knows of an open file.
pub fn file_status(fd: i32) -> Result<[u8; STAT_LEN], Error> {
    let mut status = [0; STAT_LEN];
    let address = status.as_mut_ptr().expose_provenance() as u64;
    // SAFETY: the kernel writes to `status` only.
    checked(unsafe { invoke(number::FSTAT, [int(fd), address]) }).map(|_| status)
}

/// Returns what Linux knows of the file at a path.
pub fn path_status(name: &CStr) -> Result<[u8; STAT_LEN], Error> {
    let mut status = [0; STAT_LEN];
    let address = status.as_mut_ptr().expose_provenance() as u64;
    // SAFETY: the kernel writes to `status` only.
    checked(unsafe { invoke(number::STAT, [path(name), address]) }).map(|_| status)
}

/// Cuts or lengthens a file.
pub fn truncate(fd: i32, len: u64) -> Result<(), Error> {
    // SAFETY: the kernel writes nothing.
    checked(unsafe { invoke(number::FTRUNCATE, [int(fd), len]) }).map(drop)
}

/// Has the file written to its medium.
pub fn sync(fd: i32) -> Result<(), Error> {
    // SAFETY: the kernel writes nothing.
    checked(unsafe { invoke(number::FSYNC, [int(fd)]) }).map(drop)
}

/// Returns another descriptor of the same open file, the lowest that is free.
pub fn duplicate(fd: i32) -> Result<i32, Error> {
    // SAFETY: the kernel writes nothing.
    checked(unsafe { invoke(abi::number::DUP, [int(fd)]) }).map(|fd| fd as i32)
}

/// Makes `new` a descriptor of the same open file; what it was is closed.
pub fn duplicate_to(fd: i32, new: i32) -> Result<i32, Error> {
    // SAFETY: the kernel writes nothing.
    checked(unsafe { invoke(abi::number::DUP2, [int(fd), int(new)]) }).map(|fd| fd as i32)
}

/// Makes a pipe; returns the end to read from and the end to write to.
pub fn pipe(flags: i32) -> Result<(i32, i32), Error> {
    let mut ends = [0_i32; 2];
    let address = ends.as_mut_ptr().expose_provenance() as u64;
    // SAFETY: the kernel writes to `ends` only.
    checked(unsafe { invoke(number::PIPE2, [address, int(flags)]) }).map(|_| (ends[0], ends[1]))
}

/// Reads entries of a directory; returns how many bytes, 0 at the end.
pub fn directory_entries(fd: i32, into: &mut [u8]) -> Result<usize, Error> {
    let address = into.as_mut_ptr().expose_provenance() as u64;
    let args = [int(fd), address, into.len() as u64];
    // SAFETY: the kernel writes to `into` only.
    checked(unsafe { invoke(number::GETDENTS64, args) }).map(|count| count as usize)
}

/// Writes the path of the current directory; returns its length with the NUL.
pub fn current_directory(into: &mut [u8]) -> Result<usize, Error> {
    let address = into.as_mut_ptr().expose_provenance() as u64;
    // SAFETY: the kernel writes to `into` only.
    checked(unsafe { invoke(number::GETCWD, [address, into.len() as u64]) })
        .map(|count| count as usize)
}

/// Makes a directory the current one.
pub fn change_directory(name: &CStr) -> Result<(), Error> {
    // SAFETY: the kernel writes nothing.
    checked(unsafe { invoke(number::CHDIR, [path(name)]) }).map(drop)
}

/// Gives a file another name.
pub fn rename(old: &CStr, new: &CStr) -> Result<(), Error> {
    // SAFETY: the kernel writes nothing.
    checked(unsafe { invoke(number::RENAME, [path(old), path(new)]) }).map(drop)
}

/// Makes a directory.
pub fn make_directory(name: &CStr, mode: u32) -> Result<(), Error> {
    // SAFETY: the kernel writes nothing.
    checked(unsafe { invoke(number::MKDIR, [path(name), mode.into()]) }).map(drop)
}

/// Removes an empty directory.
pub fn remove_directory(name: &CStr) -> Result<(), Error> {
    // SAFETY: the kernel writes nothing.
    checked(unsafe { invoke(number::RMDIR, [path(name)]) }).map(drop)
}

/// Removes a name of a file.
pub fn remove(name: &CStr) -> Result<(), Error> {
    // SAFETY: the kernel writes nothing.
    checked(unsafe { invoke(number::UNLINK, [path(name)]) }).map(drop)
}
