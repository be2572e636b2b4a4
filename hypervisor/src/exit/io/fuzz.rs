// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random exit qualifications.

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn a_qualification_is_taken_apart_as_the_manual_says(qualification: usize) {
        let access = Access::from_qualification(qualification);
        prop_assert_eq!(usize::from(access.port), qualification >> 16 & 0xffff);
        // 0: one byte, 1: two bytes, 3: four bytes; the processor knows no other.
        let size = qualification & 7;
        prop_assert!(![0, 1, 3].contains(&size) || access.width.bytes() == size as u32 + 1);
        prop_assert_eq!(access.is_in, qualification & 8 != 0);
        prop_assert_eq!(access.is_string, qualification & 16 != 0);
        prop_assert_eq!(u64::from(mask(access.width)), (1u64 << (8 * access.width.bytes())) - 1);
    }
}
