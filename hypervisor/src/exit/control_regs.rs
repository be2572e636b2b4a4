//! MOV to CR0 and CR4 that touch bits which are not the cell's, and CR8 where SENDUIPI is filtered.

use bit_field::BitField;

use super::Resume;
use crate::arch::control_regs::{CR0_CD, CR0_NE, CR0_NW, CR0_PE, CR0_PG, CR0_WP, CR4_CET};
use crate::cell::CellFault;
use crate::cpu::{self, Vcpu};
use crate::vmx::enter::RSP;
use crate::vmx::fields;

/// Handles a CR access exit. (SDM 3C, "Exit Qualification for Control-Register Accesses")
pub fn handle(vcpu: &mut Vcpu) -> Result<Resume, CellFault> {
    const MOV_TO_CR: usize = 0;
    const MOV_FROM_CR: usize = 1;
    let qualification = vcpu.vmcs.read(fields::EXIT_QUALIFICATION);
    let register = qualification.get_bits(0..4);
    let source = qualification.get_bits(8..12);
    let value = if source == RSP {
        vcpu.vmcs.read(fields::GUEST_RSP) as u64
    } else {
        vcpu.regs.gpr[source]
    };
    match (qualification.get_bits(4..6), register) {
        (MOV_TO_CR, 0) => write_cr0(vcpu, value),
        // Only a change of a denied bit exits: CPUID offers none of them, so that the processor would fault too.
        (MOV_TO_CR, 4) => {
            vcpu.inject_general_protection();
            Ok(Resume::AtSame)
        }
        (MOV_TO_CR, 8) => Ok(write_cr8(vcpu, value)),
        (MOV_FROM_CR, 8) => {
            let value = cpu::read_own_cr8();
            if source == RSP {
                vcpu.vmcs.write(fields::GUEST_RSP, value as usize);
            } else {
                vcpu.regs.gpr[source] = value;
            }
            Ok(Resume::AfterInstruction)
        }
        _ => Err(CellFault::ControlRegister {
            register: register as u8,
            value,
        }),
    }
}

/// CR0.NE is 1 in VMX operation; the cell sees what it wrote. A write that changes paging at the same time would have
/// to be emulated as a mode switch: kernels do not do that.
fn write_cr0(vcpu: &mut Vcpu, value: u64) -> Result<Resume, CellFault> {
    let current = vcpu.vmcs.read(fields::GUEST_CR0) as u64;
    let is_illegal = value & CR0_PG != 0 && value & CR0_PE == 0
        || value & CR0_NW != 0 && value & CR0_CD == 0
        || value & CR0_WP == 0 && vcpu.vmcs.read(fields::GUEST_CR4) as u64 & CR4_CET != 0
        || value >> 32 != 0;
    if is_illegal {
        vcpu.inject_general_protection();
        return Ok(Resume::AtSame);
    }
    if (value ^ current) & (CR0_PG | CR0_PE) != 0 {
        return Err(CellFault::ControlRegister { register: 0, value });
    }
    vcpu.vmcs.write(fields::CR0_READ_SHADOW, value as usize);
    vcpu.vmcs
        .write(fields::GUEST_CR0, (value | CR0_NE) as usize);
    Ok(Resume::AfterInstruction)
}

/// The TPR shadow diverts CR8 from the APIC, which holds the cell's interrupts: the write is made good there.
fn write_cr8(vcpu: &mut Vcpu, value: u64) -> Resume {
    if value > 15 {
        vcpu.inject_general_protection();
        return Resume::AtSame;
    }
    cpu::write_own_cr8(value);
    Resume::AfterInstruction
}
