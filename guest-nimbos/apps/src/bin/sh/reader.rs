// SPDX-License-Identifier: MIT OR Apache-2.0
//! Lines of a file. They are read byte by byte: what follows a line is for the command that the line starts.

use nimbos_apps::Error;
use nimbos_apps::file::File;

/// Longest line.
pub const MAX_LINE: usize = 1024;

/// Lines of one file.
pub struct Reader {
    file: File,
    bytes: [u8; MAX_LINE],
}

/// What comes next in the file.
pub enum Line<'a> {
    /// A line without its end.
    Text(&'a str),
    /// A line that cannot be one of the shell's, and why.
    Refused(&'static str),
    /// Nothing more.
    End,
}

impl Reader {
    /// Begins where the file is read next.
    pub fn new(file: File) -> Self {
        Self {
            file,
            bytes: [0; MAX_LINE],
        }
    }

    /// Reads the next line.
    pub fn next_line(&mut self) -> Result<Line<'_>, Error> {
        let mut len = 0;
        let mut is_too_long = false;
        loop {
            let mut byte = [0];
            match self.file.read(&mut byte)? {
                0 if len == 0 => return Ok(Line::End),
                0 => break,
                _ if byte == *b"\n" => break,
                _ if len == MAX_LINE => is_too_long = true,
                _ => {
                    self.bytes[len] = byte[0];
                    len += 1;
                }
            }
        }
        if is_too_long {
            return Ok(Line::Refused("the line is too long"));
        }
        Ok(match core::str::from_utf8(&self.bytes[..len]) {
            Ok(line) => Line::Text(line),
            Err(_) => Line::Refused("the line is not UTF-8"),
        })
    }
}
