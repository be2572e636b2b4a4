//! Where in a configuration something stands, so that an error can name it.

use core::fmt;

use crate::region::{PortRange, Region};
use crate::system::{Cell, Channel, Name};

/// Who holds a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The machine as a whole.
    Machine,
    /// The hypervisor.
    Hypervisor,
    /// A cell.
    Cell {
        /// Position in the configuration.
        index: u8,
        /// Its name.
        name: Name,
    },
    /// A channel.
    Channel {
        /// Position in the configuration.
        index: u8,
        /// Its name.
        name: Name,
    },
}

impl Owner {
    pub(crate) fn cell(index: usize, cell: &Cell) -> Self {
        Self::Cell {
            index: small(index),
            name: cell.name,
        }
    }

    pub(crate) fn channel(index: usize, channel: &Channel) -> Self {
        Self::Channel {
            index: small(index),
            name: channel.name,
        }
    }

    pub(crate) fn at(self, field: Field) -> Place {
        Place { owner: self, field }
    }
}

/// Narrows an index of one of the lists, all of which are far shorter than 255.
pub(crate) fn small(index: usize) -> u8 {
    u8::try_from(index).unwrap_or(u8::MAX)
}

/// `cell 'linux'`
impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Machine => f.write_str("the machine"),
            Self::Hypervisor => f.write_str("the hypervisor"),
            Self::Cell { index, name } => named(f, "cell", *index, name),
            Self::Channel { index, name } => named(f, "channel", *index, name),
        }
    }
}

/// Shows a name with control characters escaped, or the position of who has none.
fn named(f: &mut fmt::Formatter<'_>, what: &str, index: u8, name: &str) -> fmt::Result {
    if name.is_empty() {
        write!(f, "{what}[{index}]")
    } else {
        write!(f, "{what} '{}'", name.escape_debug())
    }
}

/// A key of an owner's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the keys of docs/interfaces.md")]
pub enum Field {
    Name,
    Cpus,
    /// `memory` as a whole, or the only memory of the hypervisor or a channel.
    Memory,
    /// One region of a list.
    MemoryRegion(u8),
    Console,
    Ports(u8),
    Mmio(u8),
    Devices,
    MayRestart,
    /// Image of a Linux cell.
    Kernel,
    Image,
    Initrd,
    CommandLine,
    Client,
    Server,
    Doorbell,
    ClientVectors,
    ServerVectors,
}

/// `memory[1]`
impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, index) = self.key();
        match index {
            Some(index) => write!(f, "{key}[{index}]"),
            None => f.write_str(key),
        }
    }
}

impl Field {
    /// Returns the key in the owner's table and the index in its list.
    pub const fn key(&self) -> (&'static str, Option<u8>) {
        match *self {
            Self::Name => ("name", None),
            Self::Cpus => ("cpus", None),
            Self::Memory => ("memory", None),
            Self::MemoryRegion(index) => ("memory", Some(index)),
            Self::Console => ("console", None),
            Self::Ports(index) => ("ports", Some(index)),
            Self::Mmio(index) => ("mmio", Some(index)),
            Self::Devices => ("devices", None),
            Self::MayRestart => ("may_restart", None),
            Self::Kernel => ("kernel", None),
            Self::Image => ("image", None),
            Self::Initrd => ("initrd", None),
            Self::CommandLine => ("cmdline", None),
            Self::Client => ("client", None),
            Self::Server => ("server", None),
            Self::Doorbell => ("doorbell", None),
            Self::ClientVectors => ("client_vectors", None),
            Self::ServerVectors => ("server_vectors", None),
        }
    }
}

/// A key of an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Whose.
    pub owner: Owner,
    /// Which key.
    pub field: Field,
}

/// `memory[1] of cell 'linux'`
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.field, self.owner)
    }
}

/// An address range and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Where it stands.
    pub place: Place,
    /// The addresses.
    pub region: Region,
}

/// `memory[1] of cell 'linux' (0x100000-0x2fffffff, 767M)`
impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.place, self.region)
    }
}

/// A port range and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortExtent {
    /// Where it stands.
    pub place: Place,
    /// The ports.
    pub ports: PortRange,
}

/// `console of cell 'linux' (0x3f8-0x3ff)`
impl fmt::Display for PortExtent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.place, self.ports)
    }
}
