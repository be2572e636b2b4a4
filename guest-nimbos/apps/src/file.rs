// SPDX-License-Identifier: MIT OR Apache-2.0
//! Files of Linux.

use core::ffi::CStr;

use crate::linux::{DIRECTORY_TYPE, FILE_TYPE, STAT_LEN, field};
use crate::system::{self, Error, files};

/// Open for reading.
pub const READ_ONLY: i32 = 0;
/// Open for writing.
pub const WRITE_ONLY: i32 = 1;
/// Open for reading and writing.
pub const READ_WRITE: i32 = 2;
/// Create the file if there is none.
pub const CREATE: i32 = 0o100;
/// With [`CREATE`]: fail if there is one.
pub const EXCLUSIVE: i32 = 0o200;
/// Empty the file.
pub const TRUNCATE: i32 = 0o1000;
/// Write at the end, always.
pub const APPEND: i32 = 0o2000;
/// Fail if it is no directory.
pub const DIRECTORY: i32 = 0o200_000;
/// Closed when the process runs another program.
pub const CLOSE_ON_EXEC: i32 = 0o2_000_000;

/// Permissions of new files.
pub const DEFAULT_MODE: u32 = 0o644;
/// Permissions of new directories.
pub const DEFAULT_DIRECTORY_MODE: u32 = 0o755;

/// An open file. Dropping it does not close it: closing can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct File {
    descriptor: i32,
}

/// Where a file is read or written next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeekFrom {
    /// So many bytes behind the beginning.
    Start(u64),
    /// So many bytes behind the place, or before it.
    Current(i64),
    /// So many bytes behind the end, or before it.
    End(i64),
}

impl File {
    /// Standard input.
    pub const STANDARD_INPUT: Self = Self { descriptor: 0 };
    /// Standard output.
    pub const STANDARD_OUTPUT: Self = Self { descriptor: 1 };
    /// Standard error.
    pub const STANDARD_ERROR: Self = Self { descriptor: 2 };

    /// Opens a file with Linux's flags; `mode` are the permissions if it is created.
    pub fn open(path: &CStr, flags: i32, mode: u32) -> Result<Self, Error> {
        system::open(path, flags, mode).map(Self::from_descriptor)
    }

    /// Opens an empty file for writing.
    pub fn create(path: &CStr) -> Result<Self, Error> {
        Self::open(path, CREATE | WRITE_ONLY | TRUNCATE, DEFAULT_MODE)
    }

    /// Returns a file that is open.
    pub const fn from_descriptor(descriptor: i32) -> Self {
        Self { descriptor }
    }

    /// Returns the file's number in this process.
    pub const fn descriptor(&self) -> i32 {
        self.descriptor
    }

    /// Reads once; returns the number of bytes, 0 at the end.
    pub fn read(&self, into: &mut [u8]) -> Result<usize, Error> {
        system::read(self.descriptor, into)
    }

    /// Reads until `into` is full or the file ends; returns the number of bytes.
    pub fn read_full(&self, into: &mut [u8]) -> Result<usize, Error> {
        let mut len = 0;
        while len < into.len() {
            match self.read(&mut into[len..])? {
                0 => break,
                count => len += count,
            }
        }
        Ok(len)
    }

    /// Reads once at an offset; the file's own place stays.
    pub fn read_at(&self, into: &mut [u8], offset: u64) -> Result<usize, Error> {
        files::read_at(self.descriptor, into, offset)
    }

    /// Writes once; returns the number of bytes.
    pub fn write(&self, from: &[u8]) -> Result<usize, Error> {
        system::write(self.descriptor, from)
    }

    /// Writes everything.
    pub fn write_all(&self, mut from: &[u8]) -> Result<(), Error> {
        while !from.is_empty() {
            match self.write(from)? {
                0 => return Err(Error::IO),
                count => from = &from[count..],
            }
        }
        Ok(())
    }

    /// Writes once at an offset; the file's own place stays.
    pub fn write_at(&self, from: &[u8], offset: u64) -> Result<usize, Error> {
        files::write_at_offset(self.descriptor, from, offset)
    }

    /// Goes to a place of the file; returns its distance from the beginning.
    pub fn seek(&self, to: SeekFrom) -> Result<u64, Error> {
        let (offset, whence) = match to {
            SeekFrom::Start(offset) => (i64::try_from(offset).map_err(|_| Error::INVALID)?, 0),
            SeekFrom::Current(offset) => (offset, 1),
            SeekFrom::End(offset) => (offset, 2),
        };
        files::seek(self.descriptor, offset, whence)
    }

    /// Returns what Linux knows of the file.
    pub fn status(&self) -> Result<Status, Error> {
        files::file_status(self.descriptor).map(|bytes| Status::from_bytes(&bytes))
    }

    /// Cuts the file, or lengthens it with zeroes.
    pub fn truncate(&self, len: u64) -> Result<(), Error> {
        files::truncate(self.descriptor, len)
    }

    /// Has the file written to its medium.
    pub fn sync(&self) -> Result<(), Error> {
        files::sync(self.descriptor)
    }

    /// Returns another descriptor of the same open file: they share their place.
    pub fn duplicate(&self) -> Result<Self, Error> {
        files::duplicate(self.descriptor).map(Self::from_descriptor)
    }

    /// Makes `other` the same open file; what it was is closed.
    pub fn duplicate_to(&self, other: Self) -> Result<(), Error> {
        files::duplicate_to(self.descriptor, other.descriptor).map(drop)
    }

    /// Closes the file.
    pub fn close(self) -> Result<(), Error> {
        system::close(self.descriptor)
    }
}

/// Makes a pipe; returns the end to read from and the end to write to.
pub fn pipe() -> Result<(File, File), Error> {
    let (from, to) = files::pipe(0)?;
    Ok((File::from_descriptor(from), File::from_descriptor(to)))
}

/// Copies the rest of a file to another; returns the number of bytes.
pub fn copy(from: File, to: File) -> Result<u64, Error> {
    let mut piece = [0; 16 << 10];
    let mut total = 0;
    loop {
        match from.read(&mut piece)? {
            0 => return Ok(total),
            count => {
                to.write_all(&piece[..count])?;
                total += count as u64;
            }
        }
    }
}

/// What Linux knows of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Number of the file in its file system.
    pub inode: u64,
    /// How many names it has.
    pub links: u64,
    /// Kind and permissions.
    pub mode: u32,
    /// Its length in bytes.
    pub len: u64,
    /// When it was changed: seconds since 1970.
    pub modified: i64,
}

impl Status {
    /// Asks for the file at a path.
    pub fn of(path: &CStr) -> Result<Self, Error> {
        files::path_status(path).map(|bytes| Self::from_bytes(&bytes))
    }

    /// Takes the fields out of Linux's `struct stat`. (stat(2); asm/stat.h of x86-64)
    fn from_bytes(bytes: &[u8; STAT_LEN]) -> Self {
        Self {
            inode: u64::from_le_bytes(field(bytes, 8)),
            links: u64::from_le_bytes(field(bytes, 16)),
            mode: u32::from_le_bytes(field(bytes, 24)),
            len: u64::from_le_bytes(field(bytes, 48)),
            modified: i64::from_le_bytes(field(bytes, 88)),
        }
    }

    /// Tells whether it is a directory.
    pub fn is_directory(&self) -> bool {
        self.mode & FILE_TYPE == DIRECTORY_TYPE
    }

    /// Returns kind and permissions as `ls -l` shows them.
    pub fn mode_text(&self) -> [u8; 10] {
        let kind = match self.mode & FILE_TYPE {
            0o140_000 => b's',
            0o120_000 => b'l',
            0o060_000 => b'b',
            DIRECTORY_TYPE => b'd',
            0o020_000 => b'c',
            0o010_000 => b'p',
            _ => b'-',
        };
        let mut text = [kind; 10];
        for (place, letter) in text[1..].iter_mut().enumerate() {
            let is_set = self.mode & 0o400 >> place != 0;
            *letter = if is_set { b"rwx"[place % 3] } else { b'-' };
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    extern crate std;
    use core::mem::offset_of;

    #[test]
    fn modes_are_shown_as_letters() {
        let text = |mode| {
            let bytes = Status {
                inode: 0,
                links: 1,
                mode,
                len: 0,
                modified: 0,
            }
            .mode_text();
            std::string::String::from_utf8(bytes.to_vec()).unwrap()
        };
        assert_eq!(text(0o100_644), "-rw-r--r--");
        assert_eq!(text(0o040_755), "drwxr-xr-x");
        assert_eq!(text(0o020_620), "crw--w----");
        assert_eq!(text(0o010_001), "p--------x");
    }

    #[test]
    fn the_fields_are_where_linux_has_them() {
        assert_eq!(STAT_LEN, size_of::<libc::stat>());
        let mut bytes = [0xaa; STAT_LEN];
        for (offset, value) in [
            (offset_of!(libc::stat, st_ino), 1_u64),
            (offset_of!(libc::stat, st_nlink), 2),
            (offset_of!(libc::stat, st_size), 3),
            (offset_of!(libc::stat, st_mtime), 4),
        ] {
            bytes[offset..][..8].copy_from_slice(&value.to_le_bytes());
        }
        let mode = 0o040_755_u32.to_le_bytes();
        bytes[offset_of!(libc::stat, st_mode)..][..4].copy_from_slice(&mode);
        let expected = Status {
            inode: 1,
            links: 2,
            mode: 0o040_755,
            len: 3,
            modified: 4,
        };
        assert_eq!(Status::from_bytes(&bytes), expected);
        assert!(expected.is_directory());
    }
}
