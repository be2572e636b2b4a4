//! The memory map that a Linux cell gets.
//!
//! Built once for each Linux cell from the machine's map (Multiboot2 or UEFI, numbered alike) and the cell's
//! configuration. RAM of others is left out rather than reserved: Linux then knows nothing of it, nor does EPT.
//!
//! # Invariants
//! 1. RAM entries lie in RAM of the machine *and* in the cell's memory.
//! 2. Entries are sorted, do not overlap, and neighbours of one kind are merged, whatever the machine's map does.
//!
//! ACPI 6.5, "Address Range Types"; Linux, arch/x86/kernel/e820.c.

use core::fmt;

use arrayvec::ArrayVec;

use super::Range;

/// Most entries that fit into Linux's boot parameters (`E820_MAX_ENTRIES_ZEROPAGE`).
pub const MAX_ENTRIES: usize = 128;

/// An address range type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct E820Kind(pub u32);

impl E820Kind {
    /// Memory for free use.
    pub const RAM: Self = Self(1);
    /// Not for use.
    pub const RESERVED: Self = Self(2);
    /// ACPI tables, free for use once they have been read.
    pub const ACPI_TABLES: Self = Self(3);
    /// Memory that firmware keeps over sleep.
    pub const ACPI_NVS: Self = Self(4);
    /// Broken memory.
    pub const UNUSABLE: Self = Self(5);
}

/// An entry of a memory map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct E820Entry {
    /// Where.
    pub range: Range,
    /// What.
    pub kind: E820Kind,
}

/// A memory map.
pub type E820Map = ArrayVec<E820Entry, MAX_ENTRIES>;

/// What a cell's map is made of.
#[derive(Clone, Copy, Debug)]
pub struct E820Source<'a> {
    /// The machine's map, in any order. Where entries overlap, the higher kind counts, as in Linux.
    pub machine: &'a [E820Entry],
    /// The cell's memory, guest-physical = host-physical.
    pub memory: &'a [Range],
    /// Where the cell's own ACPI tables stand; named [`E820Kind::ACPI_TABLES`]. Size 0 if it has none.
    pub tables: Range,
    /// The cell has the rest of the devices, so the machine's entries that are no RAM are its own to know.
    pub has_devices: bool,
}

/// The map has more than [`MAX_ENTRIES`] entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyEntries {
    /// Where the first entry that does not fit begins.
    pub base: u64,
}

/// Builds the cell's map.
pub fn build(source: &E820Source) -> Result<E820Map, TooManyEntries> {
    let mut map = E820Map::new();
    let mut position = 0;
    // From boundary to boundary: between two of them, nothing changes.
    while let Some(next) = source.next_boundary(position) {
        if let Some(kind) = source.kind_at(position) {
            append(
                &mut map,
                E820Entry {
                    range: Range::new(position, next - position),
                    kind,
                },
            )?;
        }
        position = next;
    }
    Ok(map)
}

fn append(map: &mut E820Map, entry: E820Entry) -> Result<(), TooManyEntries> {
    match map.last_mut() {
        Some(last) if last.kind == entry.kind && last.range.end() == entry.range.base => {
            last.range.size += entry.range.size;
            Ok(())
        }
        _ => map.try_push(entry).map_err(|_| TooManyEntries {
            base: entry.range.base,
        }),
    }
}

impl E820Source<'_> {
    fn ranges(&self) -> impl Iterator<Item = Range> {
        let machine = self.machine.iter().map(|entry| entry.range);
        machine
            .chain(self.memory.iter().copied())
            .chain([self.tables])
    }

    fn next_boundary(&self, position: u64) -> Option<u64> {
        self.ranges()
            .flat_map(|r| [r.base, r.end()])
            .filter(|&boundary| boundary > position)
            .min()
    }

    fn kind_at(&self, address: u64) -> Option<E820Kind> {
        if self.tables.holds(address) {
            return Some(E820Kind::ACPI_TABLES);
        }
        let entries = self
            .machine
            .iter()
            .filter(|entry| entry.range.holds(address));
        match entries.map(|entry| entry.kind).max()? {
            E820Kind::RAM => self
                .memory
                .iter()
                .any(|m| m.holds(address))
                .then_some(E820Kind::RAM),
            kind if kind > E820Kind::RAM && self.has_devices => Some(kind),
            _ => None,
        }
    }
}

impl fmt::Display for TooManyEntries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the cell's memory map has more than {MAX_ENTRIES} entries, at {:#x}",
            self.base
        )
    }
}

impl core::error::Error for TooManyEntries {}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(base: u64, end: u64, kind: u32) -> E820Entry {
        E820Entry {
            range: Range::new(base, end - base),
            kind: E820Kind(kind),
        }
    }

    fn machine() -> [E820Entry; 7] {
        // Out of order, as firmware may list it.
        [
            entry(0x10_0000, 0x3fff_0000, 1),
            entry(0, 0x9_f000, 1),
            entry(0x9_f000, 0xa_0000, 2),
            entry(0xe_8000, 0x10_0000, 2),
            entry(0x3fff_0000, 0x4000_0000, 3),
            entry(0xfffc_0000, 0x1_0000_0000, 2),
            entry(0x1_0000_0000, 0x1_4000_0000, 1),
        ]
    }

    const MEMORY: [Range; 2] = [Range::new(0, 0xa_0000), Range::new(0x10_0000, 0x2ff0_0000)];
    const NO_TABLES: Range = Range::new(0, 0);

    #[test]
    fn ram_is_what_both_the_machine_and_the_cell_have() {
        let machine = machine();
        let source = E820Source {
            machine: &machine,
            memory: &MEMORY,
            tables: NO_TABLES,
            has_devices: true,
        };
        let expected = [
            entry(0, 0x9_f000, 1),
            entry(0x9_f000, 0xa_0000, 2),
            entry(0xe_8000, 0x10_0000, 2),
            entry(0x10_0000, 0x3000_0000, 1),
            entry(0x3fff_0000, 0x4000_0000, 3),
            entry(0xfffc_0000, 0x1_0000_0000, 2),
        ];
        assert_eq!(build(&source).unwrap().as_slice(), expected);
    }

    #[test]
    fn a_cell_without_devices_sees_ram_alone() {
        let machine = machine();
        let source = E820Source {
            machine: &machine,
            memory: &MEMORY,
            tables: NO_TABLES,
            has_devices: false,
        };
        let expected = [entry(0, 0x9_f000, 1), entry(0x10_0000, 0x3000_0000, 1)];
        assert_eq!(build(&source).unwrap().as_slice(), expected);
    }

    #[test]
    fn the_cells_own_tables_are_no_ram() {
        let machine = [entry(0, 0x10_0000, 1)];
        let source = E820Source {
            machine: &machine,
            memory: &[Range::new(0, 0x10_0000)],
            tables: Range::new(0x2_0000, 0x3000),
            has_devices: true,
        };
        let expected = [
            entry(0, 0x2_0000, 1),
            entry(0x2_0000, 0x2_3000, 3),
            entry(0x2_3000, 0x10_0000, 1),
        ];
        assert_eq!(build(&source).unwrap().as_slice(), expected);
    }

    #[test]
    fn where_the_machines_entries_overlap_the_higher_kind_counts() {
        let machine = [
            entry(0, 0x9000, 1),
            entry(0x2000, 0x3000, 5),
            entry(0x1000, 0x4000, 2),
        ];
        let source = E820Source {
            machine: &machine,
            memory: &[Range::new(0, 0x4000), Range::new(0x4000, 0x5000)],
            tables: NO_TABLES,
            has_devices: true,
        };
        let expected = [
            entry(0, 0x1000, 1),
            entry(0x1000, 0x2000, 2),
            entry(0x2000, 0x3000, 5),
            entry(0x3000, 0x4000, 2),
            entry(0x4000, 0x9000, 1),
        ];
        assert_eq!(build(&source).unwrap().as_slice(), expected);
    }

    #[test]
    fn entries_of_no_kind_are_left_out() {
        let machine = [entry(0, 0x1000, 0), entry(0x1000, 0x2000, 1)];
        let source = E820Source {
            machine: &machine,
            memory: &[Range::new(0, 0x2000)],
            tables: NO_TABLES,
            has_devices: true,
        };
        assert_eq!(
            build(&source).unwrap().as_slice(),
            [entry(0x1000, 0x2000, 1)]
        );
    }

    #[test]
    fn too_many_entries_are_refused() {
        let machine: Vec<_> = (0..129)
            .map(|i| entry(i * 0x2000, i * 0x2000 + 0x1000, 2))
            .collect();
        let source = E820Source {
            machine: &machine,
            memory: &[],
            tables: NO_TABLES,
            has_devices: true,
        };
        assert_eq!(build(&source), Err(TooManyEntries { base: 128 * 0x2000 }));
    }

    prop_compose! {
        fn any_range()(base: u64, size: u64, shift in 0u32..64) -> Range {
            Range::new(base >> shift, size >> shift)
        }
    }

    proptest! {
        #[test]
        fn maps_are_sorted_merged_and_within_the_cell(
            machine in prop::collection::vec((any_range(), 0u32..8), 0..24),
            memory in prop::collection::vec(any_range(), 0..8),
            tables in any_range(), has_devices: bool, probe: u64, shift in 0u32..64,
        ) {
            let machine: Vec<_> = machine
                .into_iter()
                .map(|(range, kind)| E820Entry { range, kind: E820Kind(kind) })
                .collect();
            let source = E820Source { machine: &machine, memory: &memory, tables, has_devices };
            let map = build(&source).unwrap();
            for pair in map.windows(2) {
                prop_assert!(pair[0].range.end() <= pair[1].range.base);
                prop_assert!(
                    pair[0].kind != pair[1].kind || pair[0].range.end() < pair[1].range.base
                );
            }
            let probe = probe >> shift;
            let found = map.iter().find(|entry| entry.range.holds(probe)).map(|entry| entry.kind);
            prop_assert_eq!(found, source.kind_at(probe));
        }
    }
}
