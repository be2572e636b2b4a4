// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random RAM: kernel, ramdisk and boot area lie in it, side by side.

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

/// Ranges as they come out of a memory map: apart from each other, in ascending order, not always whole pages.
fn ram() -> impl Strategy<Value = Vec<Range>> {
    let step = prop_oneof![0u64..0x4_0000, 0u64..0x1000_0000, Just(1 << 32)];
    let size = prop_oneof![0x1000u64..0x8_0000, 0x1000u64..0x2000_0000, Just(1 << 32)];
    prop::collection::vec((step, size), 1..6).prop_map(|pieces| {
        let mut base = 0;
        let place = |(step, size): (u64, u64)| {
            base += step;
            let range = Range::new(base, size);
            base += size + 1;
            range
        };
        pieces.into_iter().map(place).collect()
    })
}

proptest! {
    #[test]
    fn what_is_placed_lies_in_ram_side_by_side(
        ram in ram(), at: Index, offset: Index, kernel_len in 0x1000u64..0x400_0000,
        ramdisk_len in prop::option::of(prop_oneof![0u64..0x10_0000, 0u64..0x4000_0000]),
    ) {
        let region = at.get(&ram);
        let kernel_len = kernel_len.min(region.size);
        let kernel = Range::new(region.base + offset.index((region.size - kernel_len + 1) as usize) as u64, kernel_len);
        let ramdisk = match ramdisk_len.map(|len| place_ramdisk(&ram, kernel, len)) {
            Some(Err(error)) => {
                prop_assert!(!error.to_string().is_empty());
                return Ok(());
            }
            Some(Ok(place)) => Some(place),
            None => None,
        };
        if let (Some(place), Some(len)) = (ramdisk, ramdisk_len) {
            prop_assert!(place.size >= len && place.base % PAGE_SIZE == 0 && place.base >= 1 << 20);
            prop_assert!(place.end() <= FOUR_GIB && ram.iter().any(|region| region.contains(place)));
            prop_assert!(!place.overlaps(kernel));
        }
        if let Some(base) = place_boot_area(&ram, kernel, ramdisk) {
            let area = Range::new(base, BOOT_AREA_LEN);
            prop_assert!(base % PAGE_SIZE == 0 && base >= LOWEST && area.end() <= FOUR_GIB);
            prop_assert!(ram.iter().any(|region| region.contains(area)));
            prop_assert!(!area.overlaps(kernel) && ramdisk.is_none_or(|place| !area.overlaps(place)));
        }
    }
}
