// SPDX-License-Identifier: MIT OR Apache-2.0
//! A program's memory, as the kernel sees it: which user addresses exist, and where their bytes are.
//!
//! The kernel never uses a user address as a pointer. [`RegionMap`] splits a range of user addresses into the parts of
//! the regions that it covers, or refuses it; the kernel then reaches the bytes through its own mapping of the frames.

use crate::abi::Errno;
use crate::layout::PAGE_LEN;

/// What a program may do with a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// Read.
    Read,
    /// Read and write.
    Write,
    /// Read and execute.
    Execute,
}

/// What the kernel wants to do with a program's memory for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read it.
    Read,
    /// Write it.
    Write,
}

/// A range of user addresses with memory behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// First address.
    pub start: u64,
    /// Address behind the last byte.
    pub end: u64,
    /// What the program may do there.
    pub rights: Rights,
}

/// A part of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Number of the region.
    pub region: usize,
    /// First byte, counted from the region's start.
    pub offset: usize,
    /// Bytes.
    pub len: usize,
}

/// The regions of a program; they do not overlap.
#[derive(Clone, Debug)]
pub struct RegionMap<const N: usize> {
    regions: [Option<Region>; N],
}

impl<const N: usize> RegionMap<N> {
    /// Returns a map without regions.
    pub const fn new() -> Self {
        Self { regions: [None; N] }
    }

    /// Adds a region and returns its number, or `None` if the map is full or the region overlaps another.
    pub fn insert(&mut self, region: Region) -> Option<usize> {
        let overlaps = |other: &Region| region.start < other.end && other.start < region.end;
        if region.start >= region.end || self.regions.iter().flatten().any(overlaps) {
            return None;
        }
        let number = self.regions.iter().position(Option::is_none)?;
        self.regions[number] = Some(region);
        Some(number)
    }

    /// Tells whether one more region has place.
    pub fn has_room(&self) -> bool {
        self.regions.iter().any(Option::is_none)
    }

    /// Returns the number of the region that is exactly `start..end`.
    pub fn find(&self, start: u64, end: u64) -> Option<usize> {
        let is_it = |region: &Region| (region.start, region.end) == (start, end);
        self.regions
            .iter()
            .position(|r| r.is_some_and(|r| is_it(&r)))
    }

    /// Takes out the region that is exactly `start..end`, and returns its number.
    pub fn remove(&mut self, start: u64, end: u64) -> Option<usize> {
        let number = self.find(start, end)?;
        self.regions[number] = None;
        Some(number)
    }

    /// Returns a region by its number.
    pub fn get(&self, number: usize) -> Option<Region> {
        *self.regions.get(number)?
    }

    /// Returns the highest address in `low..high` at which `len` bytes have place, with a page that belongs to nobody below
    /// and above: the lower one catches a stack that grows out of them. All are multiples of the page size.
    pub fn find_place(&self, len: u64, low: u64, high: u64) -> Option<u64> {
        let low = low.checked_add(PAGE_LEN)?;
        let mut end = high.checked_sub(PAGE_LEN)?;
        loop {
            let start = end.checked_sub(len).filter(|&start| start >= low)?;
            let in_the_way = |region: &&Region| {
                region.start < end + PAGE_LEN && start < region.end.saturating_add(PAGE_LEN)
            };
            match self.regions.iter().flatten().find(in_the_way) {
                Some(region) => end = region.start.checked_sub(PAGE_LEN)?,
                None => return Some(start),
            }
        }
    }

    /// Checks that all `len` bytes at `address` allow `access`, and returns the parts in which they lie, in order.
    pub fn parts(
        &self,
        address: u64,
        len: u64,
        access: Access,
    ) -> Result<impl Iterator<Item = Part>, Errno> {
        let end = address.checked_add(len).ok_or(Errno::Fault)?;
        let mut checked = address;
        while checked < end {
            checked = self.part(checked, end, access).ok_or(Errno::Fault)?.1;
        }
        let mut next = address;
        Ok(core::iter::from_fn(move || {
            let (part, behind) = (next < end).then(|| self.part(next, end, access))??;
            next = behind;
            Some(part)
        }))
    }

    /// Tells whether the program may execute the byte at `address`.
    pub fn is_code(&self, address: u64) -> bool {
        self.regions.iter().flatten().any(|region| {
            region.rights == Rights::Execute && (region.start..region.end).contains(&address)
        })
    }

    /// Returns how many bytes from `address` on allow `access`, at most `limit`.
    pub fn accessible(&self, address: u64, limit: u64, access: Access) -> u64 {
        let end = address.saturating_add(limit);
        let mut checked = address;
        while let Some((_, behind)) = self.part(checked, end, access) {
            checked = behind;
        }
        checked - address
    }

    /// Returns the part of `start..end` that lies in the region of `start`, and the address behind it.
    fn part(&self, start: u64, end: u64, access: Access) -> Option<(Part, u64)> {
        if start >= end {
            return None;
        }
        let contains = |region: &Region| (region.start..region.end).contains(&start);
        let region = self
            .regions
            .iter()
            .position(|r| r.is_some_and(|r| contains(&r)))?;
        let found = self.regions[region]?;
        if access == Access::Write && found.rights != Rights::Write {
            return None;
        }
        let behind = end.min(found.end);
        let part = Part {
            region,
            offset: usize::try_from(start - found.start).ok()?,
            len: usize::try_from(behind - start).ok()?,
        };
        Some((part, behind))
    }
}

impl<const N: usize> Default for RegionMap<N> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::*;

    fn map() -> RegionMap<3> {
        let mut map = RegionMap::new();
        for (start, end, rights) in [
            (0x40_0000, 0x40_2000, Rights::Execute),
            (0x40_3000, 0x40_5000, Rights::Write),
            (0x40_2000, 0x40_3000, Rights::Write),
        ] {
            map.insert(Region { start, end, rights }).unwrap();
        }
        map
    }

    fn parts(address: u64, len: u64, access: Access) -> Result<Vec<Part>, Errno> {
        map().parts(address, len, access).map(Iterator::collect)
    }

    #[test]
    fn a_range_over_several_regions_is_split() {
        let expected =
            [(0, 0x1ff0, 0x10), (2, 0, 0x1000), (1, 0, 0x20)].map(|(region, offset, len)| Part {
                region,
                offset,
                len,
            });
        assert_eq!(
            parts(0x40_1ff0, 0x1030, Access::Read).unwrap(),
            expected.to_vec()
        );
    }

    #[test]
    fn nothing_lies_anywhere() {
        assert_eq!(parts(0, 0, Access::Write), Ok(Vec::new()));
        assert_eq!(parts(u64::MAX, 0, Access::Read), Ok(Vec::new()));
    }

    #[test]
    fn ranges_that_leave_the_program_are_refused() {
        for (address, len) in [
            (0, 1),
            (0x3f_ffff, 1),
            (0x3f_ffff, 2),
            (0x40_4fff, 2),
            (0x40_5000, 1),
            (0x4210_0000, 8),
            (0x40_0000, u64::MAX),
            (u64::MAX, 1),
            (0xffff_8000_0000_0000, 1),
        ] {
            assert_eq!(parts(address, len, Access::Read), Err(Errno::Fault));
        }
    }

    #[test]
    fn code_is_not_written() {
        assert!(parts(0x40_1fff, 1, Access::Read).is_ok());
        assert_eq!(parts(0x40_1fff, 1, Access::Write), Err(Errno::Fault));
        assert_eq!(parts(0x40_1fff, 2, Access::Write), Err(Errno::Fault));
        assert!(parts(0x40_2000, 0x3000, Access::Write).is_ok());
    }

    #[test]
    fn code_is_what_may_be_executed() {
        let is_code = |address| map().is_code(address);
        assert!(is_code(0x40_0000) && is_code(0x40_1fff));
        assert!(!is_code(0x3f_ffff) && !is_code(0x40_2000) && !is_code(0x40_3000));
        assert!(!is_code(0) && !is_code(u64::MAX));
    }

    #[test]
    fn accessible_bytes_end_with_the_last_region() {
        let map = map();
        assert_eq!(map.accessible(0x40_4ff0, 4096, Access::Read), 16);
        assert_eq!(map.accessible(0x40_1000, 16, Access::Read), 16);
        assert_eq!(map.accessible(0x40_1000, 16, Access::Write), 0);
        assert_eq!(map.accessible(u64::MAX, u64::MAX, Access::Read), 0);
    }

    #[test]
    fn overlapping_and_surplus_regions_are_refused() {
        let region = |start, end| Region {
            start,
            end,
            rights: Rights::Read,
        };
        let mut map = RegionMap::<2>::new();
        assert_eq!(map.insert(region(0x2000, 0x3000)), Some(0));
        assert_eq!(map.insert(region(0x2fff, 0x4000)), None);
        assert_eq!(map.insert(region(0x5000, 0x5000)), None);
        assert_eq!(map.insert(region(0x1000, 0x2000)), Some(1));
        assert_eq!(map.insert(region(0x3000, 0x4000)), None);
    }
    #[test]
    fn places_keep_a_page_from_their_neighbours() {
        let mut map = map();
        let (low, high) = (0x40_0000, 0x41_0000);
        let place = |map: &RegionMap<3>, len| map.find_place(len, low, high);
        // The regions end at 40_5000H.
        assert_eq!(place(&map, 0x1000), Some(0x40_e000));
        assert_eq!(place(&map, 0x9000), Some(0x40_6000));
        assert_eq!(place(&map, 0xa000), None);
        assert_eq!(place(&map, u64::MAX), None);
        assert_eq!(map.remove(0x40_2000, 0x40_3000), Some(2));
        assert_eq!(map.remove(0x40_3000, 0x40_4000), None);
        let region = Region {
            start: 0x40_9000,
            end: 0x40_a000,
            rights: Rights::Write,
        };
        assert_eq!(map.insert(region), Some(2));
        assert_eq!(map.get(2), Some(region));
        assert_eq!(place(&map, 0x4000), Some(0x40_b000));
        assert_eq!(place(&map, 0x5000), None);
        assert_eq!(place(&map, 0x2000), Some(0x40_d000));
    }
}
