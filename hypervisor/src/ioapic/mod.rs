// SPDX-License-Identifier: MIT OR Apache-2.0
//! I/O APICs: interrupt inputs of devices, which the cell with `devices = "rest"` routes to its own CPUs only.
//!
//! Their pages are in no cell's EPT. `exit` decodes each access and feeds it in here; [`registers`] keeps what the cell
//! wrote and reads back; [`entry`] says what of it reaches the hardware: fixed delivery to one CPU of the cell by physical
//! destination, or nothing. What the cell may not route is kept masked, and the cell goes on.
//!
//! One exception to "no state that CPUs share but atomics": an I/O APIC has a lock, because all CPUs of the cell reach it
//! and the selection of a register and its access belong together.
#![forbid(unsafe_code)]

pub mod entry;
#[cfg(test)]
mod fixture;
pub mod registers;

use arrayvec::ArrayVec;
use cell_config::ApicMode;
use spin::{Mutex, Once};

use crate::address::{GuestPhys, PAGE_SIZE};
use crate::arch::ioapic::Page;
use crate::lapic::icr::CellCpus;
use crate::memory::{OutOfFrames, leak};
use registers::{Refusal, State};

/// Most I/O APICs of a machine.
pub const MAX_IO_APICS: usize = 32;

/// Physical addresses of a machine's I/O APICs.
pub type Addresses = ArrayVec<u64, MAX_IO_APICS>;

/// An I/O APIC.
pub struct IoApic {
    address: u64,
    state: Mutex<State<Page>>,
}

static IO_APICS: Once<ArrayVec<&'static IoApic, MAX_IO_APICS>> = Once::new();

/// Takes the machine's I/O APICs over, before the cells' tables are built. `addresses` are those of the MADT, on page
/// boundaries.
///
/// # Errors
/// There is no memory for what has to be remembered of them.
pub fn publish(addresses: &Addresses) -> Result<(), OutOfFrames> {
    let mut io_apics = ArrayVec::new();
    for &address in addresses {
        let io_apic: &'static IoApic = leak(IoApic {
            address,
            state: Mutex::new(State::new(Page::new(address))),
        })?;
        io_apics.push(io_apic);
    }
    IO_APICS.call_once(|| io_apics);
    Ok(())
}

/// Returns the machine's I/O APICs.
pub fn all() -> &'static [&'static IoApic] {
    IO_APICS.get().map_or(&[], |io_apics| io_apics.as_slice())
}

/// Returns the I/O APIC whose page holds a guest-physical address of the cell with the rest of the devices, which sees
/// devices where they are, and the offset in the page.
pub fn at(gpa: GuestPhys) -> Option<(&'static IoApic, u16)> {
    let offset = gpa.0 % PAGE_SIZE;
    let io_apic = all()
        .iter()
        .find(|io_apic| io_apic.address == gpa.0 - offset)?;
    Some((io_apic, u16::try_from(offset).ok()?))
}

impl IoApic {
    /// Returns the physical address of its page.
    pub fn address(&self) -> u64 {
        self.address
    }

    /// Masks all entries, before a cell runs; `target` is the CPU that masked entries name.
    pub fn reset(&self, target: u8) {
        self.state.lock().reset(target);
    }

    /// Masks all entries for good: the cell has ended. Its other CPUs may still be writing.
    pub fn close(&self) {
        self.state.lock().close();
    }

    /// Reads 32 bits for the cell.
    pub fn read(&self, offset: u16) -> u32 {
        self.state.lock().read(offset)
    }

    /// Writes 32 bits for the cell.
    ///
    /// # Errors
    /// The entry is kept masked.
    pub fn write(
        &self,
        offset: u16,
        value: u32,
        cell: &impl CellCpus,
        mode: ApicMode,
    ) -> Result<(), Refusal> {
        self.state.lock().write(offset, value, cell, mode)
    }

    /// Returns how many writes were refused.
    pub fn refused(&self) -> u64 {
        self.state.lock().refused()
    }
}
