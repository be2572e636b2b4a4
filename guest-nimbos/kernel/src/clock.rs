// SPDX-License-Identifier: MIT OR Apache-2.0
//! Time from the time-stamp counter.

use crate::abi::TimeSpec;

/// A clock that runs from the reading at which it was made.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: u64,
    tsc_khz: u32,
}

impl Clock {
    /// Starts at the reading `tsc` of a counter of `tsc_khz`, or returns `None` if the frequency is not known (0).
    pub const fn new(tsc: u64, tsc_khz: u32) -> Option<Self> {
        if tsc_khz == 0 {
            return None;
        }
        let start = tsc;
        Some(Self { start, tsc_khz })
    }

    /// Returns the milliseconds up to the reading `tsc`.
    pub fn milliseconds(&self, tsc: u64) -> u64 {
        self.ticks(tsc) / u64::from(self.tsc_khz)
    }

    /// Returns the time up to the reading `tsc`.
    pub fn time(&self, tsc: u64) -> TimeSpec {
        let (ticks, khz) = (self.ticks(tsc), u64::from(self.tsc_khz));
        let hertz = khz * 1000;
        TimeSpec {
            seconds: ticks / hertz,
            // Less than 2^42 ticks times a million: fits.
            nanoseconds: ticks % hertz * 1_000_000 / khz,
        }
    }

    /// Returns the ticks of `1 / hertz` seconds, at least one.
    pub fn period(&self, hertz: u32) -> u64 {
        (u64::from(self.tsc_khz) * 1000 / u64::from(hertz.max(1))).max(1)
    }

    /// Returns the reading that is `time` after the reading `from`, rounded up; the last one that exists if that is
    /// never.
    pub fn after(&self, from: u64, time: TimeSpec) -> u64 {
        const NANOSECONDS_PER_MILLISECOND: u128 = 1_000_000;
        let khz = u128::from(self.tsc_khz);
        let whole = u128::from(time.seconds) * khz * 1000;
        let rest = (u128::from(time.nanoseconds) * khz).div_ceil(NANOSECONDS_PER_MILLISECOND);
        u64::try_from(u128::from(from) + whole + rest).unwrap_or(u64::MAX)
    }

    /// Returns the reading at which [`Self::time`] is `time`.
    pub fn at(&self, time: TimeSpec) -> u64 {
        self.after(self.start, time)
    }

    fn ticks(&self, tsc: u64) -> u64 {
        tsc.saturating_sub(self.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_frequency_makes_no_clock() {
        assert!(Clock::new(0, 0).is_none());
    }

    #[test]
    fn time_counts_from_the_first_reading() {
        let clock = Clock::new(1_000, 2_000_000).unwrap();
        assert_eq!(clock.milliseconds(1_000), 0);
        assert_eq!(clock.milliseconds(1_000 + 5_000_000), 2);
        let time = clock.time(1_000 + 3 * 2_000_000_000 + 1);
        assert_eq!((time.seconds, time.nanoseconds), (3, 0));
        let time = clock.time(1_000 + 1_999_999_999);
        assert_eq!((time.seconds, time.nanoseconds), (0, 999_999_999));
    }

    #[test]
    fn extreme_readings_and_frequencies_do_not_overflow() {
        let clock = Clock::new(5, u32::MAX).unwrap();
        assert_eq!(clock.milliseconds(0), 0);
        assert!(clock.time(u64::MAX).nanoseconds < 1_000_000_000);
    }

    #[test]
    fn a_deadline_is_never_early() {
        let clock = Clock::new(1_000, 2_000_000).unwrap();
        let time = |seconds, nanoseconds| TimeSpec {
            seconds,
            nanoseconds,
        };
        assert_eq!(clock.after(70, time(0, 0)), 70);
        assert_eq!(clock.after(70, time(0, 1)), 72);
        assert_eq!(clock.after(70, time(2, 500)), 70 + 4_000_000_000 + 1000);
        assert_eq!(clock.after(70, time(u64::MAX, 999_999_999)), u64::MAX);
        let odd = Clock::new(1_000, 3_333_333).unwrap();
        for wanted in [time(0, 1), time(0, 7), time(3, 999_999_999)] {
            let reached = odd.time(odd.at(wanted));
            let total = |time: TimeSpec| time.seconds * 1_000_000_000 + time.nanoseconds;
            assert!(
                total(reached) + 1 >= total(wanted),
                "{reached:?} {wanted:?}"
            );
        }
    }

    #[test]
    fn a_period_is_a_fraction_of_a_second() {
        let clock = Clock::new(0, 1_000_000).unwrap();
        assert_eq!(clock.period(100), 10_000_000);
        assert_eq!(Clock::new(0, 1).unwrap().period(u32::MAX), 1);
    }
}
