//! Extended page tables: which guest-physical memory a cell can reach.
//!
//! One [`Ept`] per cell, built before its CPUs start and read-only afterwards, so that they walk it without a lock.
//! `cell` decides what to map; this module knows the bits.
//!
//! SDM 3C, "The Extended Page Table Mechanism (EPT)".

use core::fmt;

use crate::address::{GuestPhys, HostPhys, PAGE_SIZE};
use crate::memory::{OutOfFrames, Table, allocate_table};

const READ: u64 = 1;
const WRITE: u64 = 2;
const EXECUTE: u64 = 4;
const TABLE: u64 = READ | WRITE | EXECUTE;
const LARGE: u64 = 1 << 7;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
/// Page-walk length 4 (minus 1) and write-back paging structures, for the EPT pointer.
const POINTER_FLAGS: u64 = 3 << 3 | 6;
/// Guest-physical addresses that four levels reach.
const REACH: u64 = 1 << 48;

/// What a cell may do with memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// Read and write: devices.
    ReadWrite,
    /// Read only: the xAPIC page.
    ReadOnly,
    /// Everything: RAM.
    ReadWriteExecute,
}

/// EPT memory type. (SDM 3C, "Memory Type Used for Translated Guest-Physical Addresses")
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryType {
    /// Uncached: devices; the guest's PAT may still ask for write-combining.
    Uncached,
    /// Write-back: RAM.
    WriteBack,
}

/// A mapping that cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapError {
    /// Address or length is no multiple of 4 KiB, or the range leaves what four levels reach.
    BadRange {
        /// First guest-physical address.
        gpa: GuestPhys,
    },
    /// Something is mapped there already.
    AlreadyMapped {
        /// The address.
        gpa: GuestPhys,
    },
    /// No memory for tables.
    OutOfFrames,
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadRange { gpa } => write!(f, "guest-physical range at {gpa} cannot be mapped"),
            Self::AlreadyMapped { gpa } => {
                write!(f, "guest-physical address {gpa} is mapped twice")
            }
            Self::OutOfFrames => OutOfFrames.fmt(f),
        }
    }
}

impl From<OutOfFrames> for MapError {
    fn from(_: OutOfFrames) -> Self {
        Self::OutOfFrames
    }
}

/// The tables of one cell.
///
/// # Invariants
/// 1. An entry without `LARGE` above level 1 points to a [`Table`] that this `Ept` allocated and alone changes.
/// 2. What is mapped once is never remapped.
pub struct Ept {
    root: &'static mut Table,
    gib_pages: bool,
}

impl Ept {
    /// Returns tables that map nothing.
    pub fn new(gib_pages: bool) -> Result<Self, OutOfFrames> {
        Ok(Self {
            root: allocate_table()?,
            gib_pages,
        })
    }

    /// Returns the value for the VMCS.
    pub fn pointer(&self) -> u64 {
        self.root.phys().0 | POINTER_FLAGS
    }

    /// Maps `len` bytes at `gpa` to `hpa`, with the largest pages that fit.
    pub fn map(
        &mut self,
        gpa: GuestPhys,
        hpa: HostPhys,
        len: u64,
        rights: Rights,
        memory_type: MemoryType,
    ) -> Result<(), MapError> {
        let bad = MapError::BadRange { gpa };
        let aligned = [gpa.0, hpa.0, len]
            .iter()
            .all(|value| value.is_multiple_of(PAGE_SIZE));
        let end = gpa
            .0
            .checked_add(len)
            .filter(|&end| end <= REACH)
            .ok_or(bad)?;
        if !aligned || hpa.0.checked_add(len).is_none_or(|end| end > ADDRESS) {
            return Err(bad);
        }
        let flags = match rights {
            Rights::ReadWrite => READ | WRITE,
            Rights::ReadOnly => READ,
            Rights::ReadWriteExecute => TABLE,
        } | match memory_type {
            MemoryType::Uncached => 0,
            MemoryType::WriteBack => 6 << 3,
        };
        let mut at = gpa.0;
        while at < end {
            let to = hpa.0 + (at - gpa.0);
            let level = self.largest_level(at, to, end - at);
            let entry = self.entry(GuestPhys(at), level)?;
            if *entry != 0 {
                return Err(MapError::AlreadyMapped { gpa: GuestPhys(at) });
            }
            *entry = to | flags | if level > 1 { LARGE } else { 0 };
            at += page_len(level);
        }
        Ok(())
    }

    /// Returns what `gpa` is translated to, or `None` where nothing is mapped.
    pub fn translate(&self, gpa: GuestPhys) -> Option<HostPhys> {
        let mut table: &Table = self.root;
        for level in (1..=4).rev() {
            let entry = table.0[index(gpa.0, level)];
            if entry & TABLE == 0 {
                return None;
            }
            if level == 1 || entry & LARGE != 0 {
                return Some(HostPhys(entry & ADDRESS | gpa.0 & (page_len(level) - 1)));
            }
            // SAFETY: invariant 1: the entry points to a table of ours, which lives for good; `&self` keeps writers
            // away.
            table = unsafe { &*core::ptr::with_exposed_provenance((entry & ADDRESS) as usize) };
        }
        None
    }

    fn largest_level(&self, gpa: u64, hpa: u64, len: u64) -> u32 {
        let fits = |level| len >= page_len(level) && (gpa | hpa).is_multiple_of(page_len(level));
        if self.gib_pages && fits(3) {
            3
        } else if fits(2) {
            2
        } else {
            1
        }
    }

    /// Returns the entry for `gpa` at `level`, with the tables above it.
    fn entry(&mut self, gpa: GuestPhys, level: u32) -> Result<&mut u64, MapError> {
        let mut table: &mut Table = self.root;
        for above in (level + 1..=4).rev() {
            let entry = &mut table.0[index(gpa.0, above)];
            if *entry == 0 {
                *entry = allocate_table()?.phys().0 | TABLE;
            } else if *entry & LARGE != 0 {
                return Err(MapError::AlreadyMapped { gpa });
            }
            // SAFETY: invariant 1, and `&mut self` makes this the only reference into the tables.
            table = unsafe {
                &mut *core::ptr::with_exposed_provenance_mut((*entry & ADDRESS) as usize)
            };
        }
        Ok(&mut table.0[index(gpa.0, level)])
    }
}

fn index(gpa: u64, level: u32) -> usize {
    (gpa >> (12 + 9 * (level - 1)) & 511) as usize
}

fn page_len(level: u32) -> u64 {
    1 << (12 + 9 * (level - 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory;

    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;

    /// Gives the frame pool host memory; page-aligned and leaked, so that "physical" addresses are pointers.
    fn ept() -> Ept {
        static POOL: std::sync::Once = std::sync::Once::new();
        POOL.call_once(|| {
            let layout = std::alloc::Layout::from_size_align(8 << 20, 4096).unwrap();
            // SAFETY: the layout is not empty; the memory is leaked to the pool, which alone uses it.
            unsafe {
                let base = std::alloc::alloc(layout).expose_provenance() as u64;
                memory::init_frames(HostPhys(base), HostPhys(base + (8 << 20)));
            }
        });
        Ept::new(true).unwrap()
    }

    fn leaf_level(ept: &Ept, gpa: u64) -> u32 {
        let mut table: &Table = ept.root;
        for level in (1..=4).rev() {
            let entry = table.0[index(gpa, level)];
            if level == 1 || entry & LARGE != 0 {
                return level;
            }
            // SAFETY: as in `translate`.
            table = unsafe { &*core::ptr::with_exposed_provenance((entry & ADDRESS) as usize) };
        }
        0
    }

    #[test]
    fn the_largest_pages_that_fit_are_used_and_nothing_beyond_the_range_is_mapped() {
        let mut ept = ept();
        let (base, len) = (GIB - 2 * MIB - 4096, GIB + 2 * MIB + 2 * 4096);
        ept.map(
            GuestPhys(base),
            HostPhys(base),
            len,
            Rights::ReadWriteExecute,
            MemoryType::WriteBack,
        )
        .unwrap();
        assert_eq!(leaf_level(&ept, GIB - 2 * MIB - 4096), 1);
        assert_eq!(leaf_level(&ept, GIB - MIB), 2);
        assert_eq!(leaf_level(&ept, GIB + 5), 3);
        assert_eq!(leaf_level(&ept, 2 * GIB), 1);
        assert_eq!(ept.translate(GuestPhys(base - 1)), None);
        assert_eq!(ept.translate(GuestPhys(base + len)), None);
        assert_eq!(
            ept.translate(GuestPhys(base + len - 1)),
            Some(HostPhys(base + len - 1))
        );
        assert_eq!(
            ept.translate(GuestPhys(GIB + 12345)),
            Some(HostPhys(GIB + 12345))
        );
    }

    #[test]
    fn a_shifted_mapping_translates_and_uses_pages_that_both_addresses_allow() {
        let mut ept = ept();
        ept.map(
            GuestPhys(0x4200_0000),
            HostPhys(0x3080_0000),
            32 * MIB,
            Rights::ReadWriteExecute,
            MemoryType::WriteBack,
        )
        .unwrap();
        assert_eq!(leaf_level(&ept, 0x4200_0000), 2);
        assert_eq!(
            ept.translate(GuestPhys(0x4212_3456)),
            Some(HostPhys(0x3092_3456))
        );
    }

    #[test]
    fn overlapping_unaligned_and_unreachable_ranges_are_refused() {
        let mut ept = ept();
        let mut map = |gpa, len| {
            ept.map(
                GuestPhys(gpa),
                HostPhys(gpa),
                len,
                Rights::ReadWrite,
                MemoryType::Uncached,
            )
        };
        map(0x20_0000, 2 * MIB).unwrap();
        assert!(matches!(
            map(0x20_1000, 4096),
            Err(MapError::AlreadyMapped { .. })
        ));
        assert!(matches!(
            map(0, 4 * MIB),
            Err(MapError::AlreadyMapped { .. })
        ));
        for (gpa, len) in [
            (1, 4096),
            (4096, 1),
            (REACH - 4096, 8192),
            (u64::MAX - 4095, 4096),
        ] {
            assert!(
                matches!(map(gpa, len), Err(MapError::BadRange { .. })),
                "{gpa:#x} + {len:#x}"
            );
        }
    }

    #[test]
    fn memory_types_and_rights_are_in_the_leaf() {
        let mut ept = ept();
        ept.map(
            GuestPhys(0xFEE0_0000),
            HostPhys(0xFEE0_0000),
            4096,
            Rights::ReadOnly,
            MemoryType::Uncached,
        )
        .unwrap();
        let entry = *ept.entry(GuestPhys(0xFEE0_0000), 1).unwrap();
        assert_eq!(entry, 0xFEE0_0000 | READ);
        ept.map(
            GuestPhys(0x1000),
            HostPhys(0x1000),
            4096,
            Rights::ReadWriteExecute,
            MemoryType::WriteBack,
        )
        .unwrap();
        assert_eq!(
            *ept.entry(GuestPhys(0x1000), 1).unwrap(),
            0x1000 | TABLE | 6 << 3
        );
    }
}
