// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every MSR of both ranges of the bitmaps: read, and written with hostile values. What is found are the lists of those
//! that can be read, that take a write, and that a write changes.

use test_guests::NumberSet;

use super::super::{Failure, expect};
use crate::arch::apic::X2APIC_ICR;
use crate::arch::probe::{GENERAL_PROTECTION, Raised};
use crate::arch::sweep::{read_msr, write_msr};
use crate::boot::Boot;

const RANGES: [u32; 2] = [0, 0xc000_0000];
const RANGE_LEN: u32 = 0x2000;
const WORDS: usize = (RANGE_LEN / 64) as usize;

/// Writes of these stop the cell, of the interrupt command register some; [`super::super::attack`] tries them.
const STOPPING: [core::ops::RangeInclusive<u32>; 12] = [
    0x1b..=0x1b,
    0x3a..=0x3a,
    0x79..=0x79,
    0x9b..=0x9b,
    0x9e..=0x9e,
    0x1f2..=0x1f3,
    0x480..=0x493,
    0x600..=0x69f,
    0x6a1..=0x6a1,
    0x6a3..=0x6a3,
    0x6a9..=0x6df,
    0x6e2..=0x6ff,
];
/// Further ones.
const STOPPING_MORE: [core::ops::RangeInclusive<u32>; 3] =
    [X2APIC_ICR..=X2APIC_ICR, 0xc80..=0xc81, 0xc90..=0xd90];

/// MSRs that no bitmap covers.
const OUTSIDE: [u32; 12] = [
    0x2000,
    0x3fff,
    0x1_0000,
    0x4000_0000,
    0x4b56_4d00,
    0x8000_0000,
    0xbfff_ffff,
    0xc000_2000,
    0xc001_0000,
    0xc001_0114,
    0xc001_1029,
    u32::MAX,
];

/// Written to each MSR, and its own value with each bit flipped.
const VALUES: [u64; 6] = [
    0,
    u64::MAX,
    0x8000_0000_0000,
    0x3000_0000,
    0xfee0_0900,
    0x4100,
];

/// What a range's MSRs do.
struct Found {
    readable: NumberSet<WORDS>,
    writable: NumberSet<WORDS>,
    changing: NumberSet<WORDS>,
    /// Exceptions other than #GP(0).
    strange: NumberSet<WORDS>,
}

/// Runs the sweep. Interrupts stay disabled: some of the writes raise them.
pub fn run(_boot: &Boot) -> Result<(), Failure> {
    for base in RANGES {
        let mut found = Found::new(base);
        for msr in base..base + RANGE_LEN {
            found.probe(msr);
        }
        report!("name=msr-read range={base:x} msrs={}", found.readable);
        report!("name=msr-write range={base:x} msrs={}", found.writable);
        report!("name=msr-change range={base:x} msrs={}", found.changing);
        report!("name=msr-strange range={base:x} msrs={}", found.strange);
    }
    for msr in OUTSIDE {
        let read = read_msr(msr) == Err(GENERAL_PROTECTION);
        let written = write_msr(msr, 0) == GENERAL_PROTECTION;
        expect("msr-outside", i64::from(read && written), 1)?;
    }
    report!("name=msr-outside msrs={}", OUTSIDE.len());
    Ok(())
}

impl Found {
    const fn new(base: u32) -> Self {
        Self {
            readable: NumberSet::new(base),
            writable: NumberSet::new(base),
            changing: NumberSet::new(base),
            strange: NumberSet::new(base),
        }
    }

    fn probe(&mut self, msr: u32) {
        let before = read_msr(msr);
        match before {
            Ok(_) => self.readable.insert(msr),
            Err(raised) => self.note(msr, raised),
        }
        let mut stopping = STOPPING.iter().chain(&STOPPING_MORE);
        if stopping.any(|range| range.contains(&msr)) {
            return;
        }
        let value = before.unwrap_or(0);
        for written in [value].into_iter().chain(VALUES) {
            self.write(msr, before.ok(), written);
        }
        if before.is_ok() || self.writable.contains(msr) {
            for bit in 0..64 {
                self.write(msr, before.ok(), value ^ 1 << bit);
            }
        }
    }

    fn write(&mut self, msr: u32, before: Option<u64>, written: u64) {
        match write_msr(msr, written) {
            Raised::Nothing => self.writable.insert(msr),
            raised => return self.note(msr, raised),
        }
        if let Some(value) = before {
            if is_steady(msr) && read_msr(msr) != Ok(value) {
                self.changing.insert(msr);
            }
            // What cannot be written back counts by itself.
            let _ = write_msr(msr, value);
        }
    }

    fn note(&mut self, msr: u32, raised: Raised) {
        if raised != GENERAL_PROTECTION {
            self.strange.insert(msr);
        }
    }
}

/// Tells whether an MSR keeps its value by itself: not the time-stamp counter, IA32_MPERF, IA32_APERF, and the APIC timer's
/// count.
fn is_steady(msr: u32) -> bool {
    !matches!(msr, 0x10 | 0xe7 | 0xe8 | 0x839)
}
