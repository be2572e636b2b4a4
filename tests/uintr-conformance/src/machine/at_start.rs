// SPDX-License-Identifier: MIT OR Apache-2.0
//! The state of user interrupts that each CPU finds when it starts, before the image changes any of it.

use core::sync::atomic::{AtomicU64, Ordering};

use uintr::CR4_UINTR;

use super::cpu::{self, MAX_CPUS};
use super::uintr::{MSRS, read_msr, uif};

/// The MSRs in their order, then UIF.
type Slots = [AtomicU64; MSRS.len() + 1];

static STATES: [Slots; MAX_CPUS] =
    [const { [const { AtomicU64::new(u64::MAX) }; MSRS.len() + 1] }; MAX_CPUS];

/// State of user interrupts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// The MSRs, in the order of [`MSRS`].
    pub msrs: [u64; MSRS.len()],
    /// UIF.
    pub uif: bool,
}

/// Keeps this CPU's state, which has user interrupts. CR4.UINTR is set for TESTUI alone.
pub fn keep() {
    let (last, msrs) = STATES[cpu::index()]
        .split_last()
        .expect("there is always UIF");
    for (slot, number) in msrs.iter().zip(MSRS) {
        slot.store(read_msr(number), Ordering::SeqCst);
    }
    cpu::set_cr4(CR4_UINTR, true);
    last.store(u64::from(uif()), Ordering::SeqCst);
    cpu::set_cr4(CR4_UINTR, false);
}

/// Returns what the CPU `index` found.
pub fn get(index: usize) -> State {
    let word = |at: usize| STATES[index][at].load(Ordering::SeqCst);
    State {
        msrs: core::array::from_fn(word),
        uif: word(MSRS.len()) != 0,
    }
}
