// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random maps of machines, judged at every edge of what they were made from.

use super::*;
use proptest::prelude::*;

/// Ranges of few pages on little ground, so that they touch and overlap.
fn small() -> impl Strategy<Value = Range> {
    (0u64..0x20, 0u64..0x10).prop_map(|(base, size)| Range::new(base << 12, size << 12))
}

fn range() -> impl Strategy<Value = Range> {
    let any = (any::<u64>(), any::<u64>(), 0u32..64)
        .prop_map(|(base, size, shift)| Range::new(base >> shift, size >> shift));
    prop_oneof![6 => small(), 1 => any]
}

/// What the documentation says of an address, in words of its own.
fn expected(source: &E820Source, address: u64) -> Option<E820Kind> {
    let within = |range: &Range| address >= range.base && address - range.base < range.size;
    if within(&source.tables) {
        return Some(E820Kind::ACPI_TABLES);
    }
    let kinds = source
        .machine
        .iter()
        .filter(|entry| within(&entry.range))
        .map(|entry| entry.kind.0);
    match kinds.max() {
        Some(1) => source.memory.iter().any(within).then_some(E820Kind::RAM),
        Some(kind) if kind > 1 && source.has_devices => Some(E820Kind(kind)),
        _ => None,
    }
}

proptest! {
    #[test]
    fn every_address_is_what_machine_and_configuration_say(
        machine in prop::collection::vec((range(), 0u32..8), 0..12),
        memory in prop::collection::vec(range(), 0..6),
        tables in small(), has_devices: bool,
    ) {
        let machine: Vec<_> = machine.into_iter().map(|(range, kind)| E820Entry { range, kind: E820Kind(kind) }).collect();
        let source = E820Source { machine: &machine, memory: &memory, tables, has_devices };
        let map = build(&source).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let edges = machine.iter().map(|entry| entry.range).chain(memory.iter().copied()).chain([tables]);
        for edge in edges.flat_map(|range| [range.base, range.end()]) {
            for address in [edge.saturating_sub(1), edge, edge.saturating_add(1)] {
                // The last byte of all has no address behind it: no range holds it.
                if address == u64::MAX {
                    continue;
                }
                let found = map.iter().find(|entry| entry.range.holds(address)).map(|entry| entry.kind);
                prop_assert_eq!(found, expected(&source, address), "{:#x}", address);
            }
        }
        prop_assert!(map.windows(2).all(|pair| pair[0].range.end() <= pair[1].range.base));
    }

    #[test]
    fn too_many_entries_are_refused_not_lost(count in 0usize..300) {
        let entry = |i: usize| E820Entry { range: Range::new(i as u64 * 0x2000, 0x1000), kind: E820Kind::RESERVED };
        let machine: Vec<_> = (0..count).map(entry).collect();
        let source = E820Source { machine: &machine, memory: &[], tables: Range::new(0, 0), has_devices: true };
        prop_assert_eq!(build(&source).map(|map| map.len()).ok(), (count <= MAX_ENTRIES).then_some(count));
    }
}
