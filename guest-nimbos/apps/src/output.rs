// SPDX-License-Identifier: MIT OR Apache-2.0
//! Formatted output: [`print!`] and [`println!`] to standard output, [`eprint!`] and [`eprintln!`] to standard error.
//!
//! [`print!`]: crate::print!
//! [`println!`]: crate::println!
//! [`eprint!`]: crate::eprint!
//! [`eprintln!`]: crate::eprintln!

use core::fmt::{self, Write};

use crate::file::File;

const BUFFER_LEN: usize = 256;

/// Prints to standard output, which is the shadow process's unless it was redirected.
#[macro_export]
macro_rules! print {
    ($($text:tt)*) => {
        $crate::output::print($crate::abi::STDOUT, format_args!($($text)*))
    };
}

/// Prints a line to standard output.
#[macro_export]
macro_rules! println {
    ($($text:tt)*) => {
        $crate::print!("{}\n", format_args!($($text)*))
    };
}

/// Prints to standard error, which is the console of this cell unless it was redirected.
#[macro_export]
macro_rules! eprint {
    ($($text:tt)*) => {
        $crate::output::print($crate::abi::STDERR, format_args!($($text)*))
    };
}

/// Prints a line to standard error.
#[macro_export]
macro_rules! eprintln {
    ($($text:tt)*) => {
        $crate::eprint!("{}\n", format_args!($($text)*))
    };
}

/// Prints to a file, in as few writes as the length allows. What cannot be written is lost.
pub fn print(fd: i32, text: fmt::Arguments<'_>) {
    let mut output = Buffered::new(File::from_descriptor(fd));
    let _ = output.write_fmt(text);
    output.flush();
}

/// Collects what is printed to a file, so that it goes there in few writes. What is left goes with [`Self::flush`].
pub struct Buffered {
    file: File,
    bytes: [u8; BUFFER_LEN],
    len: usize,
}

impl Buffered {
    /// Begins to collect for `file`.
    pub const fn new(file: File) -> Self {
        Self {
            file,
            bytes: [0; BUFFER_LEN],
            len: 0,
        }
    }

    /// Writes what is there. What cannot be written is lost.
    pub fn flush(&mut self) {
        let _ = self.file.write_all(&self.bytes[..self.len]);
        self.len = 0;
    }
}

impl Write for Buffered {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for &byte in text.as_bytes() {
            if self.len == BUFFER_LEN {
                self.flush();
            }
            self.bytes[self.len] = byte;
            self.len += 1;
        }
        Ok(())
    }
}
