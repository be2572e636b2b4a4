// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random values for XCR0.

use proptest::prelude::*;

use super::is_valid_xcr0;

/// Tells whether XSETBV faults, rule by rule. (SDM 2D, "XSETBV—Set Extended Control Register", "Protected Mode
/// Exceptions")
fn faults(value: u64, supported: u64) -> bool {
    let bit = |number: u32| value >> number & 1;
    let is_partial = |numbers: &[u32]| numbers.iter().any(|&n| bit(n) != bit(numbers[0]));
    value & !supported != 0
        || bit(0) == 0
        || bit(2) == 1 && bit(1) == 0
        || is_partial(&[3, 4])
        || is_partial(&[5, 6, 7])
        || bit(5) == 1 && bit(2) == 0
        || is_partial(&[17, 18])
}

fn value() -> impl Strategy<Value = u64> {
    let bits = prop::bits::u64::masked(0x6_02ff);
    prop_oneof![6 => bits.prop_map(|value| value | 1), 2 => bits, 1 => any::<u64>()]
}

proptest! {
    #[test]
    fn a_value_is_accepted_if_and_only_if_the_processor_accepts_it(value in value(), supported in value()) {
        prop_assert_eq!(is_valid_xcr0(value, supported), !faults(value, supported));
        prop_assert_eq!(is_valid_xcr0(value, 0x6_02ff), !faults(value, 0x6_02ff));
    }
}
