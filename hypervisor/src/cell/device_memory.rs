//! The memory map of "the rest": device memory and firmware tables that the cell with `devices = "rest"` reaches.
//!
//! Below 4 GiB everything is the rest's that is no RAM and that nobody claims, below 1 MiB RAM too; windows above 4 GiB
//! are named by `mmio`. The addresses of interrupt messages and of I/O APICs are nobody's.

use arrayvec::ArrayVec;
use cell_config::{IO_APICS, LOCAL_APIC, Region};

use crate::address::PAGE_SIZE;
use crate::loader::Range;
use crate::loader::e820::{E820Entry, E820Kind};
use crate::vmx::ept::MemoryType;

const FOUR_GIB: u64 = 1 << 32;
/// Below this, RAM that nobody claims is the rest's too.
const LEGACY_END: u64 = 1 << 20;
/// Addresses that no cell's EPT maps, but for the xAPIC page that each cell gets apart.
const INTERRUPT_CONTROLLERS: [Region; 2] = [IO_APICS, LOCAL_APIC];

/// A piece of the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceRange {
    /// Where, in whole pages.
    pub range: Range,
    /// Firmware tables are cached, devices are not.
    pub memory_type: MemoryType,
}

/// Calls `each` for every piece of the rest, in ascending order. Pages that hold any byte of claimed memory, that are
/// all RAM above 1 MiB, or that are interrupt controllers' are left out.
pub fn for_each_device_range<E>(
    machine: &[E820Entry],
    claimed: &[Region],
    mut each: impl FnMut(DeviceRange) -> Result<(), E>,
) -> Result<(), E> {
    let mut position = 0;
    while position < FOUR_GIB {
        let next = next_boundary(machine, claimed, position);
        if let Some(memory_type) = classify(machine, claimed, position) {
            each(DeviceRange {
                range: Range::new(position, next - position),
                memory_type,
            })?;
        }
        position = next;
    }
    Ok(())
}

/// All claimed regions of a configuration and the pages of the I/O APICs: enough for 8 cells with 32 regions each, and 32
/// more.
pub type Claimed = ArrayVec<Region, 320>;

/// Returns the first page boundary after `position` at which the answer of [`classify`] may change.
fn next_boundary(machine: &[E820Entry], claimed: &[Region], position: u64) -> u64 {
    let entries = machine
        .iter()
        .flat_map(|entry| [entry.range.base, entry.range.end()]);
    let regions = claimed
        .iter()
        .chain(&INTERRUPT_CONTROLLERS)
        .flat_map(|region| [region.base, region.base.saturating_add(region.size)]);
    entries
        .chain(regions)
        .chain([LEGACY_END, FOUR_GIB])
        .flat_map(|edge| {
            let down = edge - edge % PAGE_SIZE;
            [down, down.saturating_add(PAGE_SIZE)]
        })
        .filter(|&edge| edge > position)
        .min()
        .unwrap_or(FOUR_GIB)
        .min(FOUR_GIB)
}

/// Returns the memory type of the page at `position` if it is of the rest.
fn classify(machine: &[E820Entry], claimed: &[Region], position: u64) -> Option<MemoryType> {
    let page = Range::new(position, PAGE_SIZE);
    let is_claimed = claimed
        .iter()
        .chain(&INTERRUPT_CONTROLLERS)
        .any(|region| page.overlaps(Range::new(region.base, region.size)));
    if is_claimed {
        return None;
    }
    let of_kind = |kind| machine.iter().filter(move |entry| entry.kind == kind);
    if of_kind(E820Kind::RAM).any(|entry| entry.range.contains(page)) {
        // Kernels search the last of base memory for tables of a BIOS, also where there is none.
        return (position < LEGACY_END).then_some(MemoryType::WriteBack);
    }
    let tables = of_kind(E820Kind::ACPI_TABLES).chain(of_kind(E820Kind::ACPI_NVS));
    let is_cached = tables.into_iter().any(|entry| page.overlaps(entry.range));
    Some(if is_cached {
        MemoryType::WriteBack
    } else {
        MemoryType::Uncached
    })
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(base: u64, end: u64, kind: E820Kind) -> E820Entry {
        E820Entry {
            range: Range::new(base, end - base),
            kind,
        }
    }

    fn rest(machine: &[E820Entry], claimed: &[Region]) -> Vec<(u64, u64, MemoryType)> {
        let mut found = Vec::new();
        for_each_device_range(machine, claimed, |piece| -> Result<(), ()> {
            match found.last_mut() {
                Some((_, end, memory_type))
                    if *end == piece.range.base && *memory_type == piece.memory_type =>
                {
                    *end = piece.range.end();
                }
                _ => found.push((piece.range.base, piece.range.end(), piece.memory_type)),
            }
            Ok(())
        })
        .unwrap();
        found
    }

    #[test]
    fn the_rest_of_a_pc_is_its_holes_without_ram_claims_and_interrupt_controllers() {
        let machine = [
            entry(0, 0x9fc00, E820Kind::RAM),
            entry(0x9fc00, 0xa0000, E820Kind::RESERVED),
            entry(0xf0000, 0x10_0000, E820Kind::RESERVED),
            entry(0x10_0000, 0x3fff_0000, E820Kind::RAM),
            entry(0x3fff_0000, 0x4000_0000, E820Kind::ACPI_TABLES),
        ];
        let claimed = [
            Region {
                base: 0,
                size: 0x9f000,
            },
            Region {
                base: 0xfed0_0000,
                size: 0x1000,
            },
        ];
        assert_eq!(
            rest(&machine, &claimed),
            [
                (0x9f000, 0x10_0000, MemoryType::Uncached),
                (0x3fff_0000, 0x4000_0000, MemoryType::WriteBack),
                (0x4000_0000, 0xfec0_0000, MemoryType::Uncached),
                (0xfed0_1000, 0xfee0_0000, MemoryType::Uncached),
                (0xfef0_0000, FOUR_GIB, MemoryType::Uncached),
            ]
        );
    }

    #[test]
    fn memory_that_is_claimed_though_firmware_reserves_it_is_left_out() {
        let machine = [entry(0x1000_0000, 0x2000_0000, E820Kind::RESERVED)];
        let claimed = [Region {
            base: 0x1800_0000,
            size: 0x80_0000,
        }];
        assert!(
            rest(&machine, &claimed)
                .iter()
                .all(|&(base, end, _)| end <= 0x1800_0000 || base >= 0x1880_0000)
        );
    }

    #[test]
    fn base_memory_that_nobody_claims_is_the_rests_and_higher_ram_is_nobodys() {
        let machine = [
            entry(0, 0xa0000, E820Kind::RAM),
            entry(0x10_0000, 0x20_0000, E820Kind::RAM),
        ];
        let claimed = [Region {
            base: 0,
            size: 0x9f000,
        }];
        let pieces = rest(&machine, &claimed);
        assert_eq!(pieces[0], (0x9f000, 0xa0000, MemoryType::WriteBack));
        assert_eq!(pieces[1], (0xa0000, 0x10_0000, MemoryType::Uncached));
        assert_eq!(pieces[2].0, 0x20_0000);
    }
}
