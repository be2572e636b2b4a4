// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random entries: a target is the cell's, and passes for a reason.

use ApicMode::{X2apic, Xapic};
use proptest::prelude::*;

use super::tests::entry;
use super::*;
use crate::ioapic::fixture::{cell, clustered};

proptest! {
    #[test]
    fn a_target_is_a_cpu_of_the_cell(
        low: u32, destination: u8, ids in prop::collection::vec(0u32..300, 1..5), flat: bool, x2: bool,
    ) {
        let cell = if flat { cell(&ids) } else { clustered(&ids) };
        let mode = if x2 { X2apic } else { Xapic };
        if let Ok(target) = entry(low, destination).target(&cell, mode) {
            prop_assert!(ids.contains(&u32::from(target)));
            prop_assert!(low >> 8 & 7 < 2 && low & 0xff >= 16);
        }
    }
}
