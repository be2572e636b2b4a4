// SPDX-License-Identifier: MIT OR Apache-2.0
//! A few numbers for many samples.

/// Order statistics of samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Smallest.
    pub min: u32,
    /// Middle one, the upper of two.
    pub median: u32,
    /// The smallest that 99 of 100 samples do not exceed.
    pub p99: u32,
}

impl Summary {
    /// Sorts the samples and describes them; `None` if there are none.
    pub fn of(samples: &mut [u32]) -> Option<Self> {
        samples.sort_unstable();
        let len = samples.len();
        Some(Self {
            min: *samples.first()?,
            median: samples[len / 2],
            p99: samples[(len * 99).div_ceil(100) - 1],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_takes_the_samples_in_order() {
        let mut samples: [u32; 200] = core::array::from_fn(|i| 200 - i as u32);
        let expected = Summary {
            min: 1,
            median: 101,
            p99: 198,
        };
        assert_eq!(Summary::of(&mut samples), Some(expected));
        assert_eq!(Summary::of(&mut []), None);
        let one = Summary {
            min: 7,
            median: 7,
            p99: 7,
        };
        assert_eq!(Summary::of(&mut [7]), Some(one));
    }
}
