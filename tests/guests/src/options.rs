// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the cell's command line asks for: words of the form `key=value`.

use core::fmt;

/// The words of a command line.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a>(&'a str);

/// What is wrong with a command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionError<'a> {
    /// There is no such word.
    Missing {
        /// The key.
        key: &'a str,
    },
    /// The value is no number.
    NoNumber {
        /// The key.
        key: &'a str,
        /// The value.
        value: &'a str,
    },
}

impl<'a> Options<'a> {
    /// Takes a command line.
    pub fn new(command_line: &'a str) -> Self {
        Self(command_line)
    }

    /// Returns the value of `key`.
    pub fn text(&self, key: &'a str) -> Result<&'a str, OptionError<'a>> {
        self.0
            .split_ascii_whitespace()
            .filter_map(|word| word.split_once('='))
            .find_map(|(k, value)| (k == key).then_some(value))
            .ok_or(OptionError::Missing { key })
    }

    /// Returns the value of `key` as a number, decimal or with 0x.
    pub fn number(&self, key: &'a str) -> Result<u64, OptionError<'a>> {
        let value = self.text(key)?;
        let number = match value.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => value.parse(),
        };
        number.map_err(|_| OptionError::NoNumber { key, value })
    }
}

impl fmt::Display for OptionError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { key } => write!(f, "no-option-{key}"),
            Self::NoNumber { key, value } => write!(f, "option-{key}-is-{value}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_by_their_whole_key() {
        let options = Options::new("test=msr-foreign msr=0x79 value=12");
        assert_eq!(options.text("test"), Ok("msr-foreign"));
        assert_eq!(options.number("msr"), Ok(0x79));
        assert_eq!(options.number("value"), Ok(12));
        assert_eq!(
            options.text("tes"),
            Err(OptionError::Missing { key: "tes" })
        );
    }

    #[test]
    fn what_is_no_number_is_refused() {
        let options = Options::new("port=serial");
        assert_eq!(
            options.number("port"),
            Err(OptionError::NoNumber {
                key: "port",
                value: "serial"
            })
        );
    }
}
