//! XSETBV: the cell's XCR0 is the processor's, because the hypervisor uses no state beyond SSE.

use super::Resume;
use crate::arch::cpuid;
use crate::cpu::{self, Vcpu};
use crate::vmx::enter::RCX;

const X87: u64 = 1;
const SSE: u64 = 1 << 1;
const AVX: u64 = 1 << 2;
const MPX: u64 = 0b11 << 3;
const AVX512: u64 = 0b111 << 5;
const AMX: u64 = 0b11 << 17;

/// Handles XSETBV. (SDM 2C, "XSETBV—Set Extended Control Register")
pub fn handle(vcpu: &mut Vcpu) -> Resume {
    let leaf = cpuid::read(0xD, 0);
    let supported = u64::from(leaf.edx) << 32 | u64::from(leaf.eax);
    let value = vcpu.regs.edx_eax();
    if vcpu.cpl() != 0 || vcpu.regs.gpr[RCX] & 0xffff_ffff != 0 || !is_valid_xcr0(value, supported)
    {
        vcpu.inject_general_protection();
        return Resume::AtSame;
    }
    cpu::write_guest_xcr0(value);
    Resume::AfterInstruction
}

/// Tells whether the processor accepts `value`. (SDM 1, "Enabling the XSAVE Feature Set and XSAVE-Enabled Features")
fn is_valid_xcr0(value: u64, supported: u64) -> bool {
    let all_or_none = |group: u64| value & group == 0 || value & group == group;
    value & !supported == 0
        && value & X87 != 0
        && (value & AVX == 0 || value & SSE != 0)
        && (value & AVX512 == 0 || value & AVX != 0)
        && [MPX, AVX512, AMX].into_iter().all(all_or_none)
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_processor_would_refuse_never_reaches_it() {
        let supported = 0x602e7;
        for value in [1, 3, 7, 0xe7, 0x2e7, 0x602e7] {
            assert!(is_valid_xcr0(value, supported), "{value:#x}");
        }
        for value in [
            0,
            2,
            5,
            0x23,
            0xe3,
            0x67,
            0x1f,
            0x20007,
            1 << 63 | 1,
            0x8007,
        ] {
            assert!(!is_valid_xcr0(value, supported), "{value:#x}");
        }
    }
}
