// SPDX-License-Identifier: MIT OR Apache-2.0
//! Time.

use core::time::Duration;

use nimbos::abi::TimeSpec;

use crate::system::{self, Error};

/// Days of 400 years, after which the calendar repeats.
const ERA_DAYS: i64 = 146_097;
/// From the first of March of year 0 to 1970.
const EPOCH_DAYS: i64 = 719_468;
const DAY_SECONDS: i64 = 86_400;

/// Returns the time since the kernel started.
pub fn now() -> Result<Duration, Error> {
    let time = system::time()?;
    Ok(Duration::new(time.seconds, time.nanoseconds as u32))
}

/// Sleeps as long at least.
pub fn sleep(time: Duration) -> Result<(), Error> {
    system::sleep(TimeSpec {
        seconds: time.as_secs(),
        nanoseconds: time.subsec_nanos().into(),
    })
}

/// Returns seconds, with up to nine digits behind a point, as a duration.
pub fn parse_seconds(text: &str) -> Option<Duration> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || part.len() > 9 || !is_number(whole) || !is_number(part) {
        return None;
    }
    let digits = part.bytes().chain(core::iter::repeat(b'0')).take(9);
    let nanoseconds = digits.fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'));
    Some(Duration::new(whole.parse().ok()?, nanoseconds))
}

/// A date and a time of day, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Date {
    /// The year.
    pub year: i64,
    /// The month, 1 to 12.
    pub month: u8,
    /// The day, 1 to 31.
    pub day: u8,
    /// The hour.
    pub hour: u8,
    /// The minute.
    pub minute: u8,
}

impl Date {
    /// Returns the date of so many seconds since 1970.
    pub fn of(seconds: i64) -> Self {
        let days = seconds.div_euclid(DAY_SECONDS);
        let second = seconds.rem_euclid(DAY_SECONDS);
        // Years begin in March here, so that the odd day is the last one.
        let from_march = days + EPOCH_DAYS;
        let era = from_march.div_euclid(ERA_DAYS);
        let day_of_era = from_march.rem_euclid(ERA_DAYS);
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let month = (month_from_march + 2) % 12 + 1;
        Self {
            year: year_of_era + era * 400 + i64::from(month <= 2),
            month: month as u8,
            day: (day_of_year - (153 * month_from_march + 2) / 5 + 1) as u8,
            hour: (second / 3600) as u8,
            minute: (second / 60 % 60) as u8,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_have_up_to_nine_digits_behind_the_point() {
        assert_eq!(parse_seconds("3"), Some(Duration::from_secs(3)));
        assert_eq!(parse_seconds("0.25"), Some(Duration::from_millis(250)));
        assert_eq!(parse_seconds("1.000000001"), Some(Duration::new(1, 1)));
        assert_eq!(parse_seconds("2."), Some(Duration::from_secs(2)));
        for text in [
            "",
            ".5",
            "-1",
            "1.0000000000",
            "1x",
            "1.x",
            "1,5",
            "99999999999999999999",
        ] {
            assert_eq!(parse_seconds(text), None, "{text}");
        }
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        let date = |seconds| {
            let Date {
                year,
                month,
                day,
                hour,
                minute,
            } = Date::of(seconds);
            (year, month, day, hour, minute)
        };
        assert_eq!(date(0), (1970, 1, 1, 0, 0));
        assert_eq!(date(951_782_399), (2000, 2, 28, 23, 59));
        assert_eq!(date(951_782_400), (2000, 2, 29, 0, 0));
        assert_eq!(date(1_700_000_000), (2023, 11, 14, 22, 13));
        assert_eq!(date(4_107_542_400), (2100, 3, 1, 0, 0));
        assert_eq!(date(-1), (1969, 12, 31, 23, 59));
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut last = Date::of(-DAY_SECONDS);
        for day in 0..200_000 {
            let next = Date::of(day * DAY_SECONDS);
            let is_next = (next.year, next.month, next.day)
                == (last.year, last.month, last.day + 1)
                || next.day == 1 && last.day >= 28 && next.month == last.month % 12 + 1;
            assert!(is_next, "{last:?} {next:?}");
            last = next;
        }
        // Times at both ends do not overflow.
        for seconds in [i64::MIN, i64::MAX] {
            assert!((1..=12).contains(&Date::of(seconds).month));
        }
    }
}
