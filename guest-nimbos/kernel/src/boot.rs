// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the hypervisor tells: the boot-information page, checked.

use hv_abi::{BootInfo, ChannelInfo, ChannelRole, ConsoleKind, MemoryRange, text};
use nimbos::layout::PAGE_LEN;

/// Size of the boot area at the beginning of the cell's memory. (docs/interfaces.md, "Entry of a cell")
pub const BOOT_AREA_LEN: u64 = 64 << 10;

/// A CPU in real mode begins below.
const REAL_MODE_END: u64 = 1 << 20;

/// The boot information.
#[derive(Clone, Copy)]
pub struct Boot {
    info: &'static BootInfo,
}

impl Boot {
    /// Takes over a page that is of the revision this kernel knows.
    pub fn new(info: &'static BootInfo) -> Option<Self> {
        info.is_valid().then_some(Self { info })
    }

    /// Returns the cell's name.
    pub fn name(&self) -> &'static str {
        text(&self.info.name).unwrap_or("?")
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

    /// Returns the frequency of the time-stamp counter, 0 if it is not known.
    pub fn tsc_khz(&self) -> u32 {
        self.info.tsc_khz
    }

    /// Returns the cell's memory.
    pub fn memory(&self) -> &'static [MemoryRange] {
        self.info.memory()
    }

    /// Returns the range of the memory in which the boot area lies.
    pub fn main_memory(&self) -> MemoryRange {
        *self.memory().first().expect("the cell has memory")
    }

    /// Returns the APIC IDs of the cell's CPUs; the first is the one that runs already.
    pub fn cpus(&self) -> &'static [u32] {
        self.info.cpus()
    }

    /// Returns a page of the cell below 1 MiB, in which other CPUs can begin, if there is one.
    pub fn start_page(&self) -> Option<u64> {
        let is_low = |range: &&MemoryRange| {
            range.base != 0 && range.size >= PAGE_LEN && range.base + PAGE_LEN <= REAL_MODE_END
        };
        // Not the main memory: that has other uses.
        let others = self.memory().get(1..).unwrap_or_default();
        others.iter().find(is_low).map(|range| range.base)
    }

    /// Returns where the archive of programs lies, if there is one.
    pub fn initrd(&self) -> Option<MemoryRange> {
        Some(self.info.initrd).filter(|range| range.size != 0)
    }

    /// Returns the cell's channels.
    pub fn channels(&self) -> &'static [ChannelInfo] {
        self.info.channels()
    }

    /// Returns the first channel in which this cell is the client.
    pub fn client_channel(&self) -> Option<&'static ChannelInfo> {
        let is_client = |info: &&ChannelInfo| info.role() == Some(ChannelRole::Client);
        self.channels().iter().find(is_client)
    }

    /// Returns the command line.
    pub fn command_line(&self) -> &'static str {
        text(&self.info.cmdline).unwrap_or("")
    }
}
