//! Model-specific registers. (SDM 4, "Model-Specific Registers (MSRs)")

use core::arch::asm;

pub use x86::msr::{
    IA32_APIC_BASE, IA32_EFER, IA32_FEATURE_CONTROL, IA32_GS_BASE, IA32_PAT, IA32_SYSENTER_CS,
    IA32_SYSENTER_EIP, IA32_SYSENTER_ESP, IA32_VMX_BASIC, IA32_VMX_CR0_FIXED0, IA32_VMX_CR0_FIXED1,
    IA32_VMX_CR4_FIXED0, IA32_VMX_CR4_FIXED1, IA32_VMX_EPT_VPID_CAP, IA32_VMX_MISC,
    IA32_VMX_PROCBASED_CTLS2, IA32_VMX_TRUE_ENTRY_CTLS, IA32_VMX_TRUE_EXIT_CTLS,
    IA32_VMX_TRUE_PINBASED_CTLS, IA32_VMX_TRUE_PROCBASED_CTLS,
};

/// x2APIC ICR. (SDM 3A, "x2APIC Register Address Space")
pub const X2APIC_ICR: u32 = 0x830;
/// First of the six user-interrupt MSRs, IA32_UINTR_RR. (SDM 3A, "User-Interrupt MSRs")
pub const IA32_UINTR_RR: u32 = 0x985;
/// Last of the six user-interrupt MSRs, IA32_UINTR_TT.
pub const IA32_UINTR_TT: u32 = 0x98A;

/// IA32_XSS. (SDM 1, "Enabling the XSAVE Feature Set and XSAVE-Enabled Features")
pub const IA32_XSS: u32 = 0xDA0;

/// Reads an MSR. One that the processor lacks raises #GP, which the hypervisor's IDT turns into a panic: callers
/// check the capability first.
pub fn read(msr: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: RDMSR has no effect on memory; at CPL 0 it either returns the value or faults.
    unsafe {
        asm!("rdmsr", in("ecx") msr, out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags))
    };
    u64::from(high) << 32 | u64::from(low)
}

/// Writes an MSR.
///
/// # Safety
/// The write must keep the hypervisor's own state (paging, descriptor bases, VMX) valid.
pub unsafe fn write(msr: u32, value: u64) {
    let (low, high) = ((value & 0xffff_ffff) as u32, (value >> 32) as u32);
    // SAFETY: the caller vouches for the effect.
    unsafe {
        asm!("wrmsr", in("ecx") msr, in("eax") low, in("edx") high, options(nostack, preserves_flags))
    };
}
