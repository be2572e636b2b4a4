// SPDX-License-Identifier: MIT OR Apache-2.0
//! User-interrupt target tables: one for each process, and the kernel's, which the processes without targets share.
//!
//! Entry 0 of every table is the kernel's, so that the kernel posts whichever table the processor has. The instruction has no
//! privilege: a program can post by entry 0 too. It gains nothing by that: the channel's server wakes, and finds the ring empty.
//!
//! The tables are supervisor memory and mapped in every address space. A processor on which a program runs may read an entry at
//! any time; it need not read both words at once. So an entry becomes valid by the last of its stores, changes its target by a store
//! of one word, and keeps its target when it becomes invalid. Entries are given out in turn, so that a SENDUIPI that another CPU is
//! just executing with a former entry does not post its vector to the next one's target.
//!
//! SDM 3A, "User-Interrupt Target Table".

use core::sync::atomic::{AtomicU64, Ordering};

use uintr::{UittEntry, UittEntryError, Upid, msr};
use x86_64::registers::model_specific::Msr;

use crate::process::MAX_PROCESSES;

/// Entries of a table.
pub const ENTRIES: usize = 64;
/// The entry that is the kernel's, in all tables.
pub const KERNEL_ENTRY: usize = 0;
/// The number of the kernel's table; lower ones are those of processes.
pub const KERNEL_TABLE: usize = MAX_PROCESSES;

static TABLES: [Table; MAX_PROCESSES + 1] = [const { Table::new() }; MAX_PROCESSES + 1];

/// A table; zeroes are entries that SENDUIPI refuses.
#[repr(C, align(16))]
struct Table([[AtomicU64; 2]; ENTRIES]);

impl Table {
    const fn new() -> Self {
        Self([const { [const { AtomicU64::new(0) }; 2] }; ENTRIES])
    }
}

/// Makes a table the one of this CPU.
///
/// # Safety
/// The processor has user interrupts.
///
/// # Panics
/// If there is no such table.
pub unsafe fn activate(table: usize) {
    let address = (&raw const TABLES[table]).expose_provenance() as u64;
    let pointer = msr::tt(address).expect("tables are aligned");
    // SAFETY: the MSR exists, says the caller. SENDUIPI reads the table, whose valid entries name UPIDs that live for ever.
    unsafe { Msr::new(msr::IA32_UINTR_TT).write(pointer) };
}

/// Makes an entry one that posts `user_vector` to `upid`.
///
/// # Panics
/// If there is no such entry.
pub fn set(
    table: usize,
    index: usize,
    upid: &'static Upid,
    user_vector: u8,
) -> Result<(), UittEntryError> {
    let entry = UittEntry::new(address_of(upid), user_vector)?;
    let [first, second] = words(entry);
    let place = &TABLES[table].0[index];
    // The valid bit comes last.
    place[0].store(0, Ordering::Release);
    place[1].store(second, Ordering::Release);
    place[0].store(first, Ordering::Release);
    Ok(())
}

/// Makes an entry one that SENDUIPI refuses.
pub fn clear(table: usize, index: usize) {
    TABLES[table].0[index][0].store(0, Ordering::Release);
}

/// Tells whether an entry is valid and posts to `upid`.
pub fn leads_to(table: usize, index: usize, upid: &'static Upid) -> bool {
    let place = &TABLES[table].0[index];
    place[0].load(Ordering::Acquire) != 0 && place[1].load(Ordering::Acquire) == address_of(upid)
}

/// Lets a valid entry post to another UPID from now on.
pub fn redirect(table: usize, index: usize, upid: &'static Upid) {
    TABLES[table].0[index][1].store(address_of(upid), Ordering::Release);
}

/// Makes the kernel's entry of all tables one that posts `user_vector` to `upid`.
pub fn set_kernel_entry(upid: &'static Upid, user_vector: u8) -> Result<(), UittEntryError> {
    (0..TABLES.len()).try_for_each(|table| set(table, KERNEL_ENTRY, upid, user_vector))
}

fn address_of(upid: &'static Upid) -> u64 {
    core::ptr::from_ref(upid).expose_provenance() as u64
}

fn words(entry: UittEntry) -> [u64; 2] {
    // SAFETY: an entry is two words, in which every value is valid.
    unsafe { core::mem::transmute(entry) }
}
