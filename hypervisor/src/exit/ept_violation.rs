//! EPT violations: writes of the xAPIC page are emulated, everything else is not the cell's.

use bit_field::BitField;
use cell_config::ApicMode;

use super::{Resume, ipi};
use crate::address::{GuestPhys, PAGE_SIZE};
use crate::arch::apic::{REG_DFR, REG_ICR_HIGH, REG_ICR_LOW, REG_ID, REG_LDR, XAPIC_BASE};
use crate::cell::CellFault;
use crate::cpu::{self, Vcpu};
use crate::lapic::icr::IcrWrite;
use crate::lapic::mmio::{self, AccessKind, CodeSize, Source};
use crate::vmx::enter::RSP;
use crate::vmx::fields;

/// Longest instruction.
const MAX_INSTRUCTION_LEN: usize = 15;

/// Handles an EPT violation. (SDM 3C, "Exit Qualification for EPT Violations")
pub fn handle(vcpu: &mut Vcpu) -> Result<Resume, CellFault> {
    let gpa = GuestPhys(vcpu.vmcs.read(fields::GUEST_PHYSICAL_ADDRESS));
    let qualification = vcpu.vmcs.read(fields::EXIT_QUALIFICATION);
    let is_xapic_page = vcpu.cell.system.machine.apic_mode == ApicMode::Xapic
        && gpa.0 & !(PAGE_SIZE - 1) == XAPIC_BASE;
    if is_xapic_page && qualification.get_bit(1) {
        vcpu.shared.count_xapic_exit();
        return write_xapic(vcpu, (gpa.0 & (PAGE_SIZE - 1)) as u16);
    }
    let access = if qualification.get_bit(1) {
        "write"
    } else if qualification.get_bit(2) {
        "instruction fetch"
    } else {
        "read"
    };
    Err(CellFault::Memory { gpa, access })
}

fn write_xapic(vcpu: &mut Vcpu, offset: u16) -> Result<Resume, CellFault> {
    let rip = vcpu.vmcs.read(fields::GUEST_RIP) as u64;
    let code_size = code_size(vcpu);
    let mut bytes = [0; MAX_INSTRUCTION_LEN];
    let fetched = fetch(vcpu, rip, &mut bytes);
    if fetched == 0 {
        return Err(CellFault::Xapic {
            offset,
            error: None,
        });
    }
    let access =
        mmio::decode(&bytes[..fetched], rip, code_size).map_err(|error| CellFault::Xapic {
            offset,
            error: Some(error),
        })?;
    let register = |index: usize| {
        if index == RSP {
            vcpu.vmcs.read(fields::GUEST_RSP) as u64
        } else {
            vcpu.regs.gpr[index]
        }
    };
    let low = |value: u64| (value & 0xffff_ffff) as u32;
    match access.kind {
        AccessKind::Write {
            source: Source::Register(gpr),
        } => {
            let value = low(register(gpr.index()));
            write_register(vcpu, offset, value)?;
        }
        AccessKind::Write {
            source: Source::Immediate(value),
        } => write_register(vcpu, offset, value)?,
        AccessKind::Exchange { register: gpr } => {
            let value = low(register(gpr.index()));
            let previous = cpu::read_own_apic(offset);
            write_register(vcpu, offset, value)?;
            vcpu.regs.gpr[gpr.index()] = u64::from(previous);
        }
        // A read of the page does not exit, so this is a write that the decoder misread.
        AccessKind::Read { .. } => {
            return Err(CellFault::Xapic {
                offset,
                error: None,
            });
        }
    }
    vcpu.advance_rip(u32::from(access.length));
    Ok(Resume::AtSame)
}

/// Writes an APIC register for the cell. (SDM 3A, "Local APIC Register Address Map")
fn write_register(vcpu: &mut Vcpu, offset: u16, value: u32) -> Result<(), CellFault> {
    match offset {
        REG_ICR_LOW => {
            let high = cpu::read_own_apic(REG_ICR_HIGH);
            return ipi::send(vcpu, IcrWrite::from_xapic(value, high));
        }
        // The ID is the machine's; other CPUs' destinations depend on it.
        REG_ID => return Ok(()),
        REG_LDR => vcpu.shared.set_xapic_ldr(value),
        REG_DFR => vcpu.shared.set_xapic_dfr(value),
        // Registers are 16 bytes apart; between them there is nothing.
        _ if !offset.is_multiple_of(16) => return Ok(()),
        _ => {}
    }
    cpu::write_own_apic(offset, value);
    Ok(())
}

fn code_size(vcpu: &Vcpu) -> CodeSize {
    if vcpu.in_64_bit_mode() {
        CodeSize::Bits64
    } else if vcpu.vmcs.read(fields::GUEST_CS_ACCESS_RIGHTS).get_bit(14) {
        CodeSize::Bits32
    } else {
        CodeSize::Bits16
    }
}

/// Copies the instruction at CS:`rip`; returns how many bytes of it are in the cell's memory.
fn fetch(vcpu: &Vcpu, rip: u64, bytes: &mut [u8; MAX_INSTRUCTION_LEN]) -> usize {
    let linear = rip.wrapping_add(vcpu.vmcs.read(fields::GUEST_CS_BASE) as u64);
    let mut fetched = 0;
    while fetched < bytes.len() {
        let at = linear.wrapping_add(fetched as u64);
        let to_page_end = (PAGE_SIZE - at % PAGE_SIZE) as usize;
        let chunk = to_page_end.min(bytes.len() - fetched);
        let Some(gpa) = vcpu.translate_linear(at) else {
            break;
        };
        if vcpu
            .cell
            .read_memory(gpa, &mut bytes[fetched..fetched + chunk])
            .is_err()
        {
            break;
        }
        fetched += chunk;
    }
    fetched
}
