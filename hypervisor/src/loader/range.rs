//! A range of addresses whose end may lie anywhere, as it comes from a file, a configuration or firmware.

use core::fmt;

/// `size` bytes from `base`. Nothing is promised of their sum: [`Range::end`] saturates, so that a range that wraps
/// overlaps everything above its base and is contained in nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// First address.
    pub base: u64,
    /// Length in bytes.
    pub size: u64,
}

impl Range {
    /// Makes a range.
    pub const fn new(base: u64, size: u64) -> Self {
        Self { base, size }
    }

    /// Returns the address behind the last byte, at most `u64::MAX`.
    pub const fn end(self) -> u64 {
        self.base.saturating_add(self.size)
    }

    /// Tells whether an address lies in the range.
    pub const fn holds(self, address: u64) -> bool {
        self.base <= address && address < self.end()
    }

    /// Tells whether all of `other` lies in the range; an empty one lies wherever its base does, the end included.
    pub const fn contains(self, other: Self) -> bool {
        let wraps = other.base.checked_add(other.size).is_none();
        !wraps && self.base <= other.base && other.end() <= self.end()
    }

    /// Tells whether the ranges share a byte.
    pub const fn overlaps(self, other: Self) -> bool {
        self.size != 0 && other.size != 0 && self.base < other.end() && other.base < self.end()
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}-{:#x}", self.base, self.end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn touching_and_empty_ranges_do_not_overlap() {
        let range = Range::new(0x1000, 0x1000);
        assert!(!range.overlaps(Range::new(0x2000, 0x1000)));
        assert!(!range.overlaps(Range::new(0, 0x1000)));
        assert!(!range.overlaps(Range::new(0x1800, 0)));
        assert!(range.overlaps(Range::new(0x1fff, 1)));
        assert!(range.overlaps(Range::new(0, u64::MAX)));
    }

    #[test]
    fn a_range_that_wraps_is_contained_in_nothing() {
        let all = Range::new(0, u64::MAX);
        assert!(!all.contains(Range::new(0x1000, u64::MAX)));
        assert!(all.contains(Range::new(0x1000, u64::MAX - 0x1000)));
        assert!(Range::new(0x1000, u64::MAX).overlaps(Range::new(u64::MAX - 1, 1)));
    }
}
