// SPDX-License-Identifier: MIT OR Apache-2.0
//! A redirection entry: what the cell wrote, whom it would interrupt, and what the hardware gets instead.
//!
//! (82093AA, "I/O Redirection Table Registers")

use core::fmt;

use cell_config::ApicMode;

use crate::lapic::icr::{CellCpus, CpuSet};

const VECTOR: u32 = 0xff;
/// Interrupt input pin polarity.
const POLARITY: u32 = 1 << 13;
const LEVEL_TRIGGERED: u32 = 1 << 15;
const MASKED: u32 = 1 << 16;
/// Delivery status and remote IRR, which the hardware alone writes.
const READ_ONLY: u32 = 1 << 12 | 1 << 14;
/// What software can write of the low half; the rest is reserved and reads as 0.
const WRITABLE_LOW: u32 = 0x1_ffff & !READ_ONLY;
/// Destination field in the high half.
const DESTINATION: u32 = 0xff << 24;
/// Physical destination that means all CPUs.
const BROADCAST: u8 = 0xff;

/// A redirection entry, without the bits that the hardware alone writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    low: u32,
    high: u32,
}

/// A half of an entry: its registers are 32 bits wide and written one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// Vector, delivery mode, mask; the register with the even number.
    Low,
    /// Destination.
    High,
}

/// Why an entry is kept masked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryDenied {
    /// Neither fixed nor lowest priority.
    DeliveryMode {
        /// Bits 10:8.
        mode: u8,
    },
    /// A vector below 16, which no APIC delivers.
    Vector {
        /// Bits 7:0.
        vector: u8,
    },
    /// The destination holds no CPU of the cell.
    ForeignCpu {
        /// Bits 63:56.
        destination: u8,
        /// Whether it is a logical destination.
        logical: bool,
    },
    /// Fixed delivery to several CPUs. The hardware is given one CPU by physical destination, never a set.
    SeveralCpus {
        /// Bits 63:56.
        destination: u8,
        /// Whether it is a logical destination.
        logical: bool,
    },
    /// The only CPU that is meant has an APIC ID above 254. Without interrupt remapping an entry cannot name it.
    NoEightBitId {
        /// Its APIC ID.
        apic_id: u32,
    },
}

impl Entry {
    /// An entry after RESET: masked.
    pub const RESET: Self = Self {
        low: MASKED,
        high: 0,
    };

    /// Returns a masked entry for a CPU, edge-triggered, so that no earlier level interrupt remains in service.
    pub fn idle(target: u8) -> Self {
        Self {
            low: MASKED,
            high: u32::from(target) << 24,
        }
    }

    /// Returns the entry with one half rewritten; bits that software cannot write stay 0.
    pub fn with(self, half: Half, value: u32) -> Self {
        match half {
            Half::Low => Self {
                low: value & WRITABLE_LOW,
                ..self
            },
            Half::High => Self {
                high: value & DESTINATION,
                ..self
            },
        }
    }

    /// Returns one half.
    pub fn half(self, half: Half) -> u32 {
        match half {
            Half::Low => self.low,
            Half::High => self.high,
        }
    }

    /// Returns what a read of one half gives, where the hardware's own low half reads as `hardware_low`.
    pub fn read(self, half: Half, hardware_low: u32) -> u32 {
        match half {
            Half::Low => self.low | hardware_low & READ_ONLY,
            Half::High => self.high,
        }
    }

    /// Tells whether the entry delivers nothing.
    pub fn is_masked(self) -> bool {
        self.low & MASKED != 0
    }

    /// Returns the destination field.
    pub fn destination(self) -> u8 {
        self.high.to_le_bytes()[3]
    }

    /// Returns the APIC ID of the one CPU of `cell` that the entry interrupts once it is unmasked. Of a destination
    /// that also names CPUs elsewhere, the cell's own remain; of several CPUs in lowest-priority mode, the first one
    /// is taken, which is as good as any.
    pub fn target(self, cell: &impl CellCpus, mode: ApicMode) -> Result<u8, EntryDenied> {
        let [vector, control, ..] = self.low.to_le_bytes();
        let (delivery_mode, logical) = (control & 7, control & 1 << 3 != 0);
        let is_lowest_priority = match delivery_mode {
            0 => false,
            1 => true,
            mode => return Err(EntryDenied::DeliveryMode { mode }),
        };
        if vector < 16 {
            return Err(EntryDenied::Vector { vector });
        }
        let destination = self.destination();
        let field = match mode {
            // All ones in 8 bits mean all CPUs in either mode.
            ApicMode::X2apic if !logical && destination == BROADCAST => u32::MAX,
            _ => destination.into(),
        };
        let cpus = CpuSet::of_destination(cell, mode, field, logical);
        let mut ids = cpus
            .indices()
            .filter_map(|index| cell.apic_ids().get(index).copied());
        let first = ids.next().ok_or(EntryDenied::ForeignCpu {
            destination,
            logical,
        })?;
        if !is_lowest_priority && ids.next().is_some() {
            return Err(EntryDenied::SeveralCpus {
                destination,
                logical,
            });
        }
        u8::try_from(first)
            .ok()
            .filter(|&id| id != BROADCAST)
            .ok_or(EntryDenied::NoEightBitId { apic_id: first })
    }

    /// Returns what the hardware gets for this entry: fixed delivery to the CPU `target` by physical destination,
    /// masked where the entry is. Nothing else ever reaches the hardware, whatever the cell wrote.
    pub fn for_hardware(self, target: u8) -> Self {
        Self {
            low: self.low & (VECTOR | POLARITY | LEVEL_TRIGGERED | MASKED),
            high: u32::from(target) << 24,
        }
    }

    /// Returns the entry masked.
    pub fn masked(self) -> Self {
        Self {
            low: self.low | MASKED,
            ..self
        }
    }
}

impl fmt::Display for EntryDenied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = |logical| if logical { "logical" } else { "physical" };
        match *self {
            Self::DeliveryMode { mode } => {
                write!(f, "delivery mode {mode}, which no cell may use")
            }
            Self::Vector { vector } => write!(f, "vector {vector}, which is below 16"),
            Self::ForeignCpu {
                destination,
                logical,
            } => write!(
                f,
                "{} destination {destination:#x}, which is no CPU of the cell",
                how(logical)
            ),
            Self::SeveralCpus {
                destination,
                logical,
            } => write!(
                f,
                "fixed delivery to several CPUs, {} destination {destination:#x}",
                how(logical)
            ),
            Self::NoEightBitId { apic_id } => {
                write!(f, "APIC ID {apic_id:#x}, which needs interrupt remapping")
            }
        }
    }
}

impl core::error::Error for EntryDenied {}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
