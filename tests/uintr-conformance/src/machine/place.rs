// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the image runs: on the bare machine or in a cell.

use hv_abi::{BootInfo, ConsoleKind, Doorbell};
use uintr_conformance::ApicMode;

use super::console::write_port;

const BARE_CONSOLE: u16 = 0x3f8;
/// Page below 1 MiB that nobody needs after the firmware.
const BARE_START_PAGE: u64 = 0x8000;
const MIB: u64 = 1 << 20;

/// Where the image runs.
#[derive(Clone, Copy, Debug)]
pub enum Place {
    /// On the machine itself.
    Bare,
    /// In a cell.
    Cell(&'static BootInfo),
}

impl Place {
    /// Returns the word of the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Cell(_) => "cell",
        }
    }

    /// Returns the policy of the cell's first channel; a cell without channels is filtered.
    pub fn doorbell(self) -> Option<Doorbell> {
        match self {
            Self::Bare => None,
            Self::Cell(info) => match info.channels().first() {
                Some(channel) if channel.doorbell == Doorbell::Direct as u32 => {
                    Some(Doorbell::Direct)
                }
                _ => Some(Doorbell::Filtered),
            },
        }
    }

    /// Returns the first port of the console.
    pub fn console(self) -> Option<u16> {
        match self {
            Self::Bare => Some(BARE_CONSOLE),
            Self::Cell(info) => match info.console.kind()? {
                ConsoleKind::UartPort => u16::try_from(info.console.base).ok(),
                ConsoleKind::None => None,
            },
        }
    }

    /// Returns the mode that the local APICs are in for good; none where this image may choose.
    pub fn apic_mode(self) -> Option<ApicMode> {
        match self {
            Self::Bare => None,
            Self::Cell(info) if info.flags & BootInfo::FLAG_X2APIC != 0 => Some(ApicMode::X2apic),
            Self::Cell(_) => Some(ApicMode::Xapic),
        }
    }

    /// Returns a page below 1 MiB in which other CPUs can start.
    pub fn start_page(self) -> Option<u64> {
        match self {
            Self::Bare => Some(BARE_START_PAGE),
            Self::Cell(info) => info
                .memory()
                .iter()
                .map(|range| range.base)
                .find(|&base| base < MIB && base != 0),
        }
    }

    /// Returns the APIC IDs of all CPUs, where they are known.
    pub fn cpus(self) -> Option<&'static [u32]> {
        match self {
            Self::Bare => None,
            Self::Cell(info) => Some(info.cpus()),
        }
    }

    /// Masks the 8259s, which the firmware leaves open. In a cell that is done already.
    pub fn mask_legacy_interrupts(self) {
        if let Self::Bare = self {
            for port in [0x21, 0xa1] {
                write_port(port, 0xff);
            }
        }
    }
}
