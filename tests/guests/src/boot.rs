// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the hypervisor tells: the boot-information page.

use hv_abi::{BootInfo, ConsoleKind, text};
use test_guests::Options;

/// TSC ticks of a millisecond where nobody knows.
const DEFAULT_KHZ: u32 = 10_000;

/// The boot information.
#[derive(Clone, Copy)]
pub struct Boot {
    /// The page.
    pub info: &'static BootInfo,
}

impl Boot {
    /// Takes over a page that is of the revision this cell knows.
    pub fn new(info: &'static BootInfo) -> Option<Self> {
        info.is_valid().then_some(Self { info })
    }

    /// Returns the cell's name.
    pub fn name(&self) -> &'static str {
        text(&self.info.name).unwrap_or("?")
    }

    /// Returns the command line.
    pub fn command_line(&self) -> &'static str {
        text(&self.info.cmdline).unwrap_or("")
    }

    /// Returns the command line's words.
    pub fn options(&self) -> Options<'static> {
        Options::new(self.command_line())
    }

    /// Returns the first port of the console's UART.
    pub fn console_port(&self) -> Option<u16> {
        match self.info.console.kind()? {
            ConsoleKind::UartPort => u16::try_from(self.info.console.base).ok(),
            ConsoleKind::None => None,
        }
    }

    /// Tells whether the local APICs are in x2APIC mode.
    pub fn is_x2apic(&self) -> bool {
        self.info.flags & BootInfo::FLAG_X2APIC != 0
    }

    /// Returns the APIC ID of the first CPU.
    pub fn first_cpu(&self) -> u32 {
        self.info.cpus().first().copied().unwrap_or(0)
    }

    /// Returns how many TSC ticks `ms` milliseconds are.
    pub fn ticks(&self, ms: u64) -> u64 {
        let khz = match self.info.tsc_khz {
            0 => DEFAULT_KHZ,
            khz => khz,
        };
        u64::from(khz) * ms
    }
}
