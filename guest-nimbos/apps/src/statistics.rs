// SPDX-License-Identifier: MIT OR Apache-2.0
//! Figures of a series of measurements.

/// What a series looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Smallest value.
    pub min: u32,
    /// Half of the values are at most this.
    pub median: u32,
    /// 99 of 100 values are at most this.
    pub p99: u32,
    /// Largest value.
    pub max: u32,
}

impl Summary {
    /// Sorts the series and returns its figures, or `None` if it is empty.
    pub fn of(series: &mut [u32]) -> Option<Self> {
        series.sort_unstable();
        Some(Self {
            min: *series.first()?,
            median: percentile(series, 50),
            p99: percentile(series, 99),
            max: *series.last()?,
        })
    }
}

/// Returns the smallest value that at least `percent` of the values do not exceed (nearest rank).
fn percentile(sorted: &[u32], percent: usize) -> u32 {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted[rank.saturating_sub(1)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_values_of_the_series() {
        let mut series: [u32; 100] = core::array::from_fn(|i| 100 - i as u32);
        let expected = Summary {
            min: 1,
            median: 50,
            p99: 99,
            max: 100,
        };
        assert_eq!(Summary::of(&mut series), Some(expected));
    }

    #[test]
    fn short_series_have_figures_too() {
        assert_eq!(Summary::of(&mut []), None);
        let of_one = Summary::of(&mut [7]).unwrap();
        assert_eq!(
            (of_one.min, of_one.median, of_one.p99, of_one.max),
            (7, 7, 7, 7)
        );
        let of_two = Summary::of(&mut [9, 4]).unwrap();
        assert_eq!((of_two.median, of_two.p99), (4, 9));
    }
}
