// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random machines and claims: the rest holds nothing that is somebody's, and everything that is nobody's.

use proptest::prelude::*;

use super::*;

fn range() -> impl Strategy<Value = (u64, u64)> {
    // In units of half a page: firmware's entries need not begin at pages.
    prop_oneof![
        6 => (0u64..0x400, 0u64..0x100).prop_map(|(base, size)| (base << 11, size << 11)),
        2 => (0u64..0x1000, 0u64..0x800).prop_map(|(base, size)| (0xfeb0_0000 + (base << 11), size << 11)),
        2 => (0u64..0x200, 0u64..0x200).prop_map(|(base, size)| (base << 23, size << 23)),
        1 => (any::<u64>(), any::<u64>(), 0u32..64).prop_map(|(base, size, shift)| (base >> shift, size >> shift)),
    ]
}

fn is_interrupt_controller(range: Range) -> bool {
    [0xfec0_0000, 0xfee0_0000]
        .iter()
        .any(|&base| range.overlaps(Range::new(base, 1 << 20)))
}

proptest! {
    #[test]
    fn the_rest_is_what_is_nobodys(
        machine in prop::collection::vec((range(), 1u32..6), 0..10),
        claimed in prop::collection::vec(range(), 0..8),
        probes in prop::collection::vec(0u64..FOUR_GIB, 8),
    ) {
        let machine: Vec<_> = machine.into_iter()
            .map(|((base, size), kind)| E820Entry { range: Range::new(base, size), kind: E820Kind(kind) })
            .collect();
        // Claims are whole pages: `System::check` sees to that.
        let claimed: Vec<_> = claimed.into_iter()
            .map(|(base, size)| Region::new(base & !0xfff, size & !0xfff))
            .collect();
        let mut found: Vec<DeviceRange> = Vec::new();
        for_each_device_range(&machine, &claimed, |piece| -> Result<(), ()> { found.push(piece); Ok(()) }).unwrap();
        prop_assert!(found.windows(2).all(|pair| pair[0].range.end() <= pair[1].range.base));
        for piece in &found {
            let Range { base, size } = piece.range;
            prop_assert!(base % PAGE_SIZE == 0 && size % PAGE_SIZE == 0 && size != 0 && base + size <= FOUR_GIB);
            prop_assert!(!claimed.iter().any(|c| Range::new(c.base, c.size).overlaps(piece.range)), "{}", piece.range);
            prop_assert!(!is_interrupt_controller(piece.range));
        }
        let edges = machine.iter().map(|entry| entry.range).chain(claimed.iter().map(|c| Range::new(c.base, c.size)));
        let edges = edges.flat_map(|range| [range.base, range.end()]);
        let near = edges.flat_map(|edge| [edge.saturating_sub(PAGE_SIZE), edge, edge.saturating_add(PAGE_SIZE)]);
        for probe in near.chain(probes).filter(|&probe| probe < FOUR_GIB) {
            let page = Range::new(probe & !0xfff, PAGE_SIZE);
            let is_claimed = claimed.iter().any(|c| Range::new(c.base, c.size).overlaps(page));
            let is_ram = machine.iter().any(|entry| entry.kind == E820Kind::RAM && entry.range.contains(page));
            let expected = !is_claimed && !is_interrupt_controller(page) && (!is_ram || page.base < LEGACY_END);
            let holds = found.iter().any(|piece| piece.range.contains(page));
            prop_assert_eq!(holds, expected, "{}", page);
        }
    }
}
