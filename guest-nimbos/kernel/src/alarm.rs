// SPDX-License-Identifier: MIT OR Apache-2.0
//! When an alarm is due.

/// Ticks of a process's CPU time to its next alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Countdown {
    /// Ticks from one alarm to the next, 0 for none at all.
    interval: u64,
    /// Ticks left.
    left: u64,
}

impl Countdown {
    /// There is no alarm.
    pub const OFF: Self = Self::new(0);

    /// Returns one that is due every `interval` ticks, never for 0.
    pub const fn new(interval: u64) -> Self {
        Self {
            interval,
            left: interval,
        }
    }

    /// Counts a tick, and tells whether the alarm is due. It stays due until [`Self::restart`].
    pub fn tick(&mut self) -> bool {
        self.left = self.left.saturating_sub(1);
        self.interval != 0 && self.left == 0
    }

    /// Begins anew: the alarm has been raised.
    pub fn restart(&mut self) {
        self.left = self.interval;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_comes_every_so_many_ticks() {
        let mut countdown = Countdown::new(3);
        for _ in 0..2 {
            assert_eq!([(); 3].map(|()| countdown.tick()), [false, false, true]);
            countdown.restart();
        }
        let mut each = Countdown::new(1);
        assert!(each.tick());
        each.restart();
        assert!(each.tick());
    }

    #[test]
    fn an_alarm_that_cannot_be_raised_stays_due() {
        let mut countdown = Countdown::new(2);
        assert_eq!(
            [(); 4].map(|()| countdown.tick()),
            [false, true, true, true]
        );
        countdown.restart();
        assert!(!countdown.tick());
    }

    #[test]
    fn no_interval_is_no_alarm() {
        let mut off = Countdown::OFF;
        assert!(!off.tick() && !off.tick());
        let mut rare = Countdown::new(u64::MAX);
        assert!(!rare.tick());
    }
}
