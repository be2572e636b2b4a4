// SPDX-License-Identifier: MIT OR Apache-2.0
//! The registers of one I/O APIC as the cell sees them, and what each write does to the real ones.
//!
//! (82093AA, "Memory Mapped Registers for Accessing IOAPIC Registers", "IOAPIC Registers")

use core::fmt;

use cell_config::ApicMode;

use super::entry::{Entry, EntryDenied, Half};
use crate::lapic::icr::CellCpus;

/// Offset of the register that selects one.
pub const IOREGSEL: u16 = 0x00;
/// Offset of the window to the selected register.
pub const IOWIN: u16 = 0x10;
/// Offset of the EOI register. (I/O APICs of version 20H and later)
pub const EOI: u16 = 0x40;

/// Numbers of the registers behind the window.
const IOAPICID: u8 = 0;
const IOAPICVER: u8 = 1;
const IOAPICARB: u8 = 2;
const IOREDTBL: u8 = 0x10;

/// Bits of the ID register that hold the ID.
const ID: u32 = 0xf << 24;
/// First version with an EOI register.
const VERSION_WITH_EOI: u32 = 0x20;
/// As many entries as register numbers of 8 bits reach.
const MAX_PINS: usize = (0x100 - IOREDTBL as usize) / 2;

/// The hardware.
pub trait Registers {
    /// Reads the register with this number.
    fn read(&mut self, number: u8) -> u32;

    /// Writes the register with this number.
    fn write(&mut self, number: u8, value: u32);

    /// Writes the EOI register: ends level interrupts with this vector.
    fn end_of_interrupt(&mut self, vector: u8);
}

/// An entry that is kept masked, to be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Interrupt input.
    pub pin: usize,
    /// Why.
    pub reason: EntryDenied,
    /// How many there were at this I/O APIC, with this one.
    pub count: u64,
}

/// An interrupt input.
#[derive(Clone, Copy, Debug)]
struct Pin {
    /// What the cell wrote and reads back.
    written: Entry,
    /// What stands in the hardware.
    hardware: Entry,
}

/// The registers of an I/O APIC.
///
/// # Invariants
/// 1. From [`Self::reset`] on, an entry in the hardware is a masked one, or one that [`Entry::for_hardware`] made for a
///    CPU of the cell, also between the writes of its halves.
/// 2. From [`Self::close`] on, all are masked.
pub struct State<R> {
    registers: R,
    select: u8,
    id: u32,
    version: u32,
    pins: [Pin; MAX_PINS],
    is_open: bool,
    refused: u64,
}

impl<R: Registers> State<R> {
    /// Returns an I/O APIC that no cell reaches before [`Self::reset`].
    pub const fn new(registers: R) -> Self {
        const PIN: Pin = Pin {
            written: Entry::RESET,
            hardware: Entry::RESET,
        };
        Self {
            registers,
            select: 0,
            id: 0,
            version: 0,
            pins: [PIN; MAX_PINS],
            is_open: false,
            refused: 0,
        }
    }

    /// Masks what firmware left, so that everything is as after RESET. Masked entries name the CPU `target`.
    pub fn reset(&mut self, target: u8) {
        self.version = self.registers.read(IOAPICVER);
        self.id = self.registers.read(IOAPICID) & ID;
        for pin in 0..self.pin_count() {
            // Masked before anything else of it changes, whatever it was.
            let idle = Entry::idle(target);
            self.write_half(pin, Half::Low, idle);
            self.write_half(pin, Half::High, idle);
            self.pins[pin].hardware = idle;
        }
        self.is_open = true;
    }

    /// Masks everything for good: the cell has ended.
    pub fn close(&mut self) {
        self.is_open = false;
        for pin in 0..self.pin_count() {
            let target = self.pins[pin].hardware.destination();
            self.set_hardware(pin, Entry::idle(target));
        }
    }

    /// Returns how many writes left an entry masked that the cell wanted unmasked.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Reads 32 bits at an offset of the page; 0 where no register is.
    pub fn read(&mut self, offset: u16) -> u32 {
        match offset {
            IOREGSEL => self.select.into(),
            IOWIN => self.read_selected(),
            _ => 0,
        }
    }

    /// Writes 32 bits at an offset of the page, for a CPU of `cell`; nothing happens where no register is.
    pub fn write(
        &mut self,
        offset: u16,
        value: u32,
        cell: &impl CellCpus,
        mode: ApicMode,
    ) -> Result<(), Refusal> {
        let low_byte = value.to_le_bytes()[0];
        match offset {
            IOREGSEL => self.select = low_byte,
            IOWIN => return self.write_selected(value, cell, mode),
            EOI if self.is_open && self.version & 0xff >= VERSION_WITH_EOI => {
                self.registers.end_of_interrupt(low_byte);
            }
            _ => {}
        }
        Ok(())
    }

    /// (82093AA, "IOAPIC Version Register": the number of the highest entry)
    fn pin_count(&self) -> usize {
        let [_, _, highest, _] = self.version.to_le_bytes();
        (usize::from(highest) + 1).min(MAX_PINS)
    }

    /// Returns the pin and half of its entry behind a register number, if there is one.
    fn entry_at(&self, number: u8) -> Option<(usize, Half)> {
        let offset = number.checked_sub(IOREDTBL)?;
        let pin = usize::from(offset / 2);
        let half = if offset.is_multiple_of(2) {
            Half::Low
        } else {
            Half::High
        };
        (pin < self.pin_count()).then_some((pin, half))
    }

    fn read_selected(&mut self) -> u32 {
        match self.select {
            IOAPICID => self.id,
            IOAPICVER => self.version,
            IOAPICARB => self.registers.read(IOAPICARB),
            number => match self.entry_at(number) {
                Some((pin, Half::Low)) => {
                    let hardware_low = self.registers.read(register(pin, Half::Low));
                    self.pins[pin].written.read(Half::Low, hardware_low)
                }
                Some((pin, Half::High)) => self.pins[pin].written.read(Half::High, 0),
                None => 0,
            },
        }
    }

    fn write_selected(
        &mut self,
        value: u32,
        cell: &impl CellCpus,
        mode: ApicMode,
    ) -> Result<(), Refusal> {
        // The ID mattered on the serial APIC bus only; the cell reads back its own, the hardware's stays.
        if self.select == IOAPICID {
            self.id = value & ID;
        }
        let Some((pin, half)) = self.entry_at(self.select) else {
            return Ok(());
        };
        if !self.is_open {
            return Ok(());
        }
        let Pin { written, hardware } = self.pins[pin];
        let written = written.with(half, value);
        self.pins[pin].written = written;
        match written.target(cell, mode) {
            Ok(target) => self.set_hardware(pin, written.for_hardware(target)),
            Err(reason) => {
                // The CPU that it was for last: one of the cell's.
                let kept = written.masked().for_hardware(hardware.destination());
                self.set_hardware(pin, kept);
                if !written.is_masked() {
                    self.refused += 1;
                    return Err(Refusal {
                        pin,
                        reason,
                        count: self.refused,
                    });
                }
            }
        }
        Ok(())
    }

    /// Writes what differs of an entry. What becomes masked is masked first; what becomes unmasked gets its destination
    /// first.
    fn set_hardware(&mut self, pin: usize, new: Entry) {
        let order = if new.is_masked() {
            [Half::Low, Half::High]
        } else {
            [Half::High, Half::Low]
        };
        for half in order {
            if self.pins[pin].hardware.half(half) != new.half(half) {
                self.write_half(pin, half, new);
            }
        }
        self.pins[pin].hardware = new;
    }

    fn write_half(&mut self, pin: usize, half: Half, entry: Entry) {
        self.registers.write(register(pin, half), entry.half(half));
    }
}

/// Returns the number of the register that holds half an entry.
fn register(pin: usize, half: Half) -> u8 {
    // Pins are below `MAX_PINS`, for which 8 bits suffice.
    IOREDTBL + 2 * (pin & 0x7f) as u8 + u8::from(half == Half::High)
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entry {} stays masked: {}", self.pin, self.reason)
    }
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
