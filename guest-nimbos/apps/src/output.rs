// SPDX-License-Identifier: MIT OR Apache-2.0
//! Formatted output: [`print!`] to Linux's standard output, [`eprint!`] to the cell's own console.
//!
//! [`print!`]: crate::print!
//! [`eprint!`]: crate::eprint!

use core::fmt::{self, Write};

use crate::file::File;

const BUFFER_LEN: usize = 256;

/// Prints to standard output, which is the shadow process's.
#[macro_export]
macro_rules! print {
    ($($text:tt)*) => {
        $crate::output::print($crate::abi::STDOUT, format_args!($($text)*))
    };
}

/// Prints to standard error, which is the console of this cell.
#[macro_export]
macro_rules! eprint {
    ($($text:tt)*) => {
        $crate::output::print($crate::abi::STDERR, format_args!($($text)*))
    };
}

/// Prints to a file, in as few writes as the length allows. What cannot be written is lost.
pub fn print(fd: i32, text: fmt::Arguments<'_>) {
    let mut output = Buffered {
        file: File::from_descriptor(fd),
        bytes: [0; BUFFER_LEN],
        len: 0,
    };
    let _ = output.write_fmt(text);
    output.flush();
}

struct Buffered {
    file: File,
    bytes: [u8; BUFFER_LEN],
    len: usize,
}

impl Buffered {
    fn flush(&mut self) {
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
