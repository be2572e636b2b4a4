//! The check of an interrupt command: which of its own CPUs a cell means, and whether it may ask.
//!
//! Built afresh for each intercepted write of the interrupt command register (ICR); holds no state. The caller sends
//! the resulting [`Ipi`] to each target by physical destination, never the cell's own command.
//!
//! # Invariants
//! 1. [`Ipi::targets`] names CPUs of the cell only: broadcast and shorthands shrink to the cell.
//! 2. A delivery mode that reaches beyond a cell's CPUs (SMI, reserved codes) is denied, whatever its destination.
//!
//! SDM 3A, "Interrupt Command Register (ICR)", "Determining IPI Destination", "Logical Destination Mode in x2APIC
//! Mode".

use core::fmt;

use cell_config::ApicMode;

/// Bits of the x2APIC ICR whose setting makes WRMSR fault. (SDM 3A, "Interrupt Command Register (ICR) Operation in
/// x2APIC Mode") Bit 12, delivery status in xAPIC mode, is left out: processors ignore it.
pub const X2APIC_RESERVED_BITS: u64 = 0xfff3_2000;

/// Destination shorthand, bits 19:18 of the ICR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shorthand {
    /// The destination field counts.
    None,
    /// The sender alone.
    ToSelf,
    /// All CPUs, the sender among them.
    AllIncludingSelf,
    /// All CPUs but the sender.
    AllExcludingSelf,
}

/// A write of the ICR, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcrWrite {
    /// Vector, or start page of a SIPI.
    pub vector: u8,
    /// Delivery mode, bits 10:8.
    pub delivery_mode: u8,
    /// Logical, not physical destination.
    pub logical: bool,
    /// Level: assert.
    pub asserted: bool,
    /// Trigger mode: level.
    pub level_triggered: bool,
    /// Destination shorthand.
    pub shorthand: Shorthand,
    /// Destination: 32 bits in x2APIC mode, 8 in xAPIC mode.
    pub destination: u32,
}

/// Logical addressing registers of a CPU in xAPIC mode. (SDM 3A, "Logical Destination Mode")
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogicalId {
    /// Logical destination register (0D0H).
    pub ldr: u32,
    /// Destination format register (0E0H).
    pub dfr: u32,
}

/// The CPUs of a cell. Only the first 64 count, as many as a machine of Isthmus has.
pub trait CellCpus {
    /// Returns the APIC IDs; the index of an ID is its bit in a [`CpuSet`].
    fn apic_ids(&self) -> &[u32];

    /// Returns the logical addressing registers of the CPU with this index. Asked in xAPIC mode only.
    fn xapic_logical(&self, index: usize) -> LogicalId;
}

/// Some CPUs of a cell, one bit for each index in its list of CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuSet(u64);

/// What an interrupt command delivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpiKind {
    /// An interrupt to each target.
    Fixed {
        /// Its vector, 16 or higher.
        vector: u8,
    },
    /// An interrupt to one of the targets.
    LowestPriority {
        /// Its vector, 16 or higher.
        vector: u8,
    },
    /// A nonmaskable interrupt.
    Nmi,
    /// An INIT.
    Init,
    /// An INIT level de-assert: processors since the Pentium 4 ignore it; no targets.
    InitDeassert,
    /// A SIPI.
    Startup {
        /// Start address, in pages.
        vector: u8,
    },
    /// A vector below 16, or a shorthand that does not go with the delivery mode: a real APIC sends nothing, and
    /// the caller drops it; no targets.
    Illegal,
}

/// A checked interrupt command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipi {
    /// What to deliver.
    pub kind: IpiKind,
    /// To which CPUs of the sender's cell.
    pub targets: CpuSet,
    /// Level bit of the command. It means nothing but for an INIT, and reads back.
    pub asserted: bool,
}

/// Why an interrupt command is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpiDenied {
    /// The destination holds no CPU of the cell.
    ForeignCpu {
        /// Destination field of the command.
        destination: u32,
        /// Whether it is a logical destination.
        logical: bool,
    },
    /// SMI, or a reserved delivery mode.
    DeliveryMode {
        /// Bits 10:8 of the command.
        mode: u8,
    },
    /// The sender is not in the list it came with: the caller's mistake.
    ForeignSender {
        /// APIC ID of the sender.
        sender: u32,
    },
}

impl IcrWrite {
    /// Takes apart a write of MSR 830H. The caller has refused [`X2APIC_RESERVED_BITS`].
    pub fn from_x2apic(value: u64) -> Self {
        let [a, b, c, d, high @ ..] = value.to_le_bytes();
        Self::new(u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes(high))
    }

    /// Takes apart a write of register 300H (`low`) with register 310H as it stands (`high`).
    pub fn from_xapic(low: u32, high: u32) -> Self {
        Self::new(low, high >> 24)
    }

    fn new(low: u32, destination: u32) -> Self {
        let [vector, control, upper, _] = low.to_le_bytes();
        Self {
            vector,
            delivery_mode: control & 7,
            logical: control & 1 << 3 != 0,
            asserted: control & 1 << 6 != 0,
            level_triggered: control & 1 << 7 != 0,
            shorthand: match upper >> 2 & 3 {
                0 => Shorthand::None,
                1 => Shorthand::ToSelf,
                2 => Shorthand::AllIncludingSelf,
                _ => Shorthand::AllExcludingSelf,
            },
            destination,
        }
    }

    /// Returns what to send to which CPUs of `cell`, of which `sender` is the CPU that wrote the command. Of a
    /// logical destination that also names CPUs elsewhere, the cell's own remain; one without any is denied.
    pub fn resolve(
        &self,
        sender: u32,
        cell: &impl CellCpus,
        mode: ApicMode,
    ) -> Result<Ipi, IpiDenied> {
        let kind = self.kind()?;
        if matches!(kind, IpiKind::Illegal | IpiKind::InitDeassert) {
            return Ok(Ipi {
                kind,
                targets: CpuSet::EMPTY,
                asserted: self.asserted,
            });
        }
        let all = CpuSet::matching(cell, |_, _| true);
        let own = CpuSet::matching(cell, |_, id| id == sender);
        if own.is_empty() {
            return Err(IpiDenied::ForeignSender { sender });
        }
        let targets = match self.shorthand {
            Shorthand::None => self.destination(cell, mode)?,
            Shorthand::ToSelf => own,
            Shorthand::AllIncludingSelf => all,
            Shorthand::AllExcludingSelf => CpuSet(all.0 & !own.0),
        };
        Ok(Ipi {
            kind,
            targets,
            asserted: self.asserted,
        })
    }

    /// (SDM 3A, "Valid Combinations for the Pentium 4 and Intel Xeon Processors' Local xAPIC Interrupt Command
    /// Register")
    fn kind(&self) -> Result<IpiKind, IpiDenied> {
        let vector = self.vector;
        let kind = match self.delivery_mode {
            0 if vector < 16 => IpiKind::Illegal,
            0 => return Ok(IpiKind::Fixed { vector }),
            1 if vector < 16 => IpiKind::Illegal,
            1 => IpiKind::LowestPriority { vector },
            4 => IpiKind::Nmi,
            5 if self.level_triggered && !self.asserted => return Ok(IpiKind::InitDeassert),
            5 => IpiKind::Init,
            6 => IpiKind::Startup { vector },
            mode => return Err(IpiDenied::DeliveryMode { mode }),
        };
        match self.shorthand {
            Shorthand::ToSelf | Shorthand::AllIncludingSelf => Ok(IpiKind::Illegal),
            Shorthand::None | Shorthand::AllExcludingSelf => Ok(kind),
        }
    }

    fn destination(&self, cell: &impl CellCpus, mode: ApicMode) -> Result<CpuSet, IpiDenied> {
        let destination = self.destination;
        let targets = CpuSet::of_destination(cell, mode, destination, self.logical);
        if targets.is_empty() {
            return Err(IpiDenied::ForeignCpu {
                destination,
                logical: self.logical,
            });
        }
        Ok(targets)
    }
}

/// Tells whether a CPU is in a logical destination. Cluster: bits 31:16; bits 15:0: a mask of its CPUs. The CPU's own
/// logical ID follows from its APIC ID. (SDM 3A, "Deriving Logical x2APIC ID from the Local x2APIC ID")
fn x2apic_logical_match(id: u32, destination: u32) -> bool {
    destination >> 16 == id >> 4 & 0xffff && destination & 1 << (id & 0xf) != 0
}

/// Tells whether a CPU is in a logical destination, by the flat or the cluster model; a DFR of neither matches
/// nothing. (SDM 3A, "Logical Destination Mode")
fn xapic_logical_match(cpu: LogicalId, destination: u32) -> bool {
    let id = cpu.ldr >> 24;
    match cpu.dfr >> 28 {
        0xf => id & destination != 0,
        0 => id >> 4 == destination >> 4 && id & destination & 0xf != 0,
        _ => false,
    }
}

impl CpuSet {
    /// No CPU.
    pub const EMPTY: Self = Self(0);

    /// Returns the CPUs of `cell` among those that a destination field means.
    pub fn of_destination(
        cell: &impl CellCpus,
        mode: ApicMode,
        destination: u32,
        logical: bool,
    ) -> Self {
        let broadcast = match mode {
            ApicMode::Xapic => 0xff,
            ApicMode::X2apic => u32::MAX,
        };
        Self::matching(cell, |index, id| match mode {
            _ if destination == broadcast => true,
            _ if !logical => id == destination,
            ApicMode::Xapic => xapic_logical_match(cell.xapic_logical(index), destination),
            ApicMode::X2apic => x2apic_logical_match(id, destination),
        })
    }

    fn matching(cell: &impl CellCpus, wanted: impl Fn(usize, u32) -> bool) -> Self {
        let ids = cell.apic_ids().iter().take(64).enumerate();
        Self(
            ids.filter(|&(i, &id)| wanted(i, id))
                .fold(0, |set, (i, _)| set | 1 << i),
        )
    }

    /// Returns the set as a mask: bit n for the CPU with index n.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// Tells whether no CPU is in the set.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Tells whether the CPU with this index is in the set.
    pub fn contains(self, index: usize) -> bool {
        index < 64 && self.0 & 1 << index != 0
    }

    /// Returns the indices in the set, lowest first.
    pub fn indices(self) -> impl Iterator<Item = usize> {
        (0..64).filter(move |&index| self.contains(index))
    }
}

impl fmt::Display for IpiDenied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ForeignCpu {
                destination,
                logical,
            } => {
                let how = if logical { "logical" } else { "physical" };
                write!(
                    f,
                    "interrupt to {how} destination {destination:#x}, which is no CPU of the cell"
                )
            }
            Self::DeliveryMode { mode } => {
                write!(
                    f,
                    "interrupt with delivery mode {mode}, which no cell may send"
                )
            }
            Self::ForeignSender { sender } => {
                write!(f, "APIC ID {sender:#x} is no CPU of the cell")
            }
        }
    }
}

impl core::error::Error for IpiDenied {}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
