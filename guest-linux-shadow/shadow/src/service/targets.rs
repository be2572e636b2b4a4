// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where completions of the first ring are announced: the client's UPID slots, one for each of its CPUs.

use hv_abi::channel::UPID_SLOTS;

/// A slot that was registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Target {
    vector: u32,
    /// Operand of SENDUIPI.
    index: u64,
}

/// The client's slots as far as they are registered.
#[derive(Debug, Default)]
pub struct Targets {
    by_slot: [Option<Target>; UPID_SLOTS],
    /// For slots that are not.
    first: Option<u64>,
    /// Targets of rings of processes.
    of_rings: u64,
}

impl Targets {
    /// Tells whether there is any: from then on the client is notified.
    pub fn are_known(&self) -> bool {
        self.first.is_some()
    }

    /// Returns where to post for a slot: there, or at the first that was registered.
    pub fn of_slot(&self, slot: u32) -> Option<u64> {
        match self.by_slot.get(slot as usize) {
            Some(Some(target)) => Some(target.index),
            _ => self.first,
        }
    }

    /// Tells whether a slot is registered with this vector.
    pub fn has(&self, slot: u32, vector: u32) -> bool {
        let target = self.by_slot.get(slot as usize).copied().flatten();
        target.is_some_and(|target| target.vector == vector)
    }

    /// Notes a slot, which exists.
    pub fn set(&mut self, slot: u32, vector: u32, index: u64) {
        self.by_slot[slot as usize] = Some(Target { vector, index });
        self.first.get_or_insert(index);
    }

    /// Counts the target of a process's ring, which came or went.
    pub fn count_ring(&mut self, change: i64) {
        self.of_rings = self.of_rings.saturating_add_signed(change);
    }

    /// Returns the number of targets.
    pub fn count(&self) -> u64 {
        self.by_slot.iter().flatten().count() as u64 + self.of_rings
    }
}
