//! What can be wrong with firmware's tables, or with what is wanted of them.

use core::fmt;

use super::{MAX_TABLES, Signature};

/// Why tables cannot be read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcpiError {
    /// No valid RSDP in the BIOS area.
    NoRsdp,
    /// An RSDP that is cut off, has a wrong signature or checksum, or leads nowhere.
    BadRsdp {
        /// Its revision, 0 if there is none.
        revision: u8,
    },
    /// Memory that must not or cannot be read.
    Unreadable {
        /// Where.
        address: u64,
    },
    /// A table too short, too long or beyond the end of memory.
    Length {
        /// Its name.
        table: Signature,
        /// Its length in bytes.
        len: u32,
    },
    /// The bytes of a table do not add up to zero.
    Checksum {
        /// Its name.
        table: Signature,
        /// Where it is.
        address: u64,
    },
    /// Another table than expected.
    WrongTable {
        /// The name it should have.
        expected: Signature,
        /// Where it is.
        address: u64,
    },
    /// More tables than [`MAX_TABLES`].
    TooManyTables {
        /// How many.
        count: u32,
    },
    /// A table that is needed is not there.
    Missing {
        /// Its name.
        table: Signature,
    },
    /// A MADT entry shorter than its type, or reaching beyond the table.
    MadtEntry {
        /// Its offset in the table.
        offset: u32,
        /// Its length in bytes.
        len: u8,
    },
    /// A CPU that the MADT does not list as enabled.
    CpuNotListed {
        /// Its APIC ID.
        apic_id: u32,
    },
    /// More CPUs than a cell can have.
    TooManyCpus {
        /// How many.
        count: usize,
    },
    /// The room for a cell's tables does not suffice.
    NoSpace {
        /// Its size in bytes.
        available: usize,
    },
}

impl fmt::Display for AcpiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NoRsdp => write!(f, "no ACPI root pointer in the BIOS area"),
            Self::BadRsdp { revision } => {
                write!(f, "ACPI root pointer of revision {revision} is damaged")
            }
            Self::Unreadable { address } => write!(f, "ACPI data at {address:#x} cannot be read"),
            Self::Length { table, len } => {
                write!(f, "ACPI table {table} cannot have {len} bytes")
            }
            Self::Checksum { table, address } => {
                write!(f, "ACPI table {table} at {address:#x} has a wrong checksum")
            }
            Self::WrongTable { expected, address } => {
                write!(f, "no ACPI table {expected} at {address:#x}")
            }
            Self::TooManyTables { count } => {
                write!(f, "{count} ACPI tables, at most {MAX_TABLES} expected")
            }
            Self::Missing { table } => write!(f, "no ACPI table {table}"),
            Self::MadtEntry { offset, len } => {
                write!(
                    f,
                    "MADT entry at offset {offset:#x} cannot have {len} bytes"
                )
            }
            Self::CpuNotListed { apic_id } => {
                write!(f, "the MADT lists no enabled CPU with APIC ID {apic_id:#x}")
            }
            Self::TooManyCpus { count } => write!(f, "{count} CPUs are too many for a cell"),
            Self::NoSpace { available } => {
                write!(
                    f,
                    "the cell's ACPI tables do not fit into {available:#x} bytes"
                )
            }
        }
    }
}

impl core::error::Error for AcpiError {}
