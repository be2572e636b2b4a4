// SPDX-License-Identifier: MIT OR Apache-2.0
//! Page tables: the kernel's own mappings, and address spaces that add a program's.
//!
//! The kernel sees its memory, its channels and the local APIC at their guest-physical addresses, for the supervisor
//! only. An address space has copies of the three tables on the way to user space (the first entry of each level) and
//! shares all others with the kernel, so that the kernel, the UPIDs and the UITT are mapped whatever runs.
//!
//! SDM 3A, "4-Level Paging and 5-Level Paging".

use spin::Once;
use x86_64::registers::control::{Cr3, Cr3Flags};
use x86_64::structures::paging::{
    FrameAllocator, Mapper, OffsetPageTable, Page, PageSize, PageTable, PageTableFlags, PhysFrame,
    Size2MiB, Size4KiB,
};
use x86_64::{PhysAddr, VirtAddr};

use crate::memory::Pages;
use nimbos::layout::{PAGE_LEN, USER_END, USER_START};
use nimbos::user_memory::Rights;

const LARGE_PAGE_LEN: u64 = Size2MiB::SIZE;

/// Top-level table of the kernel's mappings.
static KERNEL_TABLE: Once<PhysFrame> = Once::new();

/// How the kernel uses a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelUse {
    /// Code.
    Text,
    /// Constants.
    Constants,
    /// Memory.
    Data,
    /// Registers of a device.
    Device,
}

impl KernelUse {
    fn flags(self) -> PageTableFlags {
        let present = PageTableFlags::PRESENT;
        let data = PageTableFlags::WRITABLE | PageTableFlags::NO_EXECUTE;
        match self {
            Self::Text => present,
            Self::Constants => present | PageTableFlags::NO_EXECUTE,
            Self::Data => present | data,
            Self::Device => {
                present | data | PageTableFlags::NO_CACHE | PageTableFlags::WRITE_THROUGH
            }
        }
    }
}

/// The kernel's mappings while they are made.
pub struct KernelMap {
    top: Pages,
}

impl KernelMap {
    /// Starts with nothing mapped.
    pub fn new() -> Self {
        let top = Pages::allocate(1).expect("there is memory for the first page table");
        Self { top }
    }

    /// Maps `start..end` where it is, in large pages where they fit. Both are multiples of the page size.
    ///
    /// # Panics
    /// If a part of it is mapped already, or it lies in user space.
    pub fn map(&mut self, start: u64, end: u64, purpose: KernelUse) {
        assert!(
            end <= USER_START || USER_END <= start,
            "{start:#x}..{end:#x} is where programs go"
        );
        // SAFETY: the tables reached from `top` are this map's only, and no processor uses them yet.
        let mut mapper =
            unsafe { OffsetPageTable::new(table_mut(&mut self.top), VirtAddr::zero()) };
        let mut address = start;
        while address < end {
            let is_large =
                address.is_multiple_of(LARGE_PAGE_LEN) && end - address >= LARGE_PAGE_LEN;
            if is_large {
                map_identity::<Size2MiB>(&mut mapper, address, purpose.flags());
                address += LARGE_PAGE_LEN;
            } else {
                map_identity::<Size4KiB>(&mut mapper, address, purpose.flags());
                address += PAGE_LEN;
            }
        }
    }

    /// Returns the address of the top-level table.
    pub fn table(&self) -> u64 {
        self.top.address()
    }

    /// Makes these the kernel's mappings, for ever.
    ///
    /// # Safety
    /// They map all that the kernel uses, as it uses it.
    pub unsafe fn activate(self) {
        let frame = frame(self.top.address());
        self.top.leak();
        KERNEL_TABLE.call_once(|| frame);
        // SAFETY: the caller vouches for the mappings.
        unsafe { Cr3::write(frame, Cr3Flags::empty()) };
    }
}

fn map_identity<S>(mapper: &mut OffsetPageTable<'_>, address: u64, flags: PageTableFlags)
where
    S: PageSize + core::fmt::Debug,
    for<'a> OffsetPageTable<'a>: Mapper<S>,
{
    let page = Page::<S>::containing_address(VirtAddr::new(address));
    let frame = PhysFrame::<S>::containing_address(PhysAddr::new(address));
    let tables = PageTableFlags::PRESENT | PageTableFlags::WRITABLE;
    let large = if S::SIZE == LARGE_PAGE_LEN {
        PageTableFlags::HUGE_PAGE
    } else {
        PageTableFlags::empty()
    };
    // SAFETY: a mapping of an address to itself, for the supervisor; nothing uses the tables before `activate`.
    let result =
        unsafe { mapper.map_to_with_table_flags(page, frame, flags | large, tables, &mut Tables) };
    match result {
        Ok(flush) => flush.ignore(),
        Err(error) => panic!("cannot map {address:#x}: {error:?}"),
    }
}

/// Allocates frames for the kernel's own tables, which are never freed.
struct Tables;

// SAFETY: `Pages` are unused frames, and leaking makes them the tables' for ever.
unsafe impl FrameAllocator<Size4KiB> for Tables {
    fn allocate_frame(&mut self) -> Option<PhysFrame> {
        Some(frame(Pages::allocate(1)?.leak()))
    }
}

/// A program's address space: the kernel's mappings and those of user space.
#[derive(Debug)]
pub struct AddressSpace {
    top: Pages,
    pointers: Pages,
    /// Its entries of user space lead to tables of this address space, all others to the kernel's.
    directory: Pages,
}

/// There is no memory for a page table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory;

impl AddressSpace {
    /// Returns an address space without user memory.
    pub fn new() -> Result<Self, OutOfMemory> {
        let table = || Pages::allocate(1).ok_or(OutOfMemory);
        let mut space = Self {
            top: table()?,
            pointers: table()?,
            directory: table()?,
        };
        let kernel = *KERNEL_TABLE
            .get()
            .expect("the kernel's mappings are active");
        // SAFETY: the kernel's tables stay as they are, and the leading entries lead to further tables, not to pages:
        // the kernel maps nothing in 1 GiB pages.
        unsafe {
            let pointers = copy_table(&mut space.top, kernel.start_address());
            let directory = pointers.and_then(|table| copy_table(&mut space.pointers, table));
            directory.and_then(|table| copy_table(&mut space.directory, table));
        }
        let (pointers, directory) = (space.pointers.address(), space.directory.address());
        table_mut(&mut space.top)[0].set_addr(PhysAddr::new(pointers), USER_TABLE);
        table_mut(&mut space.pointers)[0].set_addr(PhysAddr::new(directory), USER_TABLE);
        Ok(space)
    }

    /// Maps the page at `address`, which is in user space and has no mapping, to a frame.
    ///
    /// # Safety
    /// The frame is the program's, or memory of a channel, until the page is unmapped and no CPU knows the mapping any more.
    pub unsafe fn map(
        &mut self,
        address: u64,
        frame: u64,
        rights: Rights,
    ) -> Result<(), OutOfMemory> {
        assert!((USER_START..USER_END).contains(&address));
        let page = Page::<Size4KiB>::containing_address(VirtAddr::new(address));
        let entry = &mut table_mut(&mut self.directory)[page.p2_index()];
        if entry.is_unused() {
            let table = Pages::allocate(1).ok_or(OutOfMemory)?;
            entry.set_addr(PhysAddr::new(table.leak()), USER_TABLE);
        }
        // SAFETY: entries of user space lead to tables that `map` allocated for this address space.
        let table = unsafe { &mut *table_pointer(entry.addr()) };
        table[page.p1_index()].set_addr(PhysAddr::new(frame), user_flags(rights));
        Ok(())
    }

    /// Takes the mapping of the page at `address`, which is in user space, away. A CPU that has the address space active may
    /// know it until it activates one again.
    pub fn unmap(&mut self, address: u64) {
        assert!((USER_START..USER_END).contains(&address));
        let page = Page::<Size4KiB>::containing_address(VirtAddr::new(address));
        let entry = &table_mut(&mut self.directory)[page.p2_index()];
        if !entry.is_unused() {
            // SAFETY: as in `map`.
            let table = unsafe { &mut *table_pointer(entry.addr()) };
            table[page.p1_index()].set_unused();
        }
    }

    /// Makes this the address space of the CPU, with nothing remembered of mappings before.
    ///
    /// # Safety
    /// It is not dropped before the CPU has another one.
    pub unsafe fn activate(&self) {
        // SAFETY: the kernel is mapped in every address space, and the caller vouches for its life.
        unsafe { Cr3::write(frame(self.top.address()), Cr3Flags::empty()) };
    }
}

/// Makes the kernel's own mappings, without any program's, the address space of the CPU.
pub fn activate_kernel() {
    let kernel = *KERNEL_TABLE
        .get()
        .expect("the kernel's mappings are active");
    // SAFETY: the kernel's mappings hold all that the kernel uses, and are never dropped.
    unsafe { Cr3::write(kernel, Cr3Flags::empty()) };
}

impl Drop for AddressSpace {
    fn drop(&mut self) {
        let directory = table_mut(&mut self.directory);
        for index in USER_DIRECTORY_ENTRIES {
            let entry = &directory[index];
            if !entry.is_unused() {
                // SAFETY: `map` leaked this single frame into the entry, which goes away now.
                drop(unsafe { Pages::from_leaked(entry.addr().as_u64()) });
            }
        }
    }
}

const USER_TABLE: PageTableFlags = PageTableFlags::PRESENT
    .union(PageTableFlags::WRITABLE)
    .union(PageTableFlags::USER_ACCESSIBLE);

/// Entries of the directory that are user space's.
const USER_DIRECTORY_ENTRIES: core::ops::Range<usize> =
    (USER_START / LARGE_PAGE_LEN) as usize..(USER_END / LARGE_PAGE_LEN) as usize;

// User space is what the first directory covers, in whole entries.
const _: () = assert!(USER_END <= 1 << 30);
const _: () =
    assert!(USER_START.is_multiple_of(LARGE_PAGE_LEN) && USER_END.is_multiple_of(LARGE_PAGE_LEN));

fn user_flags(rights: Rights) -> PageTableFlags {
    let readable = PageTableFlags::PRESENT | PageTableFlags::USER_ACCESSIBLE;
    match rights {
        Rights::Read => readable | PageTableFlags::NO_EXECUTE,
        Rights::Write => readable | PageTableFlags::WRITABLE | PageTableFlags::NO_EXECUTE,
        Rights::Execute => readable,
    }
}

/// Copies the table at `source` to `copy`, and returns where its first entry leads.
///
/// # Safety
/// There is a page table at `source`, which nobody changes.
unsafe fn copy_table(copy: &mut Pages, source: PhysAddr) -> Option<PhysAddr> {
    // SAFETY: the caller vouches for the table; tables are in mapped memory.
    let source = unsafe { &*table_pointer(source) };
    table_mut(copy).clone_from(source);
    Some(source[0].addr()).filter(|_| !source[0].is_unused())
}

/// Returns a page as a table.
fn table_mut(pages: &mut Pages) -> &mut PageTable {
    let page = pages.bytes_mut().as_mut_ptr();
    // SAFETY: the page is aligned, as large as a table and borrowed; every content is a table.
    unsafe { &mut *page.cast() }
}

fn table_pointer(address: PhysAddr) -> *mut PageTable {
    core::ptr::with_exposed_provenance_mut(address.as_u64() as usize)
}

fn frame(address: u64) -> PhysFrame {
    PhysFrame::containing_address(PhysAddr::new(address))
}
