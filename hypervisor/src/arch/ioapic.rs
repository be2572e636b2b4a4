// SPDX-License-Identifier: MIT OR Apache-2.0
//! The registers of an I/O APIC. (82093AA, "Memory Mapped Registers for Accessing IOAPIC Registers")

use crate::ioapic::registers::{EOI, IOREGSEL, IOWIN, Registers};

/// The page of an I/O APIC's registers.
pub struct Page(u64);

impl Page {
    /// Returns the page at this physical address, which the MADT names.
    pub const fn new(address: u64) -> Self {
        Self(address)
    }

    fn register(&self, offset: u16) -> *mut u32 {
        core::ptr::with_exposed_provenance_mut((self.0 + u64::from(offset)) as usize)
    }

    fn select(&mut self, number: u8) {
        // SAFETY: the page is mapped one to one, uncached by MTRR, and no cell's; selecting has no other effect.
        unsafe { self.register(IOREGSEL).write_volatile(number.into()) };
    }
}

impl Registers for Page {
    fn read(&mut self, number: u8) -> u32 {
        self.select(number);
        // SAFETY: as in `select`; reading changes nothing.
        unsafe { self.register(IOWIN).read_volatile() }
    }

    fn write(&mut self, number: u8, value: u32) {
        self.select(number);
        // SAFETY: as in `select`; `ioapic` lets only masked entries and those for CPUs of their cell come here.
        unsafe { self.register(IOWIN).write_volatile(value) };
    }

    fn end_of_interrupt(&mut self, vector: u8) {
        // SAFETY: as in `select`; the caller knows that the version has the register. It ends interrupts of this I/O
        // APIC, all of which belong to one cell.
        unsafe { self.register(EOI).write_volatile(vector.into()) };
    }
}
