//! Which MSRs a cell may touch.
//!
//! What acts on the cell's own CPU alone passes without an exit. What acts on other CPUs, the hypervisor or the
//! firmware stops the cell when it is written. Everything else answers as on a processor without it: #GP(0).
//!
//! SDM 4, "Model-Specific Registers (MSRs)".

use core::ops::RangeInclusive;

use crate::arch::msr::{IA32_APIC_BASE, IA32_FEATURE_CONTROL, IA32_XSS, X2APIC_ICR};
use crate::vmx::msr_bitmap::{Access, MsrBitmap};

/// Read and written without an exit: state of this CPU alone, switched by the VMCS or not used by the hypervisor.
const PASS: &[RangeInclusive<u32>] = &[
    0x10..=0x10,               // IA32_TIME_STAMP_COUNTER
    0x3B..=0x3B,               // IA32_TSC_ADJUST
    0x48..=0x49,               // IA32_SPEC_CTRL, IA32_PRED_CMD
    0xE1..=0xE1,               // IA32_UMWAIT_CONTROL
    0x10B..=0x10B,             // IA32_FLUSH_CMD
    0x122..=0x122,             // IA32_TSX_CTRL
    0x174..=0x176,             // IA32_SYSENTER_CS, ESP, EIP
    0x1C4..=0x1C5,             // IA32_XFD, IA32_XFD_ERR
    0x1D9..=0x1D9,             // IA32_DEBUGCTL
    0x277..=0x277,             // IA32_PAT
    0x6A0..=0x6A0,             // IA32_U_CET
    0x6A2..=0x6A2,             // IA32_S_CET
    0x6A4..=0x6A8,             // IA32_PL0_SSP to IA32_INTERRUPT_SSP_TABLE_ADDR
    0x6E0..=0x6E1,             // IA32_TSC_DEADLINE, IA32_PKRS
    0x802..=0x83F,             // x2APIC; the ICR is intercepted below
    0x985..=0x98A,             // IA32_UINTR_RR to IA32_UINTR_TT
    0xC000_0080..=0xC000_0084, // IA32_EFER, STAR, LSTAR, CSTAR, FMASK
    0xC000_0100..=0xC000_0103, // FS, GS and kernel GS base, IA32_TSC_AUX
];

/// Read without an exit; writes are dropped, because they would act beyond this CPU or hide from the hypervisor, and
/// kernels write them as a matter of routine.
const READ_ONLY: &[RangeInclusive<u32>] = &[
    0x17..=0x17,   // IA32_PLATFORM_ID
    0x1B..=0x1B,   // IA32_APIC_BASE: the write is checked, not dropped
    0x8B..=0x8B,   // IA32_BIOS_SIGN_ID
    0xCE..=0xCF,   // MSR_PLATFORM_INFO, IA32_CORE_CAPABILITIES
    0xE2..=0xE2,   // MSR_PKG_CST_CONFIG_CONTROL
    0xE7..=0xE8,   // IA32_MPERF, IA32_APERF
    0xFE..=0xFE,   // IA32_MTRRCAP
    0x10A..=0x10A, // IA32_ARCH_CAPABILITIES
    0x179..=0x17A, // IA32_MCG_CAP, IA32_MCG_STATUS
    0x198..=0x199, // IA32_PERF_STATUS, IA32_PERF_CTL
    0x19C..=0x19C, // IA32_THERM_STATUS
    0x1A0..=0x1A0, // IA32_MISC_ENABLE
    0x1FC..=0x1FC, // MSR_POWER_CTL
    0x200..=0x21F, // variable-range MTRRs: EPT gives the memory types
    0x250..=0x250, // IA32_MTRR_FIX64K
    0x258..=0x259, // IA32_MTRR_FIX16K
    0x268..=0x26F, // IA32_MTRR_FIX4K
    0x280..=0x29F, // IA32_MCi_CTL2
    0x2FF..=0x2FF, // IA32_MTRR_DEF_TYPE
    0x400..=0x47F, // machine-check banks
    0xDA0..=0xDA0, // IA32_XSS: the write is checked, not dropped
];

/// Writes stop the cell: they reach beyond its CPUs.
const FOREIGN: &[RangeInclusive<u32>] = &[
    0x3A..=0x3A,   // IA32_FEATURE_CONTROL
    0x79..=0x79,   // IA32_BIOS_UPDT_TRIG
    0x9B..=0x9B,   // IA32_SMM_MONITOR_CTL
    0x9E..=0x9E,   // IA32_SMBASE
    0x1F2..=0x1F3, // IA32_SMRR_PHYSBASE, IA32_SMRR_PHYSMASK
    0x480..=0x493, // VMX capabilities
    0x600..=0x6FF, // debug store and power limits: package or hypervisor memory
    0xC80..=0xC81, // IA32_DEBUG_INTERFACE, IA32_L3_QOS_CFG
    0xC90..=0xD90, // cache allocation masks
];

/// State components that a cell may enable in IA32_XSS: CET user and supervisor state, and user interrupts.
///
/// XRSTORS loads the MSRs of a component past the MSR bitmap. Processor Trace's (bit 8) would write its output to
/// host-physical addresses of the cell's choice; PASID, HDC, LBRs and HWP belong to MSRs that no cell has.
pub const XSS_ALLOWED: u64 = 1 << 11 | 1 << 12 | 1 << 14;

/// What an intercepted write does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WritePolicy {
    /// Interrupt command: checked.
    Icr,
    /// IA32_APIC_BASE: must not change.
    ApicBase,
    /// IA32_XSS: [`XSS_ALLOWED`] only.
    Xss,
    /// Dropped.
    Drop,
    /// Stops the cell.
    Stop,
    /// #GP(0).
    GeneralProtection,
}

/// What an intercepted read does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadPolicy {
    /// Returns this value.
    Value(u64),
    /// #GP(0).
    GeneralProtection,
}

/// Sets the bitmap of a cell.
pub fn fill(bitmap: &mut MsrBitmap) {
    for msr in PASS.iter().cloned().flatten() {
        bitmap.pass(msr, Access::Read);
        bitmap.pass(msr, Access::Write);
    }
    for msr in READ_ONLY.iter().cloned().flatten() {
        bitmap.pass(msr, Access::Read);
    }
    bitmap.intercept(X2APIC_ICR, Access::Write);
}

/// Returns what an intercepted RDMSR does.
pub fn read(msr: u32) -> ReadPolicy {
    match msr {
        // Locked, with VMX off: what CPUID tells the cell.
        IA32_FEATURE_CONTROL => ReadPolicy::Value(1),
        _ => ReadPolicy::GeneralProtection,
    }
}

/// Returns what an intercepted WRMSR does.
pub fn write(msr: u32) -> WritePolicy {
    let is_in = |list: &[RangeInclusive<u32>]| list.iter().any(|range| range.contains(&msr));
    match msr {
        X2APIC_ICR => WritePolicy::Icr,
        IA32_APIC_BASE => WritePolicy::ApicBase,
        IA32_XSS => WritePolicy::Xss,
        _ if is_in(READ_ONLY) => WritePolicy::Drop,
        _ if is_in(FOREIGN) => WritePolicy::Stop,
        _ => WritePolicy::GeneralProtection,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Table;

    #[test]
    fn user_interrupt_msrs_pass_and_the_icr_does_not() {
        let mut page = Table([0; 512]);
        let mut bitmap = MsrBitmap::intercept_all(&mut page);
        fill(&mut bitmap);
        for msr in 0x985..=0x98A {
            assert!(
                !bitmap.intercepts(msr, Access::Read) && !bitmap.intercepts(msr, Access::Write)
            );
        }
        assert!(bitmap.intercepts(X2APIC_ICR, Access::Write));
        assert!(!bitmap.intercepts(0x80B, Access::Write), "EOI exits");
        assert!(!bitmap.intercepts(0x6E0, Access::Write), "the timer exits");
    }

    #[test]
    fn what_stops_a_cell_is_intercepted() {
        let mut page = Table([0; 512]);
        let mut bitmap = MsrBitmap::intercept_all(&mut page);
        fill(&mut bitmap);
        for msr in FOREIGN
            .iter()
            .cloned()
            .flatten()
            .filter(|msr| !(0x6A0..=0x6E1).contains(msr))
        {
            assert!(bitmap.intercepts(msr, Access::Write), "{msr:#x}");
            assert_eq!(write(msr), WritePolicy::Stop, "{msr:#x}");
        }
    }

    #[test]
    fn supervisor_states_are_checked_when_they_are_enabled() {
        let mut page = Table([0; 512]);
        let mut bitmap = MsrBitmap::intercept_all(&mut page);
        fill(&mut bitmap);
        assert!(bitmap.intercepts(IA32_XSS, Access::Write));
        assert_eq!(write(IA32_XSS), WritePolicy::Xss);
        const PROCESSOR_TRACE: u64 = 1 << 8;
        assert_eq!(XSS_ALLOWED & PROCESSOR_TRACE, 0);
    }

    #[test]
    fn an_unknown_msr_answers_like_one_that_the_processor_lacks() {
        for msr in [0x2, 0x1fff, 0x4b56_4d00, 0xC001_1029, u32::MAX] {
            assert_eq!(read(msr), ReadPolicy::GeneralProtection);
            assert_eq!(write(msr), WritePolicy::GeneralProtection);
        }
    }
}
