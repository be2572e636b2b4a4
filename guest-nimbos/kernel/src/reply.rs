// SPDX-License-Identifier: MIT OR Apache-2.0
//! Results from the other side of a channel, checked as hostile input.

/// Lowest error number of Linux.
const LAST_ERROR: i64 = -4095;

/// Why a result cannot be handed to the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadResult {
    /// The result.
    pub result: i64,
}

/// Returns a result that is an error number or in `0..=most`.
#[inline]
pub fn checked(result: i64, most: i64) -> Result<i64, BadResult> {
    if (LAST_ERROR..=most).contains(&result) {
        Ok(result)
    } else {
        Err(BadResult { result })
    }
}

/// Returns how many bytes of a buffer of `room` bytes to use for a transfer of `len`; the rest is left to another call.
pub fn clipped(len: u64, room: usize) -> usize {
    usize::try_from(len).unwrap_or(usize::MAX).min(room)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_errors_or_at_most_what_was_asked_for() {
        for good in [-4095, -2, 0, 99, 100] {
            assert_eq!(checked(good, 100), Ok(good));
        }
        for result in [-4096, 101, i64::MIN, i64::MAX] {
            assert_eq!(checked(result, 100), Err(BadResult { result }));
        }
    }

    #[test]
    fn transfers_are_clipped() {
        assert_eq!(clipped(10, 4096), 10);
        assert_eq!(clipped(u64::MAX, 4096), 4096);
    }
}
