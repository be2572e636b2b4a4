//! The boot-information page: what a cell is told about itself.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::NAME_LEN;

/// A range of guest-physical memory.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct MemoryRange {
    /// First guest-physical address.
    pub base: u64,
    /// Length in bytes.
    pub size: u64,
}

/// How a cell reaches its console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsoleKind {
    /// No console.
    None,
    /// 16550 UART at an I/O port.
    UartPort,
}

/// The cell's console.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct ConsoleInfo {
    /// 0 none, 1 16550 at an I/O port.
    pub kind: u32,
    /// Zero.
    pub reserved: u32,
    /// First I/O port.
    pub base: u64,
}

impl ConsoleInfo {
    /// Returns the kind, or `None` for a number of a later revision.
    pub fn kind(&self) -> Option<ConsoleKind> {
        match self.kind {
            0 => Some(ConsoleKind::None),
            1 => Some(ConsoleKind::UartPort),
            _ => None,
        }
    }
}

/// Which end of a channel a cell holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ChannelRole {
    /// Puts requests into the ring.
    Client = 0,
    /// Serves requests.
    Server = 1,
}

/// Doorbell policy of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Doorbell {
    /// SENDUIPI sends its notification itself; for cells that trust each other.
    Direct = 0,
    /// The hypervisor checks each notification.
    Filtered = 1,
}

/// A channel of the cell.
#[repr(C)]
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct ChannelInfo {
    /// NUL-padded name.
    pub name: [u8; NAME_LEN],
    /// NUL-padded name of the other cell.
    pub peer: [u8; NAME_LEN],
    /// Guest-physical address, 2 MiB aligned.
    pub base: u64,
    /// Length in bytes.
    pub size: u64,
    /// A [`ChannelRole`].
    pub role: u32,
    /// A [`Doorbell`].
    pub doorbell: u32,
}

impl ChannelInfo {
    /// Returns which end this cell holds, or `None` for a number of a later revision.
    pub fn role(&self) -> Option<ChannelRole> {
        match self.role {
            0 => Some(ChannelRole::Client),
            1 => Some(ChannelRole::Server),
            _ => None,
        }
    }
}

/// The boot-information page. One page, little-endian, zero where nothing is said.
#[repr(C, align(8))]
#[derive(Clone, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct BootInfo {
    /// [`BootInfo::MAGIC`].
    pub magic: [u8; 8],
    /// [`crate::ABI_REVISION`].
    pub revision: u32,
    /// Index of the cell in the configuration.
    pub cell_id: u32,
    /// [`BootInfo::FLAG_X2APIC`].
    pub flags: u32,
    /// TSC frequency in kHz, 0 if unknown.
    pub tsc_khz: u32,
    /// NUL-padded name of the cell.
    pub name: [u8; NAME_LEN],
    /// Console.
    pub console: ConsoleInfo,
    /// Initial ramdisk, size 0 if none.
    pub initrd: MemoryRange,
    /// Entries of `memory` in use.
    pub memory_count: u32,
    /// Entries of `channels` in use.
    pub channel_count: u32,
    /// Entries of `cpus` in use.
    pub cpu_count: u32,
    /// Zero.
    pub reserved: u32,
    /// The cell's own memory.
    pub memory: [MemoryRange; Self::MAX_MEMORY],
    /// The cell's channels.
    pub channels: [ChannelInfo; Self::MAX_CHANNELS],
    /// APIC IDs of the cell's CPUs; the first is the boot CPU.
    pub cpus: [u32; Self::MAX_CPUS],
    /// NUL-terminated command line.
    pub cmdline: [u8; Self::CMDLINE_LEN],
    /// Zero.
    pub padding: [u8; 1752],
}

impl BootInfo {
    /// Value of `magic`.
    pub const MAGIC: [u8; 8] = *b"ISTHMUS\0";
    /// All CPUs are in x2APIC mode (else in xAPIC mode).
    pub const FLAG_X2APIC: u32 = 1;
    /// Capacity of `memory`.
    pub const MAX_MEMORY: usize = 16;
    /// Capacity of `channels`.
    pub const MAX_CHANNELS: usize = 8;
    /// Capacity of `cpus`.
    pub const MAX_CPUS: usize = 64;
    /// Capacity of `cmdline`, with the terminating NUL.
    pub const CMDLINE_LEN: usize = 1024;

    /// Tells whether this is a page of the revision that this crate knows.
    pub fn is_valid(&self) -> bool {
        self.magic == Self::MAGIC && self.revision == crate::ABI_REVISION
    }

    /// Returns the memory ranges in use.
    pub fn memory(&self) -> &[MemoryRange] {
        &self.memory[..(self.memory_count as usize).min(Self::MAX_MEMORY)]
    }

    /// Returns the channels in use.
    pub fn channels(&self) -> &[ChannelInfo] {
        &self.channels[..(self.channel_count as usize).min(Self::MAX_CHANNELS)]
    }

    /// Returns the APIC IDs of the cell's CPUs.
    pub fn cpus(&self) -> &[u32] {
        &self.cpus[..(self.cpu_count as usize).min(Self::MAX_CPUS)]
    }
}

const _: () = assert!(size_of::<BootInfo>() == 4096);
