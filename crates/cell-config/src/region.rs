//! Ranges of physical memory and of I/O ports.

use core::fmt;

/// Bytes of a page: the granularity of the second-level paging structures.
pub const PAGE_SIZE: u64 = 4096;

/// Ports of a 16550.
pub const UART_PORTS: u16 = 8;

/// A range of physical memory, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Region {
    /// First physical address.
    pub base: u64,
    /// Length in bytes.
    pub size: u64,
}

impl Region {
    /// Returns the range of `size` bytes at `base`.
    pub const fn new(base: u64, size: u64) -> Self {
        Self { base, size }
    }

    /// Returns the first address behind the range, or `None` if that is no 64-bit number.
    pub const fn checked_end(self) -> Option<u64> {
        self.base.checked_add(self.size)
    }

    /// Returns the first address behind the range. A range that wraps, which no checked [`System`](crate::System) has,
    /// ends at the last address.
    pub const fn end(self) -> u64 {
        self.base.saturating_add(self.size)
    }

    /// Tells whether the ranges share a byte. A range that wraps reaches to the end of memory; an empty one overlaps
    /// nothing.
    pub const fn overlaps(self, other: Self) -> bool {
        self.size != 0 && other.size != 0 && self.base <= other.last() && other.base <= self.last()
    }

    /// Tells whether every byte of `other` is in this range. A range that wraps is in none.
    pub const fn contains(self, other: Self) -> bool {
        match (self.checked_end(), other.checked_end()) {
            (Some(end), Some(other_end)) => self.base <= other.base && other_end <= end,
            _ => false,
        }
    }

    /// Returns what the ranges share, or `None` if they do not overlap.
    pub fn intersection(self, other: Self) -> Option<Self> {
        let base = self.base.max(other.base);
        let last = self.last().min(other.last());
        self.overlaps(other)
            .then(|| Self::new(base, (last - base).saturating_add(1)))
    }

    /// Returns the last address of a range that is not empty.
    const fn last(self) -> u64 {
        self.base.saturating_add(self.size.saturating_sub(1))
    }
}

/// `0x100000-0x2fffffff, 767M`
impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:#x}-{:#x}, {}",
            self.base,
            self.last(),
            Size(self.size)
        )
    }
}

/// A number of bytes, shown as TOML takes it: in the largest binary unit that divides it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [("T", 40), ("G", 30), ("M", 20), ("K", 10)];
        match units
            .iter()
            .find(|(_, shift)| self.0 != 0 && self.0.trailing_zeros() >= *shift)
        {
            Some((unit, shift)) => write!(f, "{}{unit}", self.0 >> shift),
            None => write!(f, "{} bytes", self.0),
        }
    }
}

/// A cell's memory, in bytes, and where the cell sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CellRegion {
    /// First host-physical address.
    pub base: u64,
    /// Length in bytes.
    pub size: u64,
    /// First guest-physical address.
    pub guest: u64,
}

impl CellRegion {
    /// Returns the range in host-physical memory.
    pub const fn host(self) -> Region {
        Region::new(self.base, self.size)
    }

    /// Returns the range in guest-physical memory.
    pub const fn guest(self) -> Region {
        Region::new(self.guest, self.size)
    }
}

/// A range of I/O ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    /// First port.
    pub base: u16,
    /// Number of ports.
    pub size: u16,
}

impl PortRange {
    /// Returns the ports of a 16550 at `base`.
    pub const fn uart(base: u16) -> Self {
        Self {
            base,
            size: UART_PORTS,
        }
    }

    /// Returns the first port behind the range, at most 1FFFEH.
    pub const fn end(self) -> u32 {
        self.base as u32 + self.size as u32
    }

    /// Tells whether the ranges share a port; an empty one overlaps nothing.
    pub const fn overlaps(self, other: Self) -> bool {
        self.size != 0
            && other.size != 0
            && (self.base as u32) < other.end()
            && (other.base as u32) < self.end()
    }
}

/// `0x3f8-0x3ff`
impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:#x}-{:#x}",
            self.base,
            self.end().saturating_sub(1).max(self.base.into())
        )
    }
}
