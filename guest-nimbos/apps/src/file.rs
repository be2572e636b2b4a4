// SPDX-License-Identifier: MIT OR Apache-2.0
//! Files of Linux.

use core::ffi::CStr;

use crate::system::{self, Error};

/// Open for reading.
pub const READ_ONLY: i32 = 0;
/// Open for reading and writing.
pub const READ_WRITE: i32 = 2;
/// Create the file if there is none.
pub const CREATE: i32 = 0o100;
/// Empty the file.
pub const TRUNCATE: i32 = 0o1000;

/// An open file. Dropping it does not close it: closing can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct File {
    descriptor: i32,
}

impl File {
    /// Opens a file with Linux's flags; `mode` are the permissions if it is created.
    pub fn open(path: &CStr, flags: i32, mode: u32) -> Result<Self, Error> {
        system::open(path, flags, mode).map(Self::from_descriptor)
    }

    /// Returns a file that is open.
    pub const fn from_descriptor(descriptor: i32) -> Self {
        Self { descriptor }
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

    /// Closes the file.
    pub fn close(self) -> Result<(), Error> {
        system::close(self.descriptor)
    }
}
