//! What a configuration says, as types.

use arrayvec::{ArrayString, ArrayVec};

use crate::{CellRegion, PortRange, Region};

/// Most CPUs of a machine, and of a cell.
pub const MAX_CPUS: usize = 64;
/// Most ranges of a machine's RAM.
pub const MAX_MACHINE_REGIONS: usize = 32;
/// Most cells.
pub const MAX_CELLS: usize = 8;
/// Most memory regions of a cell.
pub const MAX_REGIONS: usize = 16;
/// Most port ranges of a cell, and most MMIO ranges.
pub const MAX_RANGES: usize = 16;
/// Most channels.
pub const MAX_CHANNELS: usize = 8;

/// Name of a cell, a channel, a module or the machine.
pub type Name = ArrayString<31>;
/// Command line of a cell.
pub type CommandLine = ArrayString<1023>;

/// A machine and its cells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct System {
    /// The machine.
    pub machine: Machine,
    /// What the hypervisor keeps for itself.
    pub hypervisor: Hypervisor,
    /// The cells; channels refer to them by index.
    pub cells: ArrayVec<Cell, MAX_CELLS>,
    /// The channels between them.
    pub channels: ArrayVec<Channel, MAX_CHANNELS>,
}

/// What of the machine may be given away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Free text.
    pub name: Name,
    /// APIC IDs of all CPUs that cells may use.
    pub cpus: ArrayVec<u32, MAX_CPUS>,
    /// RAM that cells, channels and the hypervisor may use.
    pub memory: ArrayVec<Region, MAX_MACHINE_REGIONS>,
    /// APIC mode of all CPUs.
    pub apic_mode: ApicMode,
    /// What happens when no cell runs any more.
    pub when_all_cells_end: EndAction,
}

/// What the hypervisor keeps for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hypervisor {
    /// Its memory: image, tables, per-CPU data.
    pub memory: Region,
    /// First I/O port of the 16550 it logs to, 115200 8N1.
    pub console: Option<u16>,
    /// Least urgent messages that it logs.
    pub log_level: LogLevel,
}

/// A cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// Unique name.
    pub name: Name,
    /// How the cell is loaded and entered.
    pub kind: CellKind,
    /// APIC IDs of its CPUs; the first one boots.
    pub cpus: ArrayVec<u32, MAX_CPUS>,
    /// Its own memory; an ELF cell's boot area is the start of the first region.
    pub memory: ArrayVec<CellRegion, MAX_REGIONS>,
    /// First I/O port of its own 16550.
    pub console: Option<u16>,
    /// More I/O ports of its own.
    pub ports: ArrayVec<PortRange, MAX_RANGES>,
    /// Device memory of its own, mapped identically and uncached.
    pub mmio: ArrayVec<Region, MAX_RANGES>,
    /// Whether all devices that nobody names are its own.
    pub devices: Devices,
    /// What happens when it touches a port that is not its own.
    pub foreign_ports: ForeignPorts,
    /// Whether its power-off and reset end the machine, or just the cell.
    pub may_end_machine: bool,
    /// Whether its kernel may have it started anew. The hypervisor keeps a copy of its images for that.
    pub may_restart: bool,
    /// Name of the module with the kernel.
    pub image: Name,
    /// Name of the module with the initial RAM disk.
    pub initrd: Option<Name>,
    /// Command line.
    pub cmdline: CommandLine,
}

/// Memory that two cells share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// Unique name.
    pub name: Name,
    /// Index of the cell that puts requests into the ring.
    pub client: u8,
    /// Index of the cell that serves them.
    pub server: u8,
    /// Where it is, in the machine and in both cells alike; in no cell's own memory.
    pub memory: Region,
    /// How the cells notify each other.
    pub doorbell: Doorbell,
    /// User vectors that the server may post to the client, one bit each. All, unless the doorbell is filtered.
    pub client_vectors: u64,
    /// User vectors that the client may post to the server, one bit each. All, unless the doorbell is filtered.
    pub server_vectors: u64,
}

impl Channel {
    /// Tells whether the cell with this index is one of its ends.
    pub fn joins(&self, cell: usize) -> bool {
        usize::from(self.client) == cell || usize::from(self.server) == cell
    }
}

impl System {
    /// Returns how the cell with this index sends user interrupts. A cell without channels has nobody who trusts it.
    pub fn doorbell_of(&self, cell: usize) -> Doorbell {
        self.channels
            .iter()
            .find(|channel| channel.joins(cell))
            .map_or(Doorbell::Filtered, |channel| channel.doorbell)
    }
}

/// Every user vector, 0 to 63.
pub const ALL_USER_VECTORS: u64 = u64::MAX;

/// Defines an enumeration with its names in TOML and its numbers in the binary form.
macro_rules! choices {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $number:literal, $text:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum $name {
            $($(#[$variant_doc])* $variant = $number,)*
        }

        impl $name {
            /// Every choice.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Returns the choice with this number in the binary form.
            pub const fn from_number(number: u8) -> Option<Self> {
                match number {
                    $($number => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// Returns its number in the binary form.
            pub const fn number(self) -> u8 {
                self as u8
            }

            /// Returns its name in TOML.
            pub const fn text(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }
    };
}

choices! {
    /// How CPUs reach their local APICs. (SDM 3A, "Extended XAPIC (x2APIC)")
    ApicMode {
        /// Through the page at FEE00000H; APIC IDs of 8 bits.
        Xapic = 0, "xapic";
        /// Through MSRs; APIC IDs of 32 bits.
        X2apic = 1, "x2apic";
    }
}

choices! {
    /// What happens when no cell runs any more.
    EndAction {
        /// All CPUs halt.
        Halt = 0, "halt";
        /// The emulator ends: the text "Shutdown" goes to port 8900H.
        EmulatorExit = 1, "emulator-exit";
    }
}

choices! {
    /// Least urgent messages that are logged.
    LogLevel {
        /// Failures only.
        Error = 0, "error";
        /// Also what looks wrong.
        Warn = 1, "warn";
        /// Also what cells do over their lives.
        Info = 2, "info";
        /// Also how decisions came about.
        Debug = 3, "debug";
        /// Everything.
        Trace = 4, "trace";
    }
}

choices! {
    /// How a cell is loaded and entered.
    CellKind {
        /// Linux bzImage, by the 64-bit boot protocol.
        Linux = 0, "linux";
        /// ELF64 image, with the boot-information page.
        Elf = 1, "elf";
    }
}

choices! {
    /// Which devices a cell has beyond those it names.
    Devices {
        /// No others.
        None = 0, "none";
        /// All that no other owner names.
        Rest = 1, "rest";
    }
}

choices! {
    /// What happens when a cell touches a port that is not its own.
    ForeignPorts {
        /// The cell stops.
        Stop = 0, "stop";
        /// The port looks absent: it reads as ones, writes are dropped.
        Absent = 1, "absent";
    }
}

choices! {
    /// How the cells of a channel notify each other.
    Doorbell {
        /// By SENDUIPI without the hypervisor: the cells trust each other.
        Direct = 0, "direct";
        /// Through the hypervisor, which checks each notification.
        Filtered = 1, "filtered";
    }
}
