//! The root system description pointer: where everything starts.
//!
//! On UEFI machines it comes from the boot loader (Multiboot2 tags 14 and 15), on BIOS machines also from a search.
//!
//! ACPI 6.5, "Root System Description Pointer (RSDP)", "Finding the RSDP on IA-PC Systems".

use super::{AcpiError, PhysMem, field, read, read_array, sum};

const SIGNATURE: [u8; 8] = *b"RSD PTR ";
/// Length of revision 0, and of the part that the first checksum covers.
const V1_LEN: usize = 20;
/// Length of revision 2.
pub(super) const V2_LEN: usize = 36;
/// Longest one that is read; later revisions may append fields.
const MAX_LEN: usize = 256;

/// Where the BIOS data area holds the segment of the extended one.
const EBDA_SEGMENT: u64 = 0x40e;
const EBDA_LEN: u64 = 1024;
const BIOS_START: u64 = 0xe_0000;
const BIOS_END: u64 = 0x10_0000;

/// A checked RSDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rsdp {
    /// Who made the tables.
    pub oem_id: [u8; 6],
    /// Physical address of the RSDT, 0 if there is only an XSDT.
    pub rsdt: u32,
    /// Physical address of the XSDT, which takes precedence.
    pub xsdt: Option<u64>,
}

impl Rsdp {
    /// Checks a copy, such as a boot loader hands over. One of revision 2 that is cut off after the fields of
    /// revision 0 leads to the RSDT.
    pub fn parse(bytes: &[u8]) -> Result<Self, AcpiError> {
        let revision = bytes.get(15).copied().unwrap_or(0);
        let bad = AcpiError::BadRsdp { revision };
        let v1 = bytes.get(..V1_LEN).ok_or(bad)?;
        if field(v1, 0) != SIGNATURE || sum(v1) != 0 {
            return Err(bad);
        }
        let mut rsdp = Self {
            oem_id: field(v1, 9),
            rsdt: u32::from_le_bytes(field(v1, 16)),
            xsdt: None,
        };
        if revision >= 2 && bytes.len() >= V2_LEN {
            let len = usize::try_from(u32::from_le_bytes(field(bytes, 20))).map_err(|_| bad)?;
            let whole = bytes
                .get(..len)
                .filter(|whole| whole.len() >= V2_LEN)
                .ok_or(bad)?;
            if sum(whole) != 0 {
                return Err(bad);
            }
            rsdp.xsdt = Some(u64::from_le_bytes(field(whole, 24))).filter(|&xsdt| xsdt != 0);
        }
        if rsdp.rsdt == 0 && rsdp.xsdt.is_none() {
            Err(bad)
        } else {
            Ok(rsdp)
        }
    }

    /// Searches the first KiB of the extended BIOS data area, then the BIOS's own memory.
    pub fn find(memory: &(impl PhysMem + ?Sized)) -> Result<Self, AcpiError> {
        let segment = read_array(memory, EBDA_SEGMENT).map_or(0, u16::from_le_bytes);
        let ebda = u64::from(segment) << 4;
        let ebda_candidates = (ebda..ebda + EBDA_LEN).step_by(16).filter(|_| ebda != 0);
        ebda_candidates
            .chain((BIOS_START..BIOS_END).step_by(16))
            .find_map(|address| Self::read_at(memory, address))
            .ok_or(AcpiError::NoRsdp)
    }

    fn read_at(memory: &(impl PhysMem + ?Sized), address: u64) -> Option<Self> {
        let v1: [u8; V1_LEN] = read_array(memory, address).ok()?;
        if field(&v1, 0) != SIGNATURE {
            return None;
        }
        let mut bytes = [0; MAX_LEN];
        let len = match v1[15] {
            0 | 1 => V1_LEN,
            _ => u32::from_le_bytes(read_array(memory, address + 20).ok()?)
                .try_into()
                .ok()?,
        };
        let whole = bytes.get_mut(..len)?;
        read(memory, address, whole).ok()?;
        Self::parse(whole).ok()
    }

    /// Returns an RSDP of revision 2 that leads to an XSDT only.
    pub(super) fn encode(oem_id: [u8; 6], xsdt: u64) -> [u8; V2_LEN] {
        let mut bytes = [0; V2_LEN];
        bytes[..8].copy_from_slice(&SIGNATURE);
        bytes[9..15].copy_from_slice(&oem_id);
        bytes[15] = 2;
        bytes[20] = V2_LEN as u8;
        bytes[24..32].copy_from_slice(&xsdt.to_le_bytes());
        bytes[8] = 0u8.wrapping_sub(sum(&bytes[..V1_LEN]));
        bytes[32] = 0u8.wrapping_sub(sum(&bytes));
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Machine;
    use super::*;
    use proptest::prelude::*;

    const OEM: [u8; 6] = *b"BOCHS ";

    fn v1(rsdt: u32) -> [u8; V1_LEN] {
        let mut bytes = [0; V1_LEN];
        bytes[..8].copy_from_slice(b"RSD PTR ");
        bytes[9..15].copy_from_slice(&OEM);
        bytes[16..].copy_from_slice(&rsdt.to_le_bytes());
        bytes[8] = 0u8.wrapping_sub(sum(&bytes));
        bytes
    }

    #[test]
    fn both_revisions_are_read() {
        let old = Rsdp {
            oem_id: OEM,
            rsdt: 0x3fff_0000,
            xsdt: None,
        };
        assert_eq!(Rsdp::parse(&v1(0x3fff_0000)), Ok(old));
        let new = Rsdp {
            oem_id: OEM,
            rsdt: 0,
            xsdt: Some(0x1_2345_6780),
        };
        assert_eq!(Rsdp::parse(&Rsdp::encode(OEM, 0x1_2345_6780)), Ok(new));
    }

    #[test]
    fn damage_anywhere_is_found() {
        let good = Rsdp::encode(OEM, 0x1_2345_6780);
        for at in 0..V2_LEN {
            let mut bytes = good;
            bytes[at] ^= 0x10;
            assert!(Rsdp::parse(&bytes).is_err(), "byte {at}");
        }
        assert_eq!(Rsdp::parse(&v1(0)), Err(AcpiError::BadRsdp { revision: 0 }));
        assert_eq!(
            Rsdp::parse(&v1(1)[..19]),
            Err(AcpiError::BadRsdp { revision: 0 })
        );
    }

    #[test]
    fn the_search_finds_it_in_either_place_and_skips_damaged_ones() {
        let mut machine = Machine::new();
        assert_eq!(Rsdp::find(&machine), Err(AcpiError::NoRsdp));
        let mut damaged = v1(0x1000);
        damaged[19] = 9;
        machine.map(0xe_0000, vec![0; 0x2_0000]);
        machine.poke_all(0xe_8000, &damaged);
        machine.poke_all(0xf_ffe8, &v1(0x6666)); // not on a 16-byte boundary
        machine.poke_all(0xf_ffd0, &v1(0x2000));
        assert_eq!(Rsdp::find(&machine).unwrap().rsdt, 0x2000);
        machine.poke_all(0xf_0000, &Rsdp::encode(OEM, 0x3000));
        assert_eq!(Rsdp::find(&machine).unwrap().xsdt, Some(0x3000));
        machine.map(0x400, vec![0; 0x100]);
        machine.poke_all(0x40e, &0x9fc0u16.to_le_bytes());
        machine.map(0x9_fc00, vec![0; 0x400]);
        machine.poke_all(0x9_ffe0, &v1(0x4000));
        assert_eq!(Rsdp::find(&machine).unwrap().rsdt, 0x4000);
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused(
            bytes in prop::collection::vec(any::<u8>(), 0..64), repair: bool, revision: u8,
        ) {
            let mut bytes = bytes;
            if repair && bytes.len() >= V1_LEN {
                bytes[..8].copy_from_slice(b"RSD PTR ");
                bytes[15] = revision;
                bytes[8] = bytes[8].wrapping_sub(sum(&bytes[..V1_LEN]));
            }
            let _: Result<Rsdp, _> = Rsdp::parse(&bytes);
        }
    }
}
