// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sets of numbers, printed as ranges.

use core::fmt;

/// Numbers from `BASE` on, 64 to a word.
#[derive(Clone, Debug)]
pub struct NumberSet<const WORDS: usize> {
    base: u32,
    words: [u64; WORDS],
}

impl<const WORDS: usize> NumberSet<WORDS> {
    /// Returns an empty set of numbers from `base` on.
    pub const fn new(base: u32) -> Self {
        Self {
            base,
            words: [0; WORDS],
        }
    }

    /// Adds a number; one that is out of the set's reach is left out.
    pub fn insert(&mut self, number: u32) {
        if let Some(index) = number.checked_sub(self.base)
            && let Some(word) = self.words.get_mut((index / 64) as usize)
        {
            *word |= 1 << (index % 64);
        }
    }

    /// Tells whether a number is in the set.
    pub fn contains(&self, number: u32) -> bool {
        number
            .checked_sub(self.base)
            .and_then(|index| Some(self.words.get((index / 64) as usize)? >> (index % 64) & 1))
            == Some(1)
    }

    fn end(&self) -> u32 {
        self.base + 64 * WORDS as u32
    }
}

/// Hexadecimal, `first-last`, separated by commas; `none` if there is nothing.
impl<const WORDS: usize> fmt::Display for NumberSet<WORDS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        let mut number = self.base;
        while number < self.end() {
            if !self.contains(number) {
                number += 1;
                continue;
            }
            let first = number;
            while self.contains(number + 1) {
                number += 1;
            }
            write!(f, "{separator}{first:x}")?;
            if number > first {
                write!(f, "-{number:x}")?;
            }
            separator = ",";
            number += 1;
        }
        if separator.is_empty() {
            f.write_str("none")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::string::{String, ToString};

    use super::*;

    fn shown(base: u32, numbers: &[u32]) -> String {
        let mut set = NumberSet::<2>::new(base);
        for &number in numbers {
            set.insert(number);
        }
        set.to_string()
    }

    #[test]
    fn neighbours_are_one_range() {
        assert_eq!(shown(0, &[]), "none");
        assert_eq!(shown(0, &[0, 1, 2, 0x10, 63, 64, 127]), "0-2,10,3f-40,7f");
        assert_eq!(
            shown(0xc000_0000, &[0xc000_007f, 0xc000_0080, 5]),
            "c000007f"
        );
    }
}
