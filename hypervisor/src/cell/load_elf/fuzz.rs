// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random images and ramdisks: what is planned lies in the cell's memory, each thing beside the others.

use std::sync::LazyLock;

use cell_config::CellRegion;
use proptest::prelude::*;

use super::super::fuzz::system;
use super::*;
use crate::loader::elf_image::fuzz::{MEMORY, image};

/// A system with the memory that the images are made for.
static SYSTEM: LazyLock<System> = LazyLock::new(|| {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let tree = system().new_tree(&mut runner).expect("nothing is filtered");
    let mut system = proptest::strategy::ValueTree::current(&tree);
    let regions = MEMORY.iter().map(|region| CellRegion {
        base: region.base << 8,
        size: region.size,
        guest: region.base,
    });
    let mut cell = system.cells[0].clone();
    cell.memory = regions.collect();
    // The second cell has but one region: its ramdisk lies in that of the boot area.
    let mut small = cell.clone();
    small.memory.truncate(1);
    system.cells = [cell, small].into_iter().collect();
    system
});

static RAMDISK: [u8; 0x11_0000] = [0; 0x11_0000];

proptest! {
    #[test]
    fn image_and_ramdisk_lie_side_by_side_in_the_cells_memory(
        image in image(), id in 0usize..2, ramdisk in prop::option::of(prop_oneof![0usize..0x11_0000, (0usize..0x110).prop_map(|n| n << 12)]),
    ) {
        let initrd = ramdisk.map(|len| &RAMDISK[..len]);
        let plan = match ElfPlan::new(id, &SYSTEM, &image.file, initrd) {
            Ok(plan) => plan,
            Err(error) => {
                prop_assert!(!error.to_string().is_empty());
                return Ok(());
            }
        };
        let boot_area = Range::new(MEMORY[0].base, BOOT_AREA_LEN);
        let segments = plan.image.segments().iter().map(|segment| segment.memory);
        let ramdisk = plan.initrd.map(|(bytes, gpa)| Range::new(gpa.0, bytes.len() as u64));
        let all: Vec<Range> = segments.chain(ramdisk).chain([boot_area]).collect();
        for (i, range) in all.iter().enumerate() {
            prop_assert!(MEMORY.iter().any(|region| region.contains(*range)), "{}", range);
            prop_assert!(!all[..i].iter().any(|other| other.overlaps(*range)), "{}", range);
        }
        prop_assert!(ramdisk.is_none_or(|ramdisk| ramdisk.base % PAGE_SIZE == 0));
    }
}
