//! The tables of a Linux cell: the machine's own, with a root of the cell's and a MADT of its CPUs.
//!
//! Built once, into memory of the cell, before it starts. All other tables stay where firmware put them and are
//! listed by address, so the cell must be able to read them there.
//!
//! # Invariants
//! 1. The MADT names CPUs of the cell only, the cell's boot CPU first: Linux takes the first one listed for the
//!    machine's boot CPU, and another one that boots for a crash kernel. Entries of other CPUs are removed; disabled
//!    ones would count as CPUs to be plugged in.
//! 2. Tables that describe what the cell does not have are not listed ([`LEFT_OUT`]).
//!
//! ACPI 6.5, "Root System Description Pointer (RSDP)", "Extended System Description Table (XSDT)", "Multiple APIC
//! Description Table (MADT)".

use super::{
    AcpiError, Entry, HEADER_LEN, Madt, PhysMem, RawEntry, Rsdp, Signature, Tables, read_array,
    rsdp, sum,
};

/// Most CPUs of a cell.
const MAX_CPUS: usize = 64;

/// Tables that no cell gets.
pub const LEFT_OUT: [Signature; 10] = [
    // VT-d belongs to the hypervisor, in part or as a whole.
    Signature::DMAR,
    // Memory and CPUs of the whole machine, by proximity: most of them are others', and one node remains.
    Signature(*b"SRAT"),
    Signature(*b"SLIT"),
    Signature(*b"HMAT"),
    Signature(*b"MSCT"),
    // Memory beyond RAM, memory power, memory windows: of the whole machine too.
    Signature(*b"NFIT"),
    Signature(*b"PMTT"),
    Signature(*b"MPST"),
    Signature(*b"CEDT"),
    // Has firmware break any memory on request.
    Signature(*b"EINJ"),
];

/// What a cell's tables are made of.
#[derive(Clone, Copy, Debug)]
pub struct CellTables<'a> {
    /// Guest-physical address of the first byte written, 16-byte aligned.
    pub gpa: u64,
    /// APIC IDs of the cell's CPUs, its boot CPU first; at most 64.
    pub cpus: &'a [u32],
    /// More tables that the cell does not get, such as [`Signature::HPET`] if the device is another cell's.
    pub leave_out: &'a [Signature],
}

/// Where the tables are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CellAcpi {
    /// Guest-physical address of the RSDP.
    pub rsdp: u64,
    /// Length of all that was written, in bytes.
    pub len: usize,
}

/// Writes RSDP, MADT and XSDT to `out`, where the cell will see them at `cell.gpa`. There is an XSDT even where the
/// machine has only an RSDT: one form for all, and every Linux with a 64-bit entry reads it.
pub fn build<M: PhysMem + ?Sized>(
    tables: &Tables<'_, M>,
    rsdp: &Rsdp,
    cell: &CellTables,
    out: &mut [u8],
) -> Result<CellAcpi, AcpiError> {
    let available = out.len();
    if cell.gpa.checked_add(available as u64).is_none() {
        return Err(AcpiError::NoSpace { available });
    }
    let mut writer = Writer { out, len: 0 };
    writer.put(&[0; rsdp::V2_LEN])?;
    let madt = cell.gpa + writer.align()?;
    write_madt(&Madt::open(tables)?, cell.cpus, &mut writer)?;
    let xsdt = cell.gpa + writer.align()?;
    write_xsdt(tables, madt, cell.leave_out, &mut writer)?;
    writer.out[..rsdp::V2_LEN].copy_from_slice(&Rsdp::encode(rsdp.oem_id, xsdt));
    Ok(CellAcpi {
        rsdp: cell.gpa,
        len: writer.len,
    })
}

fn write_madt<M: PhysMem + ?Sized>(
    madt: &Madt<'_, M>,
    cpus: &[u32],
    writer: &mut Writer,
) -> Result<(), AcpiError> {
    let start = writer.len;
    writer.put(&madt.fixed_part()?)?;
    let mut uids = [0; MAX_CPUS];
    let uids = uids.get_mut(..cpus.len()).ok_or(AcpiError::NoSpace {
        available: MAX_CPUS,
    })?;
    for (uid, &apic_id) in uids.iter_mut().zip(cpus) {
        let (entry, found) = find_cpu(madt, apic_id)?;
        writer.put(entry.bytes())?;
        *uid = found;
    }
    for entry in madt.entries() {
        let entry = entry?;
        let belongs_to_cell = match entry.entry {
            Entry::IoApic { .. }
            | Entry::SourceOverride { .. }
            | Entry::NmiSource { .. }
            | Entry::AddressOverride { .. } => true,
            Entry::LocalNmi { uid } => uid.is_none_or(|uid| uids.contains(&uid)),
            // CPUs have been written; other types may name CPUs (10H: a mailbox that wakes any of them).
            Entry::Cpu(_) | Entry::Other { .. } => false,
        };
        if belongs_to_cell {
            writer.put(entry.bytes())?;
        }
    }
    writer.finish_table(start, Signature::MADT)
}

/// Returns the enabled CPU's entry and UID.
fn find_cpu<M: PhysMem + ?Sized>(
    madt: &Madt<'_, M>,
    apic_id: u32,
) -> Result<(RawEntry, u32), AcpiError> {
    for entry in madt.entries() {
        let entry = entry?;
        match entry.entry {
            Entry::Cpu(cpu) if cpu.is_enabled && cpu.apic_id == apic_id => {
                return Ok((entry, cpu.uid));
            }
            _ => {}
        }
    }
    Err(AcpiError::CpuNotListed { apic_id })
}

fn write_xsdt<M: PhysMem + ?Sized>(
    tables: &Tables<'_, M>,
    madt: u64,
    leave_out: &[Signature],
    writer: &mut Writer,
) -> Result<(), AcpiError> {
    let start = writer.len;
    // OEM fields as in the machine's root table.
    let mut header: [u8; HEADER_LEN as usize] = read_array(tables.memory, tables.root.address)?;
    header[8] = 1;
    writer.put(&header)?;
    writer.put(&madt.to_le_bytes())?;
    // A table that cannot be read is none for the cell either.
    for table in tables.iter().flatten() {
        let signature = table.signature;
        let is_left_out = LEFT_OUT.contains(&signature) || leave_out.contains(&signature);
        if !is_left_out && signature != Signature::MADT {
            writer.put(&table.address.to_le_bytes())?;
        }
    }
    writer.finish_table(start, Signature::XSDT)
}

/// Appends to a buffer.
struct Writer<'o> {
    out: &'o mut [u8],
    len: usize,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), AcpiError> {
        let available = self.out.len();
        let end = self
            .len
            .checked_add(bytes.len())
            .ok_or(AcpiError::NoSpace { available })?;
        let place = self
            .out
            .get_mut(self.len..end)
            .ok_or(AcpiError::NoSpace { available })?;
        place.copy_from_slice(bytes);
        self.len = end;
        Ok(())
    }

    /// Pads to a 16-byte boundary and returns the length, which is the offset of what comes next.
    fn align(&mut self) -> Result<u64, AcpiError> {
        let padding = self.len.wrapping_neg() % 16;
        self.put(&[0; 16][..padding])?;
        Ok(self.len as u64)
    }

    /// Sets signature, length and checksum of the table that begins at `start` and ends here.
    fn finish_table(&mut self, start: usize, signature: Signature) -> Result<(), AcpiError> {
        let available = self.out.len();
        let table = &mut self.out[start..self.len];
        let len = u32::try_from(table.len()).map_err(|_| AcpiError::NoSpace { available })?;
        table[..4].copy_from_slice(&signature.0);
        table[4..8].copy_from_slice(&len.to_le_bytes());
        table[9] = 0;
        table[9] = 0u8.wrapping_sub(sum(table));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{self, Machine};
    use super::*;
    use proptest::prelude::*;

    const GPA: u64 = 0x2_0000;

    const IO_APIC: [u8; 12] = [1, 12, 2, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0];
    const OVERRIDE: [u8; 10] = [2, 10, 0, 0, 2, 0, 0, 0, 0, 0];
    const NMI_ALL: [u8; 6] = [4, 6, 0xff, 0, 0, 1];
    const NMI_X2_ALL: [u8; 12] = [10, 12, 0, 0, 0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0];
    const MAILBOX: [u8; 16] = [0x10, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

    fn cpu(apic_id: u8, uid: u8, flags: u8) -> [u8; 8] {
        [0, 8, uid, apic_id, flags, 0, 0, 0]
    }

    fn x2apic(apic_id: u8, uid: u8) -> [u8; 16] {
        [9, 16, 0, 0, apic_id, 1, 0, 0, 1, 0, 0, 0, uid, 1, 0, 0]
    }

    fn nmi(uid: u8) -> [u8; 6] {
        [4, 6, uid, 0, 0, 1]
    }

    fn machine() -> Machine {
        let mut machine = Machine::new();
        machine.add(b"FACP", &[0; 80]);
        machine.add(
            b"APIC",
            &fixture::madt(&[
                &cpu(0, 10, 1),
                &cpu(1, 11, 1),
                &cpu(2, 12, 1),
                &cpu(3, 13, 0),
                &x2apic(0, 4),
                &x2apic(1, 5),
                &IO_APIC,
                &OVERRIDE,
                &nmi(10),
                &nmi(11),
                &NMI_ALL,
                &NMI_X2_ALL,
                &MAILBOX,
            ]),
        );
        for name in [b"DMAR", b"SRAT", b"HPET", b"SSDT", b"SSDT"] {
            machine.add(name, &[0; 20]);
        }
        machine
    }

    /// Builds, maps the result where the cell sees it and opens it there.
    fn build_for(
        mut machine: Machine,
        rsdp: Rsdp,
        cpus: &[u32],
        leave_out: &[Signature],
    ) -> Result<(Machine, Rsdp), AcpiError> {
        let mut out = vec![0xaa; 0x1000];
        let tables = Tables::open(&machine, &rsdp)?;
        let cell = CellTables {
            gpa: GPA,
            cpus,
            leave_out,
        };
        let built = build(&tables, &rsdp, &cell, &mut out)?;
        assert_eq!(built.rsdp, GPA);
        out.truncate(built.len);
        let rsdp = Rsdp::parse(&out[..36])?;
        machine.map(GPA, out);
        Ok((machine, rsdp))
    }

    fn madt_bytes(machine: &Machine, rsdp: &Rsdp) -> Vec<u8> {
        let tables = Tables::open(machine, rsdp).unwrap();
        let madt = Madt::open(&tables).unwrap();
        madt.entries()
            .flat_map(|entry| entry.unwrap().bytes().to_vec())
            .collect()
    }

    #[test]
    fn the_madt_names_the_cells_cpus_with_the_boot_cpu_first() {
        let machine = machine();
        let rsdp = machine.xsdt();
        let (machine, rsdp) = build_for(machine, rsdp, &[2, 0x101, 0], &[]).unwrap();
        let expected = [
            &cpu(2, 12, 1)[..],
            &x2apic(1, 5),
            &cpu(0, 10, 1),
            &IO_APIC,
            &OVERRIDE,
            &nmi(10),
            &NMI_ALL,
            &NMI_X2_ALL,
        ];
        assert_eq!(madt_bytes(&machine, &rsdp), expected.concat());
    }

    #[test]
    fn tables_of_what_the_cell_does_not_have_are_left_out() {
        let machine = machine();
        for rsdp in [machine.xsdt(), machine.rsdt()] {
            let (machine, rsdp) =
                build_for(machine.clone(), rsdp, &[0], &[Signature::HPET]).unwrap();
            let tables = Tables::open(&machine, &rsdp).unwrap();
            let names: Vec<_> = tables.iter().map(|t| t.unwrap().signature.0).collect();
            assert_eq!(
                names,
                [b"APIC", b"FACP", b"SSDT", b"SSDT"].map(|name| *name)
            );
            let firmware = machine.xsdt();
            let original = Tables::open(&machine, &firmware).unwrap();
            assert_eq!(tables.find(Signature::FADT), original.find(Signature::FADT));
            assert_ne!(tables.find(Signature::MADT), original.find(Signature::MADT));
        }
    }

    #[test]
    fn a_cpu_that_is_not_there_or_disabled_is_refused() {
        for apic_id in [3, 4, 0xff] {
            let machine = machine();
            let rsdp = machine.xsdt();
            let result = build_for(machine, rsdp, &[0, apic_id], &[]);
            assert_eq!(result.err(), Some(AcpiError::CpuNotListed { apic_id }));
        }
    }

    #[test]
    fn too_little_room_is_refused_at_any_length() {
        let machine = machine();
        let rsdp = machine.xsdt();
        let tables = Tables::open(&machine, &rsdp).unwrap();
        let cell = CellTables {
            gpa: GPA,
            cpus: &[0, 1],
            leave_out: &[],
        };
        let len = build(&tables, &rsdp, &cell, &mut [0; 0x1000]).unwrap().len;
        for available in 0..len {
            let result = build(&tables, &rsdp, &cell, &mut vec![0; available]);
            assert_eq!(result, Err(AcpiError::NoSpace { available }));
        }
        assert!(build(&tables, &rsdp, &cell, &mut vec![0; len]).is_ok());
    }

    proptest! {
        #[test]
        fn whatever_the_madt_says_only_the_cells_cpus_remain(
            body in prop::collection::vec(0u8..20, 8..400), cpus in prop::collection::vec(0u32..20, 0..4),
            gpa: u64,
        ) {
            let mut machine = Machine::new();
            machine.add(b"APIC", &body);
            let rsdp = machine.xsdt();
            let tables = Tables::open(&machine, &rsdp).unwrap();
            let cell = CellTables { gpa, cpus: &cpus, leave_out: &[] };
            let _: Result<CellAcpi, _> = build(&tables, &rsdp, &cell, &mut [0; 0x800]);
            if let Ok((machine, rsdp)) = build_for(machine, rsdp, &cpus, &[]) {
                let tables = Tables::open(&machine, &rsdp).unwrap();
                let madt = Madt::open(&tables).unwrap();
                let found: Vec<_> = madt.cpus().map(|cpu| cpu.unwrap().apic_id).collect();
                prop_assert_eq!(found, cpus);
            }
        }
    }
}
