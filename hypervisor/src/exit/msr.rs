//! RDMSR and WRMSR that the bitmaps intercept.

use bit_field::BitField;
use log::debug;

use super::{Resume, ipi};
use crate::arch::{self, cpuid};
use crate::cell::msr_policy::{self, ReadPolicy, WritePolicy, XSS_ALLOWED};
use crate::cell::{CellFault, CellStop};
use crate::cpu::{self, Vcpu};
use crate::lapic::icr::{IcrWrite, X2APIC_RESERVED_BITS};
use crate::vmx::enter::RCX;

/// IA32_APIC_BASE.BSP, which software cannot change.
const APIC_BASE_BSP: usize = 8;

/// Handles RDMSR.
pub fn read(vcpu: &mut Vcpu) -> Resume {
    let msr = (vcpu.regs.gpr[RCX] & 0xffff_ffff) as u32;
    match msr_policy::read(msr) {
        ReadPolicy::Value(value) => {
            vcpu.regs.set_edx_eax(value);
            Resume::AfterInstruction
        }
        ReadPolicy::GeneralProtection => {
            debug!("cell '{}': RDMSR {msr:#x}: #GP", vcpu.cell.name());
            vcpu.inject_general_protection();
            Resume::AtSame
        }
    }
}

/// Handles WRMSR.
pub fn write(vcpu: &mut Vcpu) -> Result<Resume, CellStop> {
    let msr = (vcpu.regs.gpr[RCX] & 0xffff_ffff) as u32;
    let value = vcpu.regs.edx_eax();
    match msr_policy::write(msr) {
        WritePolicy::Icr if value & X2APIC_RESERVED_BITS != 0 => {
            vcpu.inject_general_protection();
            return Ok(Resume::AtSame);
        }
        WritePolicy::Icr => {
            vcpu.shared.count_icr_exit();
            ipi::send(vcpu, IcrWrite::from_x2apic(value))?;
        }
        WritePolicy::ApicBase => {
            let mut changed = value ^ arch::msr::read(arch::msr::IA32_APIC_BASE);
            changed.set_bit(APIC_BASE_BSP, false);
            if changed != 0 {
                return Err(CellFault::Msr { msr, value }.into());
            }
        }
        WritePolicy::Xss => {
            let supported = u64::from(cpuid::read(0xD, 1).ecx);
            if value & !(XSS_ALLOWED & supported) != 0 {
                vcpu.inject_general_protection();
                return Ok(Resume::AtSame);
            }
            cpu::write_guest_xss(value);
        }
        WritePolicy::Drop => debug!(
            "cell '{}': WRMSR {msr:#x} of {value:#x} dropped",
            vcpu.cell.name()
        ),
        WritePolicy::Stop => return Err(CellFault::Msr { msr, value }.into()),
        WritePolicy::GeneralProtection => {
            debug!(
                "cell '{}': WRMSR {msr:#x} of {value:#x}: #GP",
                vcpu.cell.name()
            );
            vcpu.inject_general_protection();
            return Ok(Resume::AtSame);
        }
    }
    Ok(Resume::AfterInstruction)
}
