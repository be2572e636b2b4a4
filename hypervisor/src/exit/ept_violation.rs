//! EPT violations: writes of the xAPIC page are emulated, everything else is not the cell's.

use bit_field::BitField;
use cell_config::{ApicMode, Devices};

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
        let offset = (gpa.0 & (PAGE_SIZE - 1)) as u16;
        if !is_by_instruction(vcpu, qualification) {
            return Err(CellFault::Xapic {
                offset,
                error: None,
            });
        }
        return write_xapic(vcpu, offset);
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

/// Tells whether an instruction wrote its own operand, not the processor a page-table entry or an event's frame: then
/// the bytes at RIP say nothing of the write.
fn is_by_instruction(vcpu: &Vcpu, qualification: usize) -> bool {
    const VALID: usize = 31;
    let is_event = vcpu.vmcs.read(fields::IDT_VECTORING_INFO).get_bit(VALID);
    let (is_linear, is_translated) = (qualification.get_bit(7), qualification.get_bit(8));
    is_linear && is_translated && !is_event
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
        REG_LDR | REG_DFR => {
            if offset == REG_LDR {
                vcpu.shared.set_xapic_ldr(value);
            } else {
                vcpu.shared.set_xapic_dfr(value);
            }
            // The cell's own commands go by what is remembered. In the APIC, a logical ID would draw interrupts of
            // the I/O APIC that are meant for others' CPUs.
            if vcpu.cell.config.devices != Devices::Rest {
                return Ok(());
            }
        }
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
