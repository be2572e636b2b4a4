// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which page frames of the cell's memory are free.

use crate::layout::PAGE_LEN;

const WORD_BITS: usize = u64::BITS as usize;

/// A bitmap of page frames, for at most [`FrameBitmap::MAX_FRAMES`] of them. Knows numbers, touches no memory.
#[derive(Debug)]
pub struct FrameBitmap {
    base: u64,
    frame_count: usize,
    /// No frame below is free.
    first_free: usize,
    /// One bit a frame; set if it is in use.
    used: [u64; Self::MAX_FRAMES / WORD_BITS],
}

impl FrameBitmap {
    /// Frames that a bitmap can hold: 256 MiB of memory. What is above stays unused.
    pub const MAX_FRAMES: usize = 1 << 16;

    /// Returns a bitmap without any frame.
    pub const fn empty() -> Self {
        Self {
            base: 0,
            frame_count: 0,
            first_free: 0,
            used: [0; Self::MAX_FRAMES / WORD_BITS],
        }
    }

    /// Takes over the frames of the `len` bytes at `base`, all of them free. Both are multiples of the page size;
    /// what is not a whole page is left out.
    pub fn reset(&mut self, base: u64, len: u64) {
        let frames = usize::try_from(len / PAGE_LEN).unwrap_or(usize::MAX);
        self.base = base;
        self.frame_count = frames.min(Self::MAX_FRAMES);
        self.first_free = 0;
        self.used.fill(0);
    }

    /// Takes the frames that have a byte in `start..end` out of use; those that are not of this bitmap do not matter.
    pub fn reserve(&mut self, start: u64, end: u64) {
        for number in 0..self.frame_count {
            let frame = self.address(number);
            if frame < end && start < frame + PAGE_LEN {
                self.set(number, true);
            }
        }
    }

    /// Finds `count` free frames in a row, takes them and returns the address of the first.
    pub fn allocate(&mut self, count: usize) -> Option<u64> {
        if count == 0 {
            return None;
        }
        let (mut number, mut run) = (self.first_free, 0);
        let mut first_free = None;
        while number < self.frame_count {
            if number.is_multiple_of(WORD_BITS) && self.used[number / WORD_BITS] == u64::MAX {
                number += WORD_BITS;
                run = 0;
                continue;
            }
            if self.is_used(number) {
                run = 0;
            } else {
                first_free.get_or_insert(number);
                run += 1;
            }
            number += 1;
            if run == count {
                let first = number - count;
                (first..number).for_each(|n| self.set(n, true));
                let lowest = first_free.unwrap_or(first);
                self.first_free = if lowest == first { number } else { lowest };
                return Some(self.address(first));
            }
        }
        None
    }

    /// Gives `count` frames from `address` on back.
    ///
    /// # Panics
    /// If one of them is not of this bitmap or is free already.
    pub fn free(&mut self, address: u64, count: usize) {
        let offset = address.checked_sub(self.base);
        let first = offset.expect("the frame lies below the bitmap") / PAGE_LEN;
        for number in first as usize..first as usize + count {
            assert!(self.is_used(number), "frame {number} is free already");
            self.set(number, false);
        }
        self.first_free = self.first_free.min(first as usize);
    }

    /// Returns the number of free frames.
    pub fn free_count(&self) -> usize {
        // Bits of frames that do not exist stay clear.
        let used: u32 = self.used.iter().map(|word| word.count_ones()).sum();
        self.frame_count - used as usize
    }

    fn address(&self, number: usize) -> u64 {
        self.base + number as u64 * PAGE_LEN
    }

    fn is_used(&self, number: usize) -> bool {
        assert!(number < self.frame_count, "frame {number} does not exist");
        self.used[number / WORD_BITS] >> (number % WORD_BITS) & 1 != 0
    }

    fn set(&mut self, number: usize, used: bool) {
        let bit = 1 << (number % WORD_BITS);
        let word = &mut self.used[number / WORD_BITS];
        *word = if used { *word | bit } else { *word & !bit };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bitmap(frames: u64) -> FrameBitmap {
        let mut bitmap = FrameBitmap::empty();
        bitmap.reset(0x4200_0000, frames * PAGE_LEN);
        bitmap
    }

    #[test]
    fn frames_come_in_rows_and_go_back() {
        let mut frames = bitmap(8);
        let first = frames.allocate(3).unwrap();
        let second = frames.allocate(4).unwrap();
        assert_eq!((first, second), (0x4200_0000, 0x4200_3000));
        assert_eq!(frames.allocate(2), None);
        frames.free(first, 3);
        assert_eq!(frames.free_count(), 4);
        assert_eq!(frames.allocate(4), None);
        assert_eq!(frames.allocate(2), Some(first));
    }

    #[test]
    fn reserved_frames_are_never_given_out() {
        let mut frames = bitmap(6);
        // Two bytes on a page boundary reserve both pages.
        frames.reserve(0x4200_1fff, 0x4200_2001);
        frames.reserve(0, 0x1000);
        assert_eq!(frames.free_count(), 4);
        assert_eq!(frames.allocate(2), Some(0x4200_3000));
    }

    #[test]
    fn nothing_and_too_much_are_not_there() {
        let mut frames = bitmap(4);
        assert_eq!(frames.allocate(0), None);
        assert_eq!(frames.allocate(5), None);
        assert_eq!(frames.allocate(usize::MAX), None);
        assert_eq!(bitmap(0).allocate(1), None);
        assert_eq!(
            bitmap(1 << 40).free_count(),
            FrameBitmap::MAX_FRAMES,
            "what the bitmap cannot hold stays unused"
        );
    }

    #[test]
    fn frames_that_come_back_are_found_again() {
        let mut frames = bitmap(200);
        let all: [u64; 200] = core::array::from_fn(|_| frames.allocate(1).unwrap());
        assert_eq!((frames.allocate(1), frames.free_count()), (None, 0));
        for address in [all[150], all[3], all[151]] {
            frames.free(address, 1);
        }
        assert_eq!(frames.allocate(2), Some(all[150]));
        assert_eq!(frames.allocate(1), Some(all[3]));
        assert_eq!(frames.allocate(1), None);
    }

    #[test]
    #[should_panic(expected = "free already")]
    fn freeing_twice_is_a_bug() {
        let mut frames = bitmap(4);
        let frame = frames.allocate(1).unwrap();
        frames.free(frame, 1);
        frames.free(frame, 1);
    }
}
