// SPDX-License-Identifier: MIT OR Apache-2.0
//! A short text of a report line.

use core::fmt;

use arrayvec::ArrayString;

/// Longest text in bytes; what is longer is cut off.
const MAX_LEN: usize = 400;

/// What a report says in free words. It fits between double quotes on one line: quotes become apostrophes, and
/// control characters blanks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Text(ArrayString<MAX_LEN>);

impl Text {
    /// Returns the text of formatted arguments.
    pub fn new(arguments: fmt::Arguments<'_>) -> Self {
        let mut text = Self::default();
        text.push(arguments);
        text
    }

    /// Appends formatted arguments.
    pub fn push(&mut self, arguments: fmt::Arguments<'_>) {
        // Only a foreign `Display` can fail, and then what came before it stays.
        let _ = fmt::write(self, arguments);
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            let fit = match character {
                '"' => '\'',
                character if character.is_control() => ' ',
                character => character,
            };
            if self.0.try_push(fit).is_err() {
                break;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_fits_between_quotes_on_one_line() {
        let text = Text::new(format_args!("saw {:?}\nand {}", "x", 5));
        assert_eq!(text.as_str(), "saw 'x' and 5");
    }

    #[test]
    fn what_is_too_long_is_cut_off() {
        let mut text = Text::default();
        for _ in 0..MAX_LEN {
            text.push(format_args!("äb"));
        }
        assert!(text.as_str().len() <= MAX_LEN && text.as_str().len() > MAX_LEN - 3);
    }
}
