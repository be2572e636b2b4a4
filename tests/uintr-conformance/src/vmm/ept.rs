// SPDX-License-Identifier: MIT OR Apache-2.0
//! Extended page tables: guest-physical is physical, but for single pages that the cases take away. (SDM 3C, "The
//! Extended Page Table Mechanism (EPT)")

use core::arch::asm;
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::machine::paging::{PAGE_LEN, Words};

const READ_WRITE_EXECUTE: u64 = 0b111;
const WRITE_BACK: u64 = 6 << 3;
const LARGE: u64 = 1 << 7;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
const LARGE_PAGE: u64 = 2 << 20;
const GIB: u64 = 1 << 30;
/// Above it are devices, uncached.
const DEVICES: u64 = 3 << 30;
/// Four levels of write-back tables.
const POINTER_FLAGS: u64 = 3 << 3 | 6;
/// 2 MiB pages that can be split.
const MAX_SPLIT: usize = 4;

static PML4: Words = Words::new();
static PDPT: Words = Words::new();
static DIRECTORIES: [Words; 4] = [const { Words::new() }; 4];
static TABLES: [Words; MAX_SPLIT] = [const { Words::new() }; MAX_SPLIT];
static SPLIT_COUNT: AtomicUsize = AtomicUsize::new(0);

/// Maps the first 4 GiB identically.
pub fn map_all() {
    SPLIT_COUNT.store(0, Ordering::SeqCst);
    PML4.0[0].store(PDPT.address() | READ_WRITE_EXECUTE, Ordering::SeqCst);
    let entries = DIRECTORIES.iter().flat_map(|directory| &directory.0);
    for (number, entry) in entries.enumerate() {
        let address = number as u64 * LARGE_PAGE;
        let memory_type = if address < DEVICES { WRITE_BACK } else { 0 };
        entry.store(
            address | READ_WRITE_EXECUTE | memory_type | LARGE,
            Ordering::SeqCst,
        );
    }
    for (entry, directory) in PDPT.0.iter().zip(&DIRECTORIES) {
        entry.store(directory.address() | READ_WRITE_EXECUTE, Ordering::SeqCst);
    }
}

/// Takes a page below 4 GiB away from all guests.
///
/// # Panics
/// If pages in too many places are taken away.
pub fn unmap(physical: u64) {
    let directory = &DIRECTORIES[(physical / GIB) as usize];
    let entry = &directory.0[(physical % GIB / LARGE_PAGE) as usize];
    let old = entry.load(Ordering::SeqCst);
    if old & LARGE != 0 {
        let table = &TABLES[SPLIT_COUNT.fetch_add(1, Ordering::SeqCst)];
        for (number, small) in table.0.iter().enumerate() {
            let page = (old & !LARGE) + number as u64 * PAGE_LEN;
            small.store(page, Ordering::SeqCst);
        }
        entry.store(table.address() | READ_WRITE_EXECUTE, Ordering::SeqCst);
    }
    let table_address = entry.load(Ordering::SeqCst) & ADDRESS;
    let table = TABLES
        .iter()
        .find(|table| table.address() == table_address)
        .expect("it was split here");
    table.0[(physical / PAGE_LEN % 512) as usize].store(0, Ordering::SeqCst);
}

/// Returns the EPT pointer.
pub fn pointer() -> u64 {
    PML4.address() | POINTER_FLAGS
}

/// Forgets what this CPU has cached of all extended page tables.
///
/// # Safety
/// This CPU is in VMX root operation.
pub unsafe fn invalidate() {
    const ALL_CONTEXTS: u64 = 2;
    let descriptor = [0_u64; 2];
    // SAFETY: the caller vouches for the mode; translations are only forgotten.
    unsafe {
        asm!("invept {}, [{}]", in(reg) ALL_CONTEXTS, in(reg) &descriptor, options(nostack, readonly));
    }
}
