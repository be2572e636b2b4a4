//! Why a configuration is refused.

use core::fmt;

use super::{IO_APICS, LOCAL_APIC, PHYSICAL_END};
use crate::place::{Extent, Field, Owner, Place, PortExtent};
use crate::region::{Region, Size};
use crate::system::ApicMode;

/// A broken rule and who breaks it, shown in one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the fields are the offenders that the variant's sentence names"
)]
pub enum CheckError {
    /// There is no cell.
    NoCells,
    /// A name is empty.
    EmptyText { place: Place },
    /// A text has control characters.
    Unprintable { place: Place },
    /// Two cells, or two channels, have the same name.
    DuplicateName { first: Owner, second: Owner },
    /// The machine or a cell has no CPU.
    NoCpu { owner: Owner },
    /// A list names a CPU twice.
    CpuListedTwice { owner: Owner, cpu: u32 },
    /// Two cells want the same CPU.
    CpuOwnedTwice {
        cpu: u32,
        first: Owner,
        second: Owner,
    },
    /// A cell wants a CPU that the machine lacks.
    CpuNotInMachine { cpu: u32, cell: Owner },
    /// An APIC ID is none in the machine's APIC mode.
    ApicIdTooHigh { cpu: u32, mode: ApicMode },
    /// The machine or a cell has no memory.
    NoMemory { owner: Owner },
    /// A region has no bytes.
    ZeroSize { extent: Extent },
    /// A region is smaller than its purpose needs.
    TooSmall { extent: Extent, min: Size },
    /// A region is larger than its purpose allows.
    TooLarge { extent: Extent, max: Size },
    /// A base or a size is no multiple of what it must be a multiple of.
    Misaligned { extent: Extent, alignment: Size },
    /// A region wraps or ends above [`PHYSICAL_END`].
    AddressTooHigh { extent: Extent },
    /// Two owners, or two regions of one, want the same memory.
    MemoryOverlap {
        first: Place,
        second: Place,
        shared: Region,
    },
    /// A region is not wholly in the machine's memory.
    NotInMachine { extent: Extent },
    /// A cell would see two things at one guest-physical address.
    GuestOverlap {
        first: Place,
        second: Place,
        shared: Region,
    },
    /// A Linux cell's memory is not mapped identically.
    LinuxRemapped { extent: Extent, guest: u64 },
    /// A region covers addresses of the local APIC.
    LocalApicOverlap { extent: Extent },
    /// A region covers addresses of the I/O APICs.
    IoApicOverlap { extent: Extent },
    /// A channel names a cell that there is not.
    UnknownCell { place: Place, index: u8 },
    /// A channel has the same cell on both sides.
    ChannelToItself { channel: Owner, cell: Owner },
    /// A port range has no ports.
    NoPorts { extent: PortExtent },
    /// A port range goes on behind port FFFFH.
    PortsTooHigh { extent: PortExtent },
    /// Two owners want the same I/O port.
    PortOverlap {
        first: PortExtent,
        second: PortExtent,
    },
    /// Two cells, or two ranges of one, want the same device memory.
    MmioOverlap {
        first: Place,
        second: Place,
        shared: Region,
    },
    /// Device memory is RAM of the machine.
    MmioInRam {
        mmio: Place,
        ram: Place,
        shared: Region,
    },
    /// Two cells want the devices that nobody names.
    RestOwnedTwice { first: Owner, second: Owner },
    /// A cell may restart that is Linux's, or has devices that nobody could reset.
    CannotRestart { cell: Owner },
    /// A cell has both direct and filtered channels.
    DoorbellsMixed {
        cell: Owner,
        first: Owner,
        second: Owner,
    },
    /// A direct channel limits user vectors, which nobody would check.
    VectorsNotFiltered { place: Place },
}

impl core::error::Error for CheckError {}

impl fmt::Display for CheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCells => f.write_str("there is no cell"),
            Self::EmptyText { place } => write!(f, "{place} is empty"),
            Self::Unprintable { place } => write!(f, "{place} has control characters"),
            Self::DuplicateName { first, second } => duplicate_name(f, first, second),
            Self::NoCpu { owner } => write!(f, "{owner} has no CPU"),
            Self::CpuListedTwice { owner, cpu } => write!(f, "{owner} lists CPU {cpu} twice"),
            Self::CpuOwnedTwice { cpu, first, second } => {
                write!(f, "CPU {cpu} is in both {first} and {second}")
            }
            Self::CpuNotInMachine { cpu, cell } => {
                write!(f, "CPU {cpu} of {cell} is not among the machine's")
            }
            Self::ApicIdTooHigh { cpu, mode } => apic_id_too_high(f, *cpu, *mode),
            Self::NoMemory { owner } => write!(f, "{owner} has no memory"),
            Self::UnknownCell { place, index } => {
                write!(f, "{place} is cell {index}, which there is not")
            }
            Self::ChannelToItself { channel, cell } => {
                write!(f, "{channel} has {cell} as both client and server")
            }
            Self::NoPorts { extent } => write!(f, "{extent} has no ports"),
            Self::PortsTooHigh { extent } => write!(f, "{extent} goes on behind port 0xffff"),
            Self::PortOverlap { first, second } => write!(f, "{first} overlaps {second}"),
            Self::RestOwnedTwice { first, second } => {
                write!(f, "both {first} and {second} have devices = \"rest\"")
            }
            Self::CannotRestart { cell } => {
                write!(
                    f,
                    "{cell} has may_restart, but only a cell of kind elf without the rest of the devices can be started anew"
                )
            }
            Self::DoorbellsMixed {
                cell,
                first,
                second,
            } => {
                write!(
                    f,
                    "{cell} has {first} and {second} with different doorbells: one direct channel opens all"
                )
            }
            Self::VectorsNotFiltered { place } => {
                write!(
                    f,
                    "{place} limits vectors, which needs doorbell = \"filtered\""
                )
            }
            other => other.fmt_memory(f),
        }
    }
}

impl CheckError {
    /// Shows the errors about memory.
    fn fmt_memory(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ZeroSize { extent } => write!(f, "{extent} has size 0"),
            Self::TooSmall { extent, min } => write!(f, "{extent} is smaller than {min}"),
            Self::TooLarge { extent, max } => write!(f, "{extent} is larger than {max}"),
            Self::Misaligned { extent, alignment } => {
                write!(
                    f,
                    "{extent}: base and size must be multiples of {alignment}"
                )
            }
            Self::AddressTooHigh { extent } => {
                write!(
                    f,
                    "{extent} is not below {PHYSICAL_END:#x}, where addresses end"
                )
            }
            Self::MemoryOverlap {
                first,
                second,
                shared,
            }
            | Self::MmioOverlap {
                first,
                second,
                shared,
            } => {
                write!(f, "{first} overlaps {second} at {shared}")
            }
            Self::NotInMachine { extent } => {
                write!(f, "{extent} is not wholly in the machine's memory")
            }
            Self::GuestOverlap {
                first,
                second,
                shared,
            } => {
                write!(f, "{first} overlaps {second} at guest-physical {shared}")
            }
            Self::LinuxRemapped { extent, guest } => {
                write!(
                    f,
                    "{extent} has guest {guest:#x}: Linux's memory must keep its base"
                )
            }
            Self::LocalApicOverlap { extent } => {
                write!(
                    f,
                    "{extent} covers the local APIC at {:#x}",
                    LOCAL_APIC.base
                )
            }
            Self::IoApicOverlap { extent } => {
                write!(f, "{extent} covers the I/O APICs at {:#x}", IO_APICS.base)
            }
            Self::MmioInRam { mmio, ram, shared } => {
                write!(f, "{mmio} covers RAM, {ram}, at {shared}")
            }
            // The caller shows the others.
            other => fmt::Debug::fmt(other, f),
        }
    }

    /// Returns the key that the error is about, the one to change first, if it is about one.
    pub fn place(&self) -> Option<Place> {
        Some(match *self {
            Self::NoCells => return None,
            Self::EmptyText { place }
            | Self::Unprintable { place }
            | Self::UnknownCell { place, .. } => place,
            Self::DuplicateName { second, .. } => second.at(Field::Name),
            Self::NoCpu { owner } | Self::CpuListedTwice { owner, .. } => owner.at(Field::Cpus),
            Self::CpuOwnedTwice { second, .. } => second.at(Field::Cpus),
            Self::CpuNotInMachine { cell, .. } => cell.at(Field::Cpus),
            Self::ApicIdTooHigh { .. } => Owner::Machine.at(Field::Cpus),
            Self::NoMemory { owner } => owner.at(Field::Memory),
            Self::ZeroSize { extent }
            | Self::TooSmall { extent, .. }
            | Self::TooLarge { extent, .. }
            | Self::Misaligned { extent, .. }
            | Self::AddressTooHigh { extent }
            | Self::NotInMachine { extent }
            | Self::LinuxRemapped { extent, .. }
            | Self::LocalApicOverlap { extent }
            | Self::IoApicOverlap { extent } => extent.place,
            Self::MemoryOverlap { first, .. }
            | Self::GuestOverlap { first, .. }
            | Self::MmioOverlap { first, .. } => first,
            Self::MmioInRam { mmio, .. } => mmio,
            Self::ChannelToItself { channel, .. } => channel.at(Field::Server),
            Self::NoPorts { extent } | Self::PortsTooHigh { extent } => extent.place,
            Self::PortOverlap { first, .. } => first.place,
            Self::RestOwnedTwice { second, .. } => second.at(Field::Devices),
            Self::CannotRestart { cell } => cell.at(Field::MayRestart),
            Self::DoorbellsMixed { second, .. } => second.at(Field::Doorbell),
            Self::VectorsNotFiltered { place } => place,
        })
    }
}

fn duplicate_name(f: &mut fmt::Formatter<'_>, first: &Owner, second: &Owner) -> fmt::Result {
    match (first, second) {
        (Owner::Cell { index: a, .. }, Owner::Cell { index: b, name }) => {
            write!(
                f,
                "cell[{a}] and cell[{b}] are both named '{}'",
                name.escape_debug()
            )
        }
        (Owner::Channel { index: a, .. }, Owner::Channel { index: b, name }) => {
            write!(
                f,
                "channel[{a}] and channel[{b}] are both named '{}'",
                name.escape_debug()
            )
        }
        _ => write!(f, "{first} and {second} have the same name"),
    }
}

fn apic_id_too_high(f: &mut fmt::Formatter<'_>, cpu: u32, mode: ApicMode) -> fmt::Result {
    match mode {
        ApicMode::Xapic => write!(f, "APIC ID {cpu} is above 254, the highest in xAPIC mode"),
        ApicMode::X2apic => write!(f, "APIC ID {cpu:#x} means all CPUs in x2APIC mode"),
    }
}
