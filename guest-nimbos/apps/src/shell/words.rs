// SPDX-License-Identifier: MIT OR Apache-2.0
//! Words without their quotes, as programs get them.

use core::ffi::CStr;
use core::fmt::{self, Write};

use arrayvec::ArrayVec;

use super::lexer::RawWord;

/// Most words of a command.
pub const MAX_WORDS: usize = 64;
/// Most bytes of a command's words, each with a NUL.
pub const MAX_BYTES: usize = 2048;

/// What `$?` and `$!` stand for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Variables {
    /// Status of the last command.
    pub status: i32,
    /// The process in the background that was started last.
    pub background: Option<u32>,
}

/// Words of a command.
#[derive(Clone, Debug, Default)]
pub struct Words {
    bytes: ArrayVec<u8, MAX_BYTES>,
    /// Where each word begins; a NUL is at its end.
    starts: ArrayVec<usize, MAX_WORDS>,
}

/// More than [`Words`] can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "more than {MAX_WORDS} words or {MAX_BYTES} bytes in a command"
        )
    }
}

impl core::error::Error for TooLong {}

impl Words {
    /// Expands `words`, one after the other.
    pub fn expand<'a>(
        words: impl Iterator<Item = RawWord<'a>>,
        variables: Variables,
    ) -> Result<Self, TooLong> {
        let mut expanded = Self::default();
        for word in words {
            expanded
                .starts
                .try_push(expanded.bytes.len())
                .map_err(|_| TooLong)?;
            expanded
                .push_expanded(word.0, variables)
                .map_err(|_| TooLong)?;
            expanded.bytes.try_push(0).map_err(|_| TooLong)?;
        }
        Ok(expanded)
    }

    /// Returns the number of words.
    pub fn count(&self) -> usize {
        self.starts.len()
    }

    /// Returns word `number` as the kernel takes it.
    pub fn c_str(&self, number: usize) -> Option<&CStr> {
        let start = *self.starts.get(number)?;
        CStr::from_bytes_until_nul(&self.bytes[start..]).ok()
    }

    /// Returns word `number`.
    pub fn get(&self, number: usize) -> Option<&str> {
        self.c_str(number)?.to_str().ok()
    }

    /// Returns the words from `number` on.
    pub fn from(&self, number: usize) -> impl Iterator<Item = &str> {
        (number..self.count()).filter_map(|number| self.get(number))
    }

    fn push_expanded(&mut self, word: &str, variables: Variables) -> fmt::Result {
        let mut quote = None;
        let mut characters = word.chars().peekable();
        while let Some(character) = characters.next() {
            match (quote, character) {
                (None | Some('"'), '\\') => match characters.next() {
                    // Between double quotes it is a plain character before all others.
                    Some(next) if quote.is_some() && !matches!(next, '"' | '\\' | '$') => {
                        self.write_char('\\')?;
                        self.write_char(next)?;
                    }
                    Some(next) => self.write_char(next)?,
                    None => self.write_char('\\')?,
                },
                (None | Some('"'), '$') => match characters.next_if(|&c| c == '?' || c == '!') {
                    Some('?') => write!(self, "{}", variables.status)?,
                    Some(_) => {
                        if let Some(process) = variables.background {
                            write!(self, "{process}")?;
                        }
                    }
                    None => self.write_char('$')?,
                },
                (None, '\'' | '"') => quote = Some(character),
                (Some(open), close) if open == close => quote = None,
                (_, plain) => self.write_char(plain)?,
            }
        }
        Ok(())
    }
}

impl Write for Words {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.bytes
            .try_extend_from_slice(text.as_bytes())
            .map_err(|_| fmt::Error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    extern crate std;
    use std::vec::Vec;

    const VARIABLES: Variables = Variables {
        status: 127,
        background: Some(12),
    };

    fn expanded(words: &[&str]) -> Result<Vec<std::string::String>, TooLong> {
        let raw = words.iter().map(|word| RawWord(word));
        let words = Words::expand(raw, VARIABLES)?;
        Ok(words.from(0).map(Into::into).collect())
    }

    #[test]
    fn quotes_go_and_what_they_keep_stays() {
        for (raw, expected) in [
            ("plain", "plain"),
            ("'a b'", "a b"),
            ("\"a b\"c", "a bc"),
            ("a'b'\"c\"d", "abcd"),
            ("''", ""),
            ("'\"'", "\""),
            ("\"'\"", "'"),
            (r"a\ b", "a b"),
            (r"'\'", r"\"),
            (r#""\"\\\$\n""#, r#""\$\n"#),
            ("h\u{e9}", "h\u{e9}"),
        ] {
            assert_eq!(expanded(&[raw]).unwrap(), [expected], "{raw}");
        }
    }

    #[test]
    fn the_two_variables_are_replaced() {
        for (raw, expected) in [
            ("$?", "127"),
            ("a$!b", "a12b"),
            ("\"$?$!\"", "12712"),
            ("'$?'", "$?"),
            (r"\$?", "$?"),
            ("$x$", "$x$"),
        ] {
            assert_eq!(expanded(&[raw]).unwrap(), [expected], "{raw}");
        }
        let none = Words::expand([RawWord("x$!")].into_iter(), Variables::default()).unwrap();
        assert_eq!(none.get(0), Some("x"));
    }

    #[test]
    fn words_are_found_by_their_numbers() {
        let words =
            Words::expand(["cp", "'a b'", "c"].map(RawWord).into_iter(), VARIABLES).unwrap();
        assert_eq!(words.count(), 3);
        assert_eq!(words.c_str(1), Some(c"a b"));
        assert_eq!(words.get(3), None);
        assert_eq!(words.from(1).collect::<Vec<_>>(), ["a b", "c"]);
    }

    #[test]
    fn too_much_is_refused() {
        assert!(expanded(&["a"; MAX_WORDS]).is_ok());
        assert_eq!(expanded(&["a"; MAX_WORDS + 1]), Err(TooLong));
        let longest = "a".repeat(MAX_BYTES - 1);
        assert_eq!(expanded(&[&longest]).unwrap(), [longest.as_str()]);
        assert_eq!(expanded(&[&(longest + "a")]), Err(TooLong));
        assert_eq!(expanded(&["a", &"b".repeat(MAX_BYTES - 2)]), Err(TooLong));
    }
}
