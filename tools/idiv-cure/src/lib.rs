// SPDX-License-Identifier: MIT OR Apache-2.0
//! A right 64-bit IDIV for a miscompiled emulator.
//!
//! Debian's Bochs 3.1 exports the function that divides 128 bits by 64 for the IDIV instruction,
//! and the compiler dropped a store in it. This shared object, loaded into the emulator before it
//! starts, writes a jump to a right implementation over that function's first bytes. When it can't,
//! it says why and ends the process: it never leaves an emulator running that divides wrongly.

// A test program is not the emulator, and would be ended at its start.
#[cfg(not(test))]
mod install;

/// The emulator's signed 128-bit number.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bit128s {
    low: u64,
    high: i64,
}

/// Returns quotient and remainder, both rounded towards zero.
///
/// The divisor is not 0: the emulator has refused that. It also looks for overflow of the quotient itself.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the halves of the result are wanted"
)]
fn divide(dividend: Bit128s, divisor: i64) -> (Bit128s, i64) {
    let dividend = (i128::from(dividend.high) << 64) | i128::from(dividend.low);
    let quotient = dividend.wrapping_div(i128::from(divisor));
    let remainder = dividend.wrapping_rem(i128::from(divisor));
    (
        Bit128s {
            low: quotient as u64,
            high: (quotient >> 64) as i64,
        },
        remainder as i64,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_negative_dividend_is_rounded_towards_zero() {
        let minus_seven = Bit128s {
            low: 7_u64.wrapping_neg(),
            high: -1,
        };
        assert_eq!(
            divide(minus_seven, 2),
            (
                Bit128s {
                    low: 3_u64.wrapping_neg(),
                    high: -1
                },
                -1
            )
        );
        assert_eq!(divide(minus_seven, -2), (Bit128s { low: 3, high: 0 }, -1));
    }

    #[test]
    fn both_halves_of_the_dividend_count() {
        let dividend = Bit128s {
            low: 0x89ab_cdef_0123_4567,
            high: 3,
        };
        assert_eq!(
            divide(dividend, 9),
            (
                Bit128s {
                    low: 0x64a1_4fc5_3903_eb44,
                    high: 0
                },
                3
            )
        );
    }

    #[test]
    fn the_smallest_dividend_does_not_end_the_emulator() {
        let smallest = Bit128s {
            low: 0,
            high: i64::MIN,
        };
        assert_eq!(divide(smallest, -1), (smallest, 0));
    }
}
