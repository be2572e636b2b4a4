//! The firmware's tables: read to learn about the machine, rewritten for a Linux cell.
//!
//! Used once, before any cell starts. [`Rsdp`] leads to [`Tables`], those to [`Madt`], [`Fadt`] and
//! [`cell_tables::build`]. Parsed by hand, a few fields at a time through [`PhysMem`]: the `acpi` crate wants to map
//! whole tables and cannot write any, and here tables must be rewritten entry by entry.
//!
//! # Invariants
//! 1. A table that is interpreted ([`Tables`], [`Madt`], [`Fadt`]) has passed its checksum.
//! 2. Nothing reads beyond a table's length or more than [`MAX_TABLES`] tables, whatever firmware says.
//!
//! ACPI 6.5, "ACPI System Description Tables".
#![forbid(unsafe_code)]

pub mod cell_tables;
mod error;
mod fadt;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod fuzz;
mod madt;
mod rsdp;

pub use error::AcpiError;
pub use fadt::{Fadt, GenericAddress, ResetRegister};
pub use madt::{Cpu, Entry, Madt, RawEntry};
pub use rsdp::Rsdp;

use core::fmt;

/// Most tables that the root table may list.
pub const MAX_TABLES: usize = 128;
/// Longest table that is interpreted.
const MAX_TABLE_LEN: u32 = 1 << 20;
/// Length of the header that all tables share. (ACPI 6.5, "System Description Table Header")
const HEADER_LEN: u32 = 36;

/// Physical memory, as far as it may be read.
pub trait PhysMem {
    /// Fills `buf` from `address` on.
    fn read(&self, address: u64, buf: &mut [u8]) -> Result<(), OutOfRange>;
}

/// Part of a read lies outside the memory that may be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfRange;

/// The name of a table.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; 4]);

impl Signature {
    /// Multiple APIC description table.
    pub const MADT: Self = Self(*b"APIC");
    /// DMA remapping table: the machine has VT-d.
    pub const DMAR: Self = Self(*b"DMAR");
    /// Fixed ACPI description table.
    pub const FADT: Self = Self(*b"FACP");
    /// High precision event timer.
    pub const HPET: Self = Self(*b"HPET");
    const RSDT: Self = Self(*b"RSDT");
    const XSDT: Self = Self(*b"XSDT");
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where a table is; its header is readable and its length at least the header's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// Physical address.
    pub address: u64,
    /// Name.
    pub signature: Signature,
    /// Length in bytes, with the header.
    pub len: u32,
}

/// The tables that the root table (XSDT or RSDT) lists. (ACPI 6.5, "Extended System Description Table (XSDT)")
#[derive(Debug)]
pub struct Tables<'m, M: ?Sized> {
    memory: &'m M,
    root: Table,
    entry_len: u32,
}

impl<'m, M: PhysMem + ?Sized> Tables<'m, M> {
    /// Checks the root table.
    pub fn open(memory: &'m M, rsdp: &Rsdp) -> Result<Self, AcpiError> {
        let (address, signature, entry_len) = match rsdp.xsdt {
            Some(xsdt) => (xsdt, Signature::XSDT, 8),
            None => (u64::from(rsdp.rsdt), Signature::RSDT, 4),
        };
        let root = Table::read(memory, address)?;
        if root.signature != signature {
            return Err(AcpiError::WrongTable {
                expected: signature,
                address,
            });
        }
        root.check(memory, HEADER_LEN)?;
        let count = (root.len - HEADER_LEN) / entry_len;
        if usize::try_from(count).map_or(true, |count| count > MAX_TABLES) {
            return Err(AcpiError::TooManyTables { count });
        }
        Ok(Self {
            memory,
            root,
            entry_len,
        })
    }

    /// Returns the tables in the root table's order, and in place of one that cannot be read the reason. Their
    /// checksums have not been looked at. Null entries are passed over.
    pub fn iter(&self) -> impl Iterator<Item = Result<Table, AcpiError>> {
        let offsets =
            (HEADER_LEN..=self.root.len - self.entry_len).step_by(self.entry_len as usize);
        offsets.filter_map(|offset| match self.entry(offset) {
            Ok(0) => None,
            Ok(address) => Some(Table::read(self.memory, address)),
            Err(error) => Some(Err(error)),
        })
    }

    /// Returns the first readable table of this name.
    pub fn find(&self, signature: Signature) -> Option<Table> {
        self.iter()
            .flatten()
            .find(|table| table.signature == signature)
    }

    fn entry(&self, offset: u32) -> Result<u64, AcpiError> {
        let address = self.root.address + u64::from(offset);
        match self.entry_len {
            4 => read_array(self.memory, address).map(|bytes| u32::from_le_bytes(bytes).into()),
            _ => read_array(self.memory, address).map(u64::from_le_bytes),
        }
    }

    /// Returns the table of this name once its length and checksum have been checked.
    fn checked(&self, signature: Signature, min_len: u32) -> Result<Table, AcpiError> {
        let table = self
            .find(signature)
            .ok_or(AcpiError::Missing { table: signature })?;
        table.check(self.memory, min_len)?;
        Ok(table)
    }
}

impl Table {
    fn read(memory: &(impl PhysMem + ?Sized), address: u64) -> Result<Self, AcpiError> {
        let [a, b, c, d, length @ ..]: [u8; 8] = read_array(memory, address)?;
        let (signature, len) = (Signature([a, b, c, d]), u32::from_le_bytes(length));
        let wraps = address.checked_add(u64::from(len)).is_none();
        if len < HEADER_LEN || wraps {
            return Err(AcpiError::Length {
                table: signature,
                len,
            });
        }
        Ok(Self {
            address,
            signature,
            len,
        })
    }

    fn check(&self, memory: &(impl PhysMem + ?Sized), min_len: u32) -> Result<(), AcpiError> {
        let Self {
            address,
            signature: table,
            len,
        } = *self;
        if !(min_len..=MAX_TABLE_LEN).contains(&len) {
            return Err(AcpiError::Length { table, len });
        }
        let mut sum = 0u8;
        for offset in 0..len {
            let [byte] = read_array(memory, address + u64::from(offset))?;
            sum = sum.wrapping_add(byte);
        }
        if sum == 0 {
            Ok(())
        } else {
            Err(AcpiError::Checksum { table, address })
        }
    }
}

fn read<M: PhysMem + ?Sized>(memory: &M, address: u64, buf: &mut [u8]) -> Result<(), AcpiError> {
    memory
        .read(address, buf)
        .map_err(|OutOfRange| AcpiError::Unreadable { address })
}

fn read_array<const N: usize>(
    memory: &(impl PhysMem + ?Sized),
    address: u64,
) -> Result<[u8; N], AcpiError> {
    let mut bytes = [0; N];
    read(memory, address, &mut bytes)?;
    Ok(bytes)
}

/// Returns a field, or zeros where the bytes end before it: a table of an older revision lacks the newer fields.
fn field<const N: usize>(bytes: &[u8], offset: usize) -> [u8; N] {
    bytes
        .get(offset..)
        .and_then(|rest| rest.first_chunk())
        .copied()
        .unwrap_or([0; N])
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, &byte| sum.wrapping_add(byte))
}

#[cfg(test)]
mod tests {
    use super::fixture::{Machine, table};
    use super::*;

    #[test]
    fn tables_are_listed_by_xsdt_and_rsdt_alike() {
        let mut machine = Machine::new();
        machine.add(b"FACP", &[0; 80]);
        machine.add(b"APIC", &[0; 8]);
        for rsdp in [machine.xsdt(), machine.rsdt()] {
            let tables = Tables::open(&machine, &rsdp).unwrap();
            let found: Vec<_> = tables.iter().map(|t| t.unwrap().signature).collect();
            assert_eq!(found, [Signature::FADT, Signature::MADT]);
            assert_eq!(tables.find(Signature::MADT).unwrap().len, 44);
            assert_eq!(tables.find(Signature::DMAR), None);
        }
    }

    #[test]
    fn a_root_table_that_is_none_is_refused() {
        let mut machine = Machine::new();
        machine.add(b"FACP", &[0; 80]);
        let xsdt = machine.xsdt().xsdt.unwrap();
        let as_rsdt = Rsdp {
            xsdt: None,
            rsdt: xsdt as u32,
            ..machine.xsdt()
        };
        assert_eq!(
            Tables::open(&machine, &as_rsdt).unwrap_err(),
            AcpiError::WrongTable {
                expected: Signature::RSDT,
                address: xsdt
            }
        );
        let nowhere = Rsdp {
            xsdt: Some(u64::MAX - 4),
            ..machine.xsdt()
        };
        assert_eq!(
            Tables::open(&machine, &nowhere).unwrap_err(),
            AcpiError::Unreadable {
                address: u64::MAX - 4
            }
        );
    }

    #[test]
    fn a_root_table_with_a_wrong_checksum_or_length_is_refused() {
        let mut machine = Machine::new();
        let rsdp = machine.xsdt();
        let address = rsdp.xsdt.unwrap();
        machine.poke(address + 20, 1);
        let table = Signature::XSDT;
        assert_eq!(
            Tables::open(&machine, &rsdp).unwrap_err(),
            AcpiError::Checksum { table, address }
        );
        for len in [0, 35, (1 << 20) + 1, u32::MAX] {
            machine.poke_all(address + 4, &len.to_le_bytes());
            let expected = AcpiError::Length { table, len };
            assert_eq!(
                Tables::open(&machine, &rsdp).unwrap_err(),
                expected,
                "{len}"
            );
        }
        let many = machine.place(table_of_zeros(129));
        assert_eq!(
            Tables::open(
                &machine,
                &Rsdp {
                    xsdt: Some(many),
                    ..rsdp
                }
            )
            .unwrap_err(),
            AcpiError::TooManyTables { count: 129 }
        );
        let empty = machine.place(table_of_zeros(128));
        let rsdp = Rsdp {
            xsdt: Some(empty),
            ..rsdp
        };
        assert_eq!(Tables::open(&machine, &rsdp).unwrap().iter().count(), 0);
    }

    fn table_of_zeros(entries: usize) -> Vec<u8> {
        table(b"XSDT", &vec![0; entries * 8])
    }

    #[test]
    fn a_stray_entry_does_not_hide_the_other_tables() {
        let mut machine = Machine::new();
        machine.list(0xdead_0000);
        machine.add(b"APIC", &[0; 8]);
        let rsdp = machine.xsdt();
        let tables = Tables::open(&machine, &rsdp).unwrap();
        let first = tables.iter().next().unwrap();
        assert_eq!(
            first,
            Err(AcpiError::Unreadable {
                address: 0xdead_0000
            })
        );
        assert!(tables.find(Signature::MADT).is_some());
    }
}
