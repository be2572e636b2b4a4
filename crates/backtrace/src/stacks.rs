// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the stacks are.

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The stacks of all CPUs, at most `N`. Added while CPUs start, looked up when something has failed: no lock.
#[derive(Debug)]
pub struct Stacks<const N: usize> {
    stacks: [Stack; N],
    count: AtomicUsize,
}

/// A stack: its rank, its first address, and the address behind it, 0 before it is known.
#[derive(Debug)]
struct Stack {
    rank: AtomicU64,
    start: AtomicU64,
    end: AtomicU64,
}

impl<const N: usize> Stacks<N> {
    /// Returns a list without stacks.
    pub const fn new() -> Self {
        Self {
            stacks: [const { Stack::new() }; N],
            count: AtomicUsize::new(0),
        }
    }

    /// Adds the stack at `start..end`; see [`crate::Memory::rank`]. One that is too many is forgotten.
    pub fn add(&self, rank: u8, start: u64, end: u64) {
        if let Some(stack) = self.stacks.get(self.count.fetch_add(1, Ordering::Relaxed)) {
            stack.rank.store(rank.into(), Ordering::Relaxed);
            stack.start.store(start, Ordering::Relaxed);
            stack.end.store(end, Ordering::Release);
        }
    }

    /// Returns the rank of the stack in which all eight bytes at `address` lie.
    pub fn rank(&self, address: u64) -> Option<u8> {
        let stack = self.stacks.iter().find(|stack| stack.holds_word(address))?;
        u8::try_from(stack.rank.load(Ordering::Relaxed)).ok()
    }
}

impl<const N: usize> Default for Stacks<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl Stack {
    const fn new() -> Self {
        Self {
            rank: AtomicU64::new(0),
            start: AtomicU64::new(0),
            end: AtomicU64::new(0),
        }
    }

    fn holds_word(&self, address: u64) -> bool {
        // The end is written last.
        let end = self.end.load(Ordering::Acquire);
        let start = self.start.load(Ordering::Relaxed);
        start <= address && address.checked_add(8).is_some_and(|behind| behind <= end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_lie_in_one_stack_as_a_whole() {
        let stacks = Stacks::<2>::new();
        assert_eq!(stacks.rank(0), None);
        stacks.add(3, 0x1000, 0x2000);
        stacks.add(0, 0x2000, 0x2010);
        for (address, rank) in [
            (0xff8, None),
            (0xffc, None),
            (0x1000, Some(3)),
            (0x1ff8, Some(3)),
            (0x1ffc, None),
            (0x2000, Some(0)),
            (0x2008, Some(0)),
            (0x2009, None),
            (u64::MAX, None),
            (u64::MAX - 7, None),
        ] {
            assert_eq!(stacks.rank(address), rank, "{address:#x}");
        }
    }

    #[test]
    fn a_stack_too_many_is_forgotten() {
        let stacks = Stacks::<1>::new();
        stacks.add(0, 0x1000, 0x2000);
        stacks.add(0, 0x3000, 0x4000);
        assert_eq!((stacks.rank(0x1000), stacks.rank(0x3000)), (Some(0), None));
    }
}
