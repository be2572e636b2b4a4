// SPDX-License-Identifier: MIT OR Apache-2.0
//! The instruction that touched emulated registers: fetched, decoded, and its operands.

use bit_field::BitField;

use crate::address::PAGE_SIZE;
use crate::cpu::Vcpu;
use crate::lapic::mmio::{self, Access, CodeSize, DecodeError, Gpr, MAX_INSTRUCTION_LEN, Source};
use crate::vmx::enter::RSP;
use crate::vmx::fields;

/// Decodes the instruction that caused this EPT violation. `None` where that is no data access of an instruction, or
/// the instruction cannot be read.
pub fn decode(vcpu: &Vcpu) -> Result<Access, Option<DecodeError>> {
    if !is_by_instruction(vcpu) {
        return Err(None);
    }
    let rip = vcpu.vmcs.read(fields::GUEST_RIP) as u64;
    let mut bytes = [0; MAX_INSTRUCTION_LEN];
    match fetch(vcpu, rip, &mut bytes) {
        0 => Err(None),
        fetched => mmio::decode(&bytes[..fetched], rip, code_size(vcpu)).map_err(Some),
    }
}

/// Tells whether an instruction accessed its own operand, not the processor a page-table entry or an event's frame: then
/// the bytes at RIP say nothing of the access. (SDM 3C, "Exit Qualification for EPT Violations")
fn is_by_instruction(vcpu: &Vcpu) -> bool {
    const VALID: usize = 31;
    let qualification = vcpu.vmcs.read(fields::EXIT_QUALIFICATION);
    let is_event = vcpu.vmcs.read(fields::IDT_VECTORING_INFO).get_bit(VALID);
    let (is_linear, is_translated) = (qualification.get_bit(7), qualification.get_bit(8));
    is_linear && is_translated && !is_event
}

/// Returns the value of a write.
pub fn source(vcpu: &Vcpu, source: Source) -> u32 {
    match source {
        Source::Register(gpr) => register(vcpu, gpr),
        Source::Immediate(value) => value,
    }
}

/// Returns the low half of a register.
pub fn register(vcpu: &Vcpu, gpr: Gpr) -> u32 {
    let value = if gpr.index() == RSP {
        vcpu.vmcs.read(fields::GUEST_RSP) as u64
    } else {
        vcpu.regs.gpr[gpr.index()]
    };
    (value & 0xffff_ffff) as u32
}

/// Sets the low half of a register and clears the upper one, as any 32-bit operation does in 64-bit mode.
pub fn set_register(vcpu: &mut Vcpu, gpr: Gpr, value: u32) {
    if gpr.index() == RSP {
        vcpu.vmcs.write(fields::GUEST_RSP, value as usize);
    } else {
        vcpu.regs.gpr[gpr.index()] = value.into();
    }
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
