// SPDX-License-Identifier: MIT OR Apache-2.0
//! Versions, as far as the lab compares them.

/// The numbers of a version in their order; everything between them is ignored.
///
/// Compares as versions do: `6.12.9` is before `6.12.117`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(Vec<u64>);

impl Version {
    /// Reads the numbers out of `text`.
    pub fn parse(text: &str) -> Self {
        let numbers = text
            .split(|c: char| !c.is_ascii_digit())
            .filter(|digits| !digits.is_empty())
            .map(|digits| digits.parse().unwrap_or(u64::MAX));
        Self(numbers.collect())
    }

    /// Finds the version in a program's own words: the first word that starts with a digit and has a dot.
    pub fn find(text: &str) -> Option<Self> {
        text.split_whitespace()
            .find(|word| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.'))
            .map(Self::parse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_longer_number_is_a_newer_version() {
        assert!(Version::parse("6.12.117+deb12") > Version::parse("6.12.99+deb12"));
        assert!(Version::parse("3.0") < Version::parse("3.1"));
        assert!(Version::parse("3.10") > Version::parse("3.1+dfsg-1"));
    }

    #[test]
    fn a_version_is_found_in_a_banner() {
        let banner = "====\n   Bochs x86 Emulator 3.1 (or later)\n 32 bits";
        assert_eq!(Version::find(banner), Some(Version::parse("3.1")));
        assert_eq!(Version::find("no version, 4 words"), None);
    }
}
