//! The multiple APIC description table: which CPUs and I/O APICs there are.
//!
//! Entries are read one at a time; a table of hundreds of CPUs needs no buffer.
//!
//! ACPI 6.5, "Multiple APIC Description Table (MADT)".

use super::{AcpiError, PhysMem, Signature, Table, Tables, field, read, read_array};

/// Length of the header with the two fields that precede the entries.
pub(super) const FIXED_LEN: u32 = 44;

/// A checked MADT.
#[derive(Debug)]
pub struct Madt<'m, M: ?Sized> {
    memory: &'m M,
    table: Table,
}

/// A CPU: a local APIC entry (type 0) or a local x2APIC entry (type 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpu {
    /// APIC ID.
    pub apic_id: u32,
    /// What the firmware's code calls this CPU.
    pub uid: u32,
    /// It can be started.
    pub is_enabled: bool,
    /// It cannot be started now but later.
    pub is_online_capable: bool,
}

/// An entry, as far as it is understood here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A CPU.
    Cpu(Cpu),
    /// An I/O APIC (type 1).
    IoApic {
        /// Its ID.
        id: u8,
        /// Physical address of its registers.
        address: u32,
        /// Global interrupt number of its first pin.
        gsi_base: u32,
    },
    /// An ISA interrupt that does not arrive at the I/O APIC pin of its number (type 2).
    SourceOverride {
        /// ISA interrupt.
        source: u8,
        /// Global interrupt.
        gsi: u32,
        /// Polarity and trigger mode.
        flags: u16,
    },
    /// An I/O APIC pin that is to be an NMI (type 3).
    NmiSource {
        /// Global interrupt.
        gsi: u32,
    },
    /// A local APIC pin that is an NMI (types 4 and 0AH).
    LocalNmi {
        /// CPU, or `None` for all.
        uid: Option<u32>,
    },
    /// The local APICs' physical address in 64 bits (type 5).
    AddressOverride {
        /// The address.
        address: u64,
    },
    /// Another type.
    Other {
        /// Its number.
        kind: u8,
    },
}

/// An entry and its bytes.
#[derive(Clone, Copy, Debug)]
pub struct RawEntry {
    /// What it says.
    pub entry: Entry,
    bytes: [u8; 255],
    len: u8,
}

impl<'m, M: PhysMem + ?Sized> Madt<'m, M> {
    /// Finds and checks the table.
    pub fn open(tables: &Tables<'m, M>) -> Result<Self, AcpiError> {
        let table = tables.checked(Signature::MADT, FIXED_LEN)?;
        Ok(Self {
            memory: tables.memory,
            table,
        })
    }

    /// Returns the entries in the table's order. The first one that is damaged is the last one returned.
    pub fn entries(&self) -> impl Iterator<Item = Result<RawEntry, AcpiError>> {
        let mut offset = FIXED_LEN;
        core::iter::from_fn(move || {
            if offset >= self.table.len {
                return None;
            }
            let entry = self.entry(offset);
            offset = entry
                .as_ref()
                .map_or(self.table.len, |entry| offset + u32::from(entry.len));
            Some(entry)
        })
    }

    /// Returns all CPUs, enabled or not.
    pub fn cpus(&self) -> impl Iterator<Item = Result<Cpu, AcpiError>> {
        self.entries().filter_map(|entry| match entry {
            Ok(RawEntry {
                entry: Entry::Cpu(cpu),
                ..
            }) => Some(Ok(cpu)),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        })
    }

    /// Returns the physical addresses of all I/O APICs.
    pub fn io_apics(&self) -> impl Iterator<Item = Result<u64, AcpiError>> {
        self.entries().filter_map(|entry| match entry {
            Ok(RawEntry {
                entry: Entry::IoApic { address, .. },
                ..
            }) => Some(Ok(address.into())),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        })
    }

    /// Returns the part before the entries.
    pub(super) fn fixed_part(&self) -> Result<[u8; FIXED_LEN as usize], AcpiError> {
        read_array(self.memory, self.table.address)
    }

    fn entry(&self, offset: u32) -> Result<RawEntry, AcpiError> {
        let address = self.table.address + u64::from(offset);
        let remaining = self.table.len - offset;
        if remaining < 2 {
            return Err(AcpiError::MadtEntry { offset, len: 1 });
        }
        let [kind, len] = read_array(self.memory, address)?;
        if len < min_len(kind) || u32::from(len) > remaining {
            return Err(AcpiError::MadtEntry { offset, len });
        }
        let mut bytes = [0; 255];
        read(self.memory, address, &mut bytes[..usize::from(len)])?;
        Ok(RawEntry {
            entry: Entry::parse(kind, &bytes),
            bytes,
            len,
        })
    }
}

/// Returns the length of a type's entries; those that are not understood have at least type and length.
fn min_len(kind: u8) -> u8 {
    match kind {
        0 | 3 => 8,
        1 | 5 | 0xa => 12,
        2 => 10,
        4 => 6,
        9 => 16,
        _ => 2,
    }
}

impl Entry {
    fn parse(kind: u8, bytes: &[u8]) -> Self {
        let u8_at = |offset| u8::from_le_bytes(field(bytes, offset));
        let u32_at = |offset| u32::from_le_bytes(field(bytes, offset));
        match kind {
            0 => Self::cpu(u8_at(3).into(), u8_at(2).into(), u32_at(4)),
            1 => Self::IoApic {
                id: u8_at(2),
                address: u32_at(4),
                gsi_base: u32_at(8),
            },
            2 => {
                let flags = u16::from_le_bytes(field(bytes, 8));
                Self::SourceOverride {
                    source: u8_at(3),
                    gsi: u32_at(4),
                    flags,
                }
            }
            3 => Self::NmiSource { gsi: u32_at(4) },
            4 => Self::LocalNmi {
                uid: Some(u8_at(2)).filter(|&uid| uid != 0xff).map(u32::from),
            },
            5 => Self::AddressOverride {
                address: u64::from_le_bytes(field(bytes, 4)),
            },
            9 => Self::cpu(u32_at(4), u32_at(12), u32_at(8)),
            0xa => Self::LocalNmi {
                uid: Some(u32_at(4)).filter(|&uid| uid != u32::MAX),
            },
            kind => Self::Other { kind },
        }
    }

    fn cpu(apic_id: u32, uid: u32, flags: u32) -> Self {
        let (is_enabled, is_online_capable) = (flags & 1 != 0, flags & 2 != 0);
        Self::Cpu(Cpu {
            apic_id,
            uid,
            is_enabled,
            is_online_capable,
        })
    }
}

impl RawEntry {
    /// Returns the entry as it stands in the table.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{self, Machine};
    use super::*;
    use proptest::prelude::*;

    fn entries(body: &[u8]) -> Vec<Result<Entry, AcpiError>> {
        let mut machine = Machine::new();
        machine.add(b"APIC", body);
        let rsdp = machine.xsdt();
        let tables = Tables::open(&machine, &rsdp).unwrap();
        let madt = Madt::open(&tables).unwrap();
        madt.entries()
            .map(|entry| entry.map(|entry| entry.entry))
            .collect()
    }

    fn cpu(apic_id: u32, uid: u32, is_enabled: bool, is_online_capable: bool) -> Entry {
        Entry::Cpu(Cpu {
            apic_id,
            uid,
            is_enabled,
            is_online_capable,
        })
    }

    #[test]
    fn each_kind_of_entry_is_read() {
        let body = fixture::madt(&[
            &[0, 8, 1, 0, 1, 0, 0, 0],
            &[0, 8, 2, 0xff, 2, 0, 0, 0],
            &[1, 12, 2, 0, 0, 0, 0xc0, 0xfe, 24, 0, 0, 0],
            &[2, 10, 0, 9, 20, 0, 0, 0, 0x0d, 0],
            &[3, 8, 0, 0, 7, 0, 0, 0],
            &[4, 6, 0xff, 0, 0, 1],
            &[4, 6, 3, 0, 0, 1],
            &[5, 12, 0, 0, 0, 0, 0xe0, 0xfe, 0, 0, 0, 0],
            &[9, 16, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 5, 1, 0, 0],
            &[10, 12, 0, 0, 0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0],
            &[0x10, 4, 1, 2],
        ]);
        let expected = [
            cpu(0, 1, true, false),
            cpu(0xff, 2, false, true),
            Entry::IoApic {
                id: 2,
                address: 0xfec0_0000,
                gsi_base: 24,
            },
            Entry::SourceOverride {
                source: 9,
                gsi: 20,
                flags: 0xd,
            },
            Entry::NmiSource { gsi: 7 },
            Entry::LocalNmi { uid: None },
            Entry::LocalNmi { uid: Some(3) },
            Entry::AddressOverride {
                address: 0xfee0_0000,
            },
            cpu(0x100, 0x105, true, false),
            Entry::LocalNmi { uid: None },
            Entry::Other { kind: 0x10 },
        ];
        assert_eq!(entries(&body), expected.map(Ok));
    }

    #[test]
    fn io_apics_are_found_among_other_entries_up_to_a_damaged_one() {
        let mut machine = Machine::new();
        let io_apic = |page| [1, 12, 2, 0, 0, page, 0xc0, 0xfe, 24, 0, 0, 0];
        let body = fixture::madt(&[
            &io_apic(0x00),
            &[0, 8, 1, 0, 1, 0, 0, 0],
            &io_apic(0x10),
            &[0, 0],
        ]);
        machine.add(b"APIC", &body);
        let rsdp = machine.xsdt();
        let tables = Tables::open(&machine, &rsdp).unwrap();
        let madt = Madt::open(&tables).unwrap();
        let damaged = AcpiError::MadtEntry { offset: 76, len: 0 };
        assert!(
            madt.io_apics()
                .eq([Ok(0xfec0_0000), Ok(0xfec0_1000), Err(damaged)])
        );
    }

    #[test]
    fn a_damaged_entry_ends_the_list() {
        let good = &[0, 8, 1, 0, 1, 0, 0, 0][..];
        for (damaged, len) in [
            (&[9, 8, 0, 0, 1, 0, 0, 0][..], 8),
            (&[0, 0, 0, 0], 0),
            (&[0x80, 1, 0, 0], 1),
            (&[0x80, 5, 0, 0], 5),
            (&[0x80], 1),
        ] {
            let found = entries(&fixture::madt(&[good, damaged]));
            let error = Err(AcpiError::MadtEntry { offset: 52, len });
            assert_eq!(found, [Ok(cpu(0, 1, true, false)), error], "{damaged:?}");
        }
    }

    #[test]
    fn a_table_with_a_wrong_checksum_is_not_interpreted() {
        let mut machine = Machine::new();
        let address = machine.add(b"APIC", &fixture::madt(&[]));
        machine.poke(address + 40, 1);
        let rsdp = machine.xsdt();
        let tables = Tables::open(&machine, &rsdp).unwrap();
        let error = AcpiError::Checksum {
            table: Signature::MADT,
            address,
        };
        assert_eq!(Madt::open(&tables).unwrap_err(), error);
    }

    proptest! {
        #[test]
        fn any_entries_end(body in prop::collection::vec(any::<u8>(), 8..600), small: bool) {
            let body: Vec<u8> =
                if small { body.iter().map(|byte| byte % 20).collect() } else { body };
            let found = entries(&body);
            prop_assert!(found.len() <= body.len() / 2);
            prop_assert!(found.iter().rev().skip(1).all(|entry| entry.is_ok()));
        }
    }
}
