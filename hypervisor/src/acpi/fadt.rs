//! The fixed ACPI description table: the registers by which a machine is put to sleep or reset.
//!
//! A cell that may not end the machine must not reach them.
//!
//! ACPI 6.5, "Fixed ACPI Description Table (FADT)", "Generic Address Structure (GAS)".

use super::{AcpiError, PhysMem, Signature, Tables, field, read};

/// Length of the table in ACPI 1.0.
const V1_LEN: u32 = 116;
/// Up to the last field that is read.
const READ_LEN: u32 = 256;

const FLAG_RESET_REG_SUP: u32 = 1 << 10;
const FLAG_HW_REDUCED_ACPI: u32 = 1 << 20;

/// Offsets of fields.
mod offset {
    pub const SCI_INT: usize = 46;
    pub const SMI_CMD: usize = 48;
    pub const PM1A_CNT_BLK: usize = 64;
    pub const PM1B_CNT_BLK: usize = 68;
    pub const PM1_CNT_LEN: usize = 89;
    pub const FLAGS: usize = 112;
    pub const RESET_REG: usize = 116;
    pub const RESET_VALUE: usize = 128;
    pub const X_PM1A_CNT_BLK: usize = 172;
    pub const X_PM1B_CNT_BLK: usize = 184;
    pub const SLEEP_CONTROL_REG: usize = 244;
}

/// Where a register is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GenericAddress {
    /// Address space: 0 memory, 1 I/O ports, 2 PCI configuration space, others in the standard.
    pub space: u8,
    /// Width in bits.
    pub bits: u8,
    /// Address, in I/O space a port.
    pub address: u64,
}

/// How the machine is reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResetRegister {
    /// Where.
    pub register: GenericAddress,
    /// Value to be written.
    pub value: u8,
}

/// What the table says of power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fadt {
    /// PM1a control: a write with bit 13 (SLP_EN) puts the machine to sleep.
    pub pm1a_control: Option<GenericAddress>,
    /// PM1b control: the same.
    pub pm1b_control: Option<GenericAddress>,
    /// Sleep control, on hardware-reduced machines in place of PM1: bit 5 (SLP_EN).
    pub sleep_control: Option<GenericAddress>,
    /// Reset.
    pub reset: Option<ResetRegister>,
    /// Port whose writes cause an SMI.
    pub smi_command: Option<u32>,
    /// Global interrupt of ACPI events.
    pub sci: u16,
    /// There are no PM1 registers.
    pub is_hardware_reduced: bool,
}

impl Fadt {
    /// Finds, checks and reads the table.
    pub fn read<M: PhysMem + ?Sized>(tables: &Tables<'_, M>) -> Result<Self, AcpiError> {
        let table = tables.checked(Signature::FADT, V1_LEN)?;
        let mut bytes = [0; READ_LEN as usize];
        let len = table.len.min(READ_LEN) as usize;
        read(tables.memory, table.address, &mut bytes[..len])?;
        let u32_at = |offset| u32::from_le_bytes(field(&bytes, offset));
        let flags = u32_at(offset::FLAGS);
        let pm1 = |block: usize, x_block: usize| {
            GenericAddress::parse(&bytes, x_block).or_else(|| {
                let bits = bytes[offset::PM1_CNT_LEN].saturating_mul(8);
                let address = u64::from(u32_at(block));
                (address != 0).then_some(GenericAddress {
                    space: 1,
                    bits,
                    address,
                })
            })
        };
        let reset_register = GenericAddress::parse(&bytes, offset::RESET_REG)
            .filter(|_| flags & FLAG_RESET_REG_SUP != 0);
        Ok(Self {
            pm1a_control: pm1(offset::PM1A_CNT_BLK, offset::X_PM1A_CNT_BLK),
            pm1b_control: pm1(offset::PM1B_CNT_BLK, offset::X_PM1B_CNT_BLK),
            sleep_control: GenericAddress::parse(&bytes, offset::SLEEP_CONTROL_REG),
            reset: reset_register.map(|register| ResetRegister {
                register,
                value: bytes[offset::RESET_VALUE],
            }),
            smi_command: Some(u32_at(offset::SMI_CMD)).filter(|&port| port != 0),
            sci: u16::from_le_bytes(field(&bytes, offset::SCI_INT)),
            is_hardware_reduced: flags & FLAG_HW_REDUCED_ACPI != 0,
        })
    }
}

impl GenericAddress {
    /// Returns `None` for address 0: no such register.
    fn parse(table: &[u8], offset: usize) -> Option<Self> {
        let [space, bits]: [u8; 2] = field(table, offset);
        let address = u64::from_le_bytes(field(table, offset + 4));
        (address != 0).then_some(Self {
            space,
            bits,
            address,
        })
    }

    /// Returns the port, if the register is one.
    pub fn port(self) -> Option<u16> {
        if self.space == 1 {
            u16::try_from(self.address).ok()
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Machine;
    use super::*;
    use proptest::prelude::*;

    fn fadt(body: &[u8]) -> Result<Fadt, AcpiError> {
        let mut machine = Machine::new();
        machine.add(b"FACP", body);
        let rsdp = machine.xsdt();
        Fadt::read(&Tables::open(&machine, &rsdp).unwrap())
    }

    /// The fields as Bochs sets them.
    fn bochs() -> Vec<u8> {
        let mut table = vec![0; 116];
        table[46] = 9;
        table[48] = 0xb2;
        table[64..66].copy_from_slice(&0xb004u16.to_le_bytes());
        table[89] = 2;
        table
    }

    #[test]
    fn the_table_of_acpi_1_is_read() {
        let pm1a = GenericAddress {
            space: 1,
            bits: 16,
            address: 0xb004,
        };
        let expected = Fadt {
            pm1a_control: Some(pm1a),
            pm1b_control: None,
            sleep_control: None,
            reset: None,
            smi_command: Some(0xb2),
            sci: 9,
            is_hardware_reduced: false,
        };
        assert_eq!(fadt(&bochs()[36..]), Ok(expected));
        assert_eq!(pm1a.port(), Some(0xb004));
    }

    #[test]
    fn extended_addresses_and_the_reset_register_count_where_they_are() {
        let mut table = bochs();
        table.resize(276, 0);
        table[113] = 4; // RESET_REG_SUP
        table[116..120].copy_from_slice(&[1, 8, 0, 1]);
        table[120..122].copy_from_slice(&0xcf9u16.to_le_bytes());
        table[128] = 6;
        table[172..176].copy_from_slice(&[0, 16, 0, 2]);
        table[176..180].copy_from_slice(&0xfed1_0004u32.to_le_bytes());
        table[244..248].copy_from_slice(&[1, 8, 0, 1]);
        table[248] = 0x40;
        let fadt = fadt(&table[36..]).unwrap();
        let register = GenericAddress {
            space: 1,
            bits: 8,
            address: 0xcf9,
        };
        assert_eq!(fadt.reset, Some(ResetRegister { register, value: 6 }));
        assert_eq!(fadt.pm1a_control.unwrap().address, 0xfed1_0004);
        assert_eq!(fadt.pm1a_control.unwrap().port(), None);
        assert_eq!(fadt.sleep_control.unwrap().port(), Some(0x40));
    }

    #[test]
    fn a_reset_register_without_its_flag_does_not_count() {
        let mut table = bochs();
        table.resize(132, 0);
        table[120] = 0x92;
        assert_eq!(fadt(&table[36..]).unwrap().reset, None);
    }

    #[test]
    fn a_table_too_short_is_refused() {
        let error = AcpiError::Length {
            table: Signature::FADT,
            len: 115,
        };
        assert_eq!(fadt(&bochs()[36..115]), Err(error));
    }

    proptest! {
        #[test]
        fn any_table_is_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..300)) {
            let _: Result<Fadt, _> = fadt(&body);
        }
    }
}
