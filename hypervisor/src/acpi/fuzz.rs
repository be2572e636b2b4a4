// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random firmware: tables with right checksums and wrong contents, at addresses that overlap or wrap.

use std::cell::Cell;

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::cell_tables::{self, CellTables, LEFT_OUT};
use super::fixture::table;
use super::*;

/// Memory at one place, and how often it was read.
struct Flat {
    base: u64,
    bytes: Vec<u8>,
    reads: Cell<usize>,
}

impl Flat {
    fn new(base: u64, bytes: Vec<u8>) -> Self {
        Self {
            base,
            bytes,
            reads: Cell::new(0),
        }
    }
}

impl PhysMem for Flat {
    fn read(&self, address: u64, buf: &mut [u8]) -> Result<(), OutOfRange> {
        self.reads.set(self.reads.get() + 1);
        let at = address.checked_sub(self.base).ok_or(OutOfRange)?;
        let at = usize::try_from(at).map_err(|_| OutOfRange)?;
        let bytes = self.bytes.get(at..).and_then(|rest| rest.get(..buf.len()));
        buf.copy_from_slice(bytes.ok_or(OutOfRange)?);
        Ok(())
    }
}

const LEN: usize = 0x3000;
const NAMES: [[u8; 4]; 8] = [
    *b"APIC", *b"FACP", *b"DMAR", *b"SRAT", *b"SSDT", *b"HPET", *b"XSDT", *b"RSDT",
];

/// A table somewhere in memory, by how much its length is wrong, and whether its checksum is right in spite of it.
#[derive(Clone, Debug)]
struct Placed {
    at: Index,
    name: [u8; 4],
    body: Vec<u8>,
    len_error: i32,
    is_sealed: bool,
}

/// An entry of a MADT, with another length at times.
fn madt_entry() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![4 => Just(0u8), 4 => Just(9), 4 => 0u8..12, 1 => any::<u8>()];
    let contents = prop::collection::vec(prop_oneof![3 => 0u8..4, 1 => any::<u8>()], 30);
    let len_error = prop_oneof![30 => Just(0i8), 1 => -4i8..5, 1 => any::<i8>()];
    (kind, contents, len_error).prop_map(|(kind, contents, len_error)| {
        let len = match kind {
            0 | 3 => 8u8,
            1 | 5 | 10 => 12,
            2 => 10,
            4 => 6,
            9 => 16,
            _ => contents[0] % 20 + 2,
        };
        let mut entry = vec![kind, len.wrapping_add_signed(len_error)];
        entry.extend(&contents[..usize::from(len) - 2]);
        entry
    })
}

fn placed() -> impl Strategy<Value = Placed> {
    let bytes = prop::collection::vec(any::<u8>(), 0..300);
    let madt = prop::collection::vec(madt_entry(), 0..24).prop_map(|entries| {
        fixture::madt(&entries.iter().map(|entry| &entry[..]).collect::<Vec<_>>())
    });
    let contents = prop_oneof![
        4 => madt.prop_map(|body| (*b"APIC", body)),
        2 => bytes.clone().prop_map(|body| (*b"FACP", body)),
        2 => (select(&NAMES[..]), bytes),
    ];
    let len_error = prop_oneof![20 => Just(0i32), 1 => -300i32..300, 1 => any::<i32>()];
    let is_sealed = prop::bool::weighted(0.95);
    (any::<Index>(), contents, len_error, is_sealed).prop_map(
        |(at, (name, body), len_error, is_sealed)| Placed {
            at,
            name,
            body,
            len_error,
            is_sealed,
        },
    )
}

/// An entry of the root table: one of the tables, near one of them, or anything.
fn root_entry() -> impl Strategy<Value = (Index, i64, Option<u64>)> {
    let by = prop_oneof![20 => Just(0i64), 1 => -40i64..40];
    let stray = prop_oneof![20 => Just(None), 1 => Just(Some(0)), 1 => any::<u64>().prop_map(Some)];
    (any::<Index>(), by, stray)
}

#[derive(Clone, Debug)]
struct Firmware {
    base: u64,
    tables: Vec<Placed>,
    root: Vec<(Index, i64, Option<u64>)>,
    is_xsdt: bool,
    pokes: Vec<(Index, u8)>,
}

fn firmware() -> impl Strategy<Value = Firmware> {
    let base = prop_oneof![
        4 => Just(0x3fff_0000u64),
        1 => Just(0u64),
        1 => Just(u64::MAX - LEN as u64),
        1 => (0u64..64).prop_map(|more| u64::MAX - LEN as u64 + 1 + more),
    ];
    let root = prop_oneof![
        15 => prop::collection::vec(root_entry(), 0..10),
        1 => prop::collection::vec(root_entry(), 120..140),
    ];
    let pokes = prop::collection::vec((any::<Index>(), any::<u8>()), 0..2);
    (
        base,
        prop::collection::vec(placed(), 0..6),
        root,
        prop::bool::weighted(0.8),
        pokes,
    )
        .prop_map(|(base, tables, root, is_xsdt, pokes)| Firmware {
            base,
            tables,
            root,
            is_xsdt,
            pokes,
        })
}

impl Firmware {
    /// Writes the tables, those first that are named first: later ones may lie over them.
    fn write(&self) -> (Flat, Rsdp) {
        let mut bytes = vec![0; LEN];
        let mut addresses = vec![];
        // Most tables get a place of their own; the root table lies at the end.
        let root_at = LEN - 0x800;
        for (number, placed) in self.tables.iter().enumerate() {
            let own = number * 0x600;
            let at = if placed.at.index(8) == 0 {
                placed.at.index(root_at)
            } else {
                own
            };
            put(&mut bytes, at, &placed.written());
            addresses.push(self.base.wrapping_add(at as u64));
        }
        let entries = self
            .root
            .iter()
            .map(|(which, by, stray)| match (stray, addresses.len()) {
                (Some(stray), _) => *stray,
                (None, 0) => self.base,
                (None, len) => addresses[which.index(len)].wrapping_add_signed(*by),
            });
        let (name, body): (_, Vec<u8>) = if self.is_xsdt {
            (b"XSDT", entries.flat_map(u64::to_le_bytes).collect())
        } else {
            (
                b"RSDT",
                entries.flat_map(|e| (e as u32).to_le_bytes()).collect(),
            )
        };
        put(&mut bytes, root_at, &table(name, &body));
        for (at, value) in &self.pokes {
            bytes[at.index(LEN)] = *value;
        }
        let root = self.base.wrapping_add(root_at as u64);
        let rsdp = Rsdp {
            oem_id: *b"OEMID ",
            rsdt: root as u32,
            xsdt: self.is_xsdt.then_some(root),
        };
        (Flat::new(self.base, bytes), rsdp)
    }
}

impl Placed {
    fn written(&self) -> Vec<u8> {
        let mut bytes = table(&self.name, &self.body);
        let len = (bytes.len() as u32).wrapping_add_signed(self.len_error);
        bytes[4..8].copy_from_slice(&len.to_le_bytes());
        if self.is_sealed {
            let covered = bytes.len().min(len as usize);
            if covered > 9 {
                bytes[9] = bytes[9].wrapping_sub(sum(&bytes[..covered]));
            }
        }
        bytes
    }
}

/// Copies as much as fits.
fn put(bytes: &mut [u8], at: usize, new: &[u8]) {
    let room = &mut bytes[at..];
    let len = room.len().min(new.len());
    room[..len].copy_from_slice(&new[..len]);
}

/// The entries of a MADT cover it without gaps, up to the first that is damaged.
fn judge_madt(madt: &Madt<Flat>, len: u32) -> Result<(), TestCaseError> {
    let mut covered = madt::FIXED_LEN;
    let mut is_damaged = false;
    for entry in madt.entries() {
        prop_assert!(!is_damaged, "an entry behind a damaged one");
        match entry {
            Ok(entry) => {
                prop_assert!(entry.bytes().len() >= 2);
                prop_assert_eq!(usize::from(entry.bytes()[1]), entry.bytes().len());
                covered += entry.bytes().len() as u32;
            }
            Err(error) => {
                prop_assert!(!error.to_string().is_empty());
                is_damaged = true;
            }
        }
    }
    prop_assert!(covered <= len && (is_damaged || covered == len));
    Ok(())
}

/// The cell's tables lead to a MADT of its CPUs alone, and to nothing that is left out.
fn judge_cell(tables: &Tables<Flat>, rsdp: &Rsdp, cpus: &[u32]) -> Result<bool, TestCaseError> {
    const GPA: u64 = 0x10_0000;
    let mut out = vec![0xaa; 0x1000];
    let cell = CellTables {
        gpa: GPA,
        cpus,
        leave_out: &[Signature::HPET],
    };
    let Ok(built) = cell_tables::build(tables, rsdp, &cell, &mut out) else {
        return Ok(false);
    };
    prop_assert!(
        out[built.len..].iter().all(|&byte| byte == 0xaa),
        "written behind the end"
    );
    let own = Rsdp::parse(&out[..36]);
    prop_assert!(own.is_ok());
    let memory = Flat::new(GPA, out);
    let own = own.expect("asserted above");
    let seen = Tables::open(&memory, &own).map_err(|e| TestCaseError::fail(e.to_string()))?;
    let madt = Madt::open(&seen).map_err(|e| TestCaseError::fail(e.to_string()))?;
    let found: Result<Vec<_>, _> = madt.cpus().map(|cpu| cpu.map(|cpu| cpu.apic_id)).collect();
    prop_assert_eq!(found.as_deref(), Ok(cpus));
    // All but the MADT lie in the machine's memory.
    let listed = (HEADER_LEN..seen.root.len)
        .step_by(8)
        .map(|offset| seen.entry(offset));
    for address in listed.skip(1) {
        let table = Table::read(tables.memory, address.expect("read before"));
        let name = table.expect("one that could be read").signature;
        prop_assert!(
            !LEFT_OUT.contains(&name) && name != Signature::HPET,
            "{}",
            name
        );
    }
    Ok(true)
}

proptest! {
    #[test]
    fn any_tables_are_read_or_refused(firmware in firmware(), more in prop::collection::vec(0u32..6, 0..3)) {
        let (memory, rsdp) = firmware.write();
        let Ok(tables) = Tables::open(&memory, &rsdp) else { return Ok(()) };
        prop_assert!(tables.iter().count() <= MAX_TABLES);
        for table in tables.iter().flatten() {
            prop_assert!(table.len >= HEADER_LEN && table.address.checked_add(table.len.into()).is_some());
        }
        let fadt = Fadt::read(&tables);
        prop_assert!(fadt.is_ok() || !fadt.unwrap_err().to_string().is_empty());
        if let Ok(madt) = Madt::open(&tables) {
            judge_madt(&madt, tables.find(Signature::MADT).expect("opened").len)?;
            let enabled = madt.cpus().flatten().filter(|cpu| cpu.is_enabled).map(|cpu| cpu.apic_id);
            let mut cpus: Vec<u32> = enabled.collect();
            cpus.dedup();
            judge_cell(&tables, &rsdp, &cpus)?;
            judge_cell(&tables, &rsdp, &more)?;
        }
        prop_assert!(memory.reads.get() < 2_000_000, "{} reads", memory.reads.get());
    }

    #[test]
    fn any_memory_is_read_or_refused(
        bytes in prop::collection::vec(any::<u8>(), 0..400), base in prop_oneof![Just(0u64), Just(u64::MAX - 200), any::<u64>()],
        at: u64, is_xsdt: bool,
    ) {
        let memory = Flat::new(base, bytes);
        let at = base.wrapping_add(at % 500);
        let rsdp = Rsdp { oem_id: [0; 6], rsdt: at as u32, xsdt: is_xsdt.then_some(at) };
        prop_assert!(Tables::open(&memory, &rsdp).is_err(), "a root table by chance");
    }

    #[test]
    fn the_first_sound_root_pointer_is_found(
        candidates in prop::collection::vec((0usize..0x2000, any::<bool>(), 1u32..u32::MAX, any::<bool>()), 0..6),
    ) {
        const BIOS: u64 = 0xe_0000;
        let mut bytes = vec![0; 0x2_0000];
        for (line, is_right, rsdt, is_new) in candidates {
            let mut pointer = Rsdp::encode(*b"OEMID ", rsdt.into()).to_vec();
            if !is_new {
                pointer[15..36].fill(0);
                pointer.truncate(20);
                pointer[16..20].copy_from_slice(&rsdt.to_le_bytes());
                pointer[8] = pointer[8].wrapping_sub(sum(&pointer));
            }
            pointer[10] = pointer[10].wrapping_add(u8::from(!is_right));
            put(&mut bytes, line * 16, &pointer);
        }
        let expected = (0..0x2000).find_map(|line| Rsdp::parse(&bytes[line * 16..][..(0x2_0000 - line * 16).min(36)]).ok());
        prop_assert_eq!(Rsdp::find(&Flat::new(BIOS, bytes)).ok(), expected);
    }
}
