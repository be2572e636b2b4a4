// SPDX-License-Identifier: MIT OR Apache-2.0
//! The one address space: everything identical, and a window of single pages that the cases map as they need.
//!
//! The image's pages are for user mode too, because its code runs there; what the processor reads by itself is not (the
//! linker script's `.bss.supervisor`). The window lies below 4 GiB, where compatibility mode reaches it. Each of its
//! pages has a frame in the image, by which CPL 0 reaches it however the window maps it.
//!
//! SDM 3A, "4-Level Paging and 5-Level Paging".

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use x86_64::instructions::tlb;
use x86_64::registers::control::{Cr3, Cr3Flags};
use x86_64::structures::paging::PhysFrame;
use x86_64::{PhysAddr, VirtAddr};

/// Present.
pub const PRESENT: u64 = 1 << 0;
/// Writable.
pub const WRITABLE: u64 = 1 << 1;
/// For user mode.
pub const USER: u64 = 1 << 2;
const CACHE_DISABLE: u64 = 1 << 4;
const ACCESSED: u64 = 1 << 5;
/// Dirty; without writable, a page of a shadow stack.
pub const DIRTY: u64 = 1 << 6;
const LARGE: u64 = 1 << 7;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// Length of a page in bytes.
pub const PAGE_LEN: u64 = 4096;
const LARGE_PAGE: u64 = 2 << 20;
/// Linear address of the window.
const WINDOW: u64 = 0x8000_0000;
/// First linear address above RAM: device memory, uncached.
const DEVICES: u64 = 0xc000_0000;
const GIB: usize = 1 << 30;
/// How many 2 MiB pages of the image can be split.
const MAX_SPLIT: usize = 8;

/// One page as words that others may change too: the processor, user mode, other CPUs.
#[repr(C, align(4096))]
pub struct Words(pub [AtomicU64; 512]);

impl Words {
    /// Returns a page of zeros.
    pub const fn new() -> Self {
        Self([const { AtomicU64::new(0) }; 512])
    }

    /// Returns its address, linear and (in a cell: guest-) physical, if it is a static of the image.
    pub fn address(&self) -> u64 {
        (&raw const *self).addr() as u64
    }
}

static PML4: Words = Words::new();
static PDPT: Words = Words::new();
static DIRECTORIES: [Words; 4] = [const { Words::new() }; 4];
static WINDOW_TABLE: Words = Words::new();
static SPLIT_TABLES: [Words; MAX_SPLIT] = [const { Words::new() }; MAX_SPLIT];
static SPLIT_COUNT: AtomicUsize = AtomicUsize::new(0);
static WINDOW_FRAMES: [Words; Page::COUNT] = [const { Words::new() }; Page::COUNT];

unsafe extern "C" {
    static image_start: u8;
    static image_end: u8;
    static supervisor_start: u8;
    static supervisor_end: u8;
}

/// A page of the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page(usize);

impl Page {
    /// The user-interrupt target table; not for user mode.
    pub const UITT: Self = Self(0);
    /// 64 descriptors; not for user mode.
    pub const UPIDS: Self = Self(1);
    /// XSAVE areas; not for user mode.
    pub const XSAVE: Self = Self(2);
    /// First of four pages that nobody uses by default: for user mode, writable.
    pub const SPARE: Self = Self(4);
    /// First of the code pages of the CPUs.
    const CODE: usize = 8;
    /// First of the stack pages of the CPUs, two for each.
    const STACKS: usize = 12;
    /// Number of pages.
    pub const COUNT: usize = 20;
    const FIRST_USER: usize = Self::SPARE.0;

    /// Returns the page `count` pages further on in the window.
    ///
    /// # Panics
    /// If the window has no such page.
    pub const fn next(self, count: usize) -> Self {
        assert!(self.0 + count < Self::COUNT);
        Self(self.0 + count)
    }

    /// Returns the page from which `cpu` runs what a case writes.
    pub const fn code(cpu: usize) -> Self {
        Self(Self::CODE + cpu)
    }

    /// Returns the upper page of the user stack of `cpu`.
    pub const fn stack(cpu: usize) -> Self {
        Self(Self::STACKS + 2 * cpu + 1)
    }

    /// Returns the linear address at which the window has the page.
    pub const fn linear(self) -> u64 {
        WINDOW + self.0 as u64 * PAGE_LEN
    }

    /// Returns the linear address behind the page.
    pub const fn end(self) -> u64 {
        self.linear() + PAGE_LEN
    }

    /// Returns the content, by the address that is always mapped.
    pub fn words(self) -> &'static [AtomicU64; 512] {
        &WINDOW_FRAMES[self.0].0
    }

    /// Returns the physical address (in a cell: guest-physical).
    pub fn physical(self) -> u64 {
        WINDOW_FRAMES[self.0].address()
    }

    /// Sets all bytes to 0.
    pub fn clear(self) {
        for word in self.words() {
            word.store(0, Ordering::SeqCst);
        }
    }

    /// Maps the page with these rights, or with 0 not at all, and flushes this CPU's TLB of it. Others flush theirs by
    /// [`Page::flush`].
    pub fn map(self, rights: u64) {
        let entry = match rights {
            0 => 0,
            rights => self.physical() | rights,
        };
        self.set_entry(entry);
    }

    /// Sets the page-table entry, whatever it is, and flushes this CPU's TLB of it.
    pub fn set_entry(self, entry: u64) {
        WINDOW_TABLE.0[self.0].store(entry, Ordering::SeqCst);
        self.flush();
    }

    /// Flushes this CPU's TLB of the page.
    pub fn flush(self) {
        tlb::flush(VirtAddr::new(self.linear()));
    }

    /// Maps all pages of the window as they are by default.
    pub fn map_all() {
        for number in 0..Self::COUNT {
            let user = if number >= Self::FIRST_USER { USER } else { 0 };
            Self(number).map(PRESENT | WRITABLE | user);
        }
    }
}

/// Builds the tables.
pub fn build() {
    let link = PRESENT | WRITABLE | USER;
    PML4.0[0].store(PDPT.address() | link, Ordering::SeqCst);
    for (gib, directory) in DIRECTORIES.iter().enumerate() {
        PDPT.0[gib].store(directory.address() | link, Ordering::SeqCst);
        for (index, entry) in directory.0.iter().enumerate() {
            let linear = (gib * GIB) as u64 + index as u64 * LARGE_PAGE;
            let rights = match linear {
                WINDOW..DEVICES => 0,
                DEVICES.. => PRESENT | WRITABLE | ACCESSED | DIRTY | LARGE | CACHE_DISABLE,
                _ => PRESENT | WRITABLE | ACCESSED | DIRTY | LARGE,
            };
            entry.store(
                if rights == 0 { 0 } else { linear | rights },
                Ordering::SeqCst,
            );
        }
    }
    DIRECTORIES[WINDOW as usize / GIB].0[0].store(WINDOW_TABLE.address() | link, Ordering::SeqCst);
    let supervisor =
        (&raw const supervisor_start).addr() as u64..(&raw const supervisor_end).addr() as u64;
    let (start, end) = (
        (&raw const image_start).addr() as u64,
        (&raw const image_end).addr() as u64,
    );
    for linear in (start..end).step_by(PAGE_LEN as usize) {
        let user = if supervisor.contains(&linear) {
            0
        } else {
            USER
        };
        split(linear).store(
            linear | PRESENT | WRITABLE | ACCESSED | DIRTY | user,
            Ordering::SeqCst,
        );
    }
    Page::map_all();
}

/// Returns the entry of a 4 KiB page below 4 GiB, after splitting the 2 MiB page that it is in.
///
/// # Panics
/// If there are no tables left.
fn split(linear: u64) -> &'static AtomicU64 {
    let directory = &DIRECTORIES[linear as usize / GIB];
    let entry = &directory.0[linear as usize % GIB / LARGE_PAGE as usize];
    let old = entry.load(Ordering::SeqCst);
    let table = if old & LARGE != 0 {
        let table = &SPLIT_TABLES[SPLIT_COUNT.fetch_add(1, Ordering::SeqCst)];
        let base = old & ADDRESS;
        let rights = old & !ADDRESS & !LARGE;
        for (index, small) in table.0.iter().enumerate() {
            small.store((base + index as u64 * PAGE_LEN) | rights, Ordering::SeqCst);
        }
        entry.store(
            table.address() | PRESENT | WRITABLE | USER,
            Ordering::SeqCst,
        );
        table
    } else {
        SPLIT_TABLES
            .iter()
            .find(|table| table.address() == old & ADDRESS)
            .expect("only `split` has linked a table here")
    };
    &table.0[(linear / PAGE_LEN % 512) as usize]
}

/// Returns the address of the tables.
pub fn root() -> u64 {
    PML4.address()
}

/// Uses the tables on this CPU.
pub fn load() {
    let frame = PhysFrame::containing_address(PhysAddr::new(root()));
    // SAFETY: maps what the tables before mapped and the image uses, identically too.
    unsafe { Cr3::write(frame, Cr3Flags::empty()) };
}
