// SPDX-License-Identifier: MIT OR Apache-2.0
//! Controls, and whether the processor has them. (SDM 3C, "VM-Execution Control Fields"; SDM 3D, "VMX Capability
//! Reporting Facility")

use uintr_conformance::Text;
use x86::vmx::vmcs::control;
use x86_64::registers::model_specific::Msr;

/// A field of controls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controls {
    /// Pin-based.
    Pin,
    /// Primary processor-based.
    Primary,
    /// Secondary processor-based.
    Secondary,
    /// VM-exit.
    Exit,
    /// VM-entry.
    Entry,
}

/// External-interrupt exiting.
pub const PIN_EXTERNAL_INTERRUPT: u32 = 1 << 0;
/// NMI exiting.
pub const PIN_NMI: u32 = 1 << 3;
/// Activate VMX-preemption timer.
pub const PIN_PREEMPTION_TIMER: u32 = 1 << 6;
/// Process posted interrupts.
pub const PIN_POSTED_INTERRUPTS: u32 = 1 << 7;
/// Activate tertiary controls.
pub const PRIMARY_TERTIARY: u32 = 1 << 17;
/// Use TPR shadow.
pub const PRIMARY_TPR_SHADOW: u32 = 1 << 21;
/// Use MSR bitmaps.
pub const PRIMARY_MSR_BITMAPS: u32 = 1 << 28;
/// Activate secondary controls.
pub const PRIMARY_SECONDARY: u32 = 1 << 31;
/// Virtualize APIC accesses.
pub const SECONDARY_APIC_ACCESSES: u32 = 1 << 0;
/// Enable EPT.
pub const SECONDARY_EPT: u32 = 1 << 1;
/// Enable RDTSCP, by which the image knows its CPU.
pub const SECONDARY_RDTSCP: u32 = 1 << 3;
/// Virtualize x2APIC mode.
pub const SECONDARY_X2APIC: u32 = 1 << 4;
/// Virtual-interrupt delivery.
pub const SECONDARY_VIRTUAL_INTERRUPTS: u32 = 1 << 9;
/// Enable XSAVES/XRSTORS.
pub const SECONDARY_XSAVES: u32 = 1 << 20;
/// Host address-space size.
pub const EXIT_HOST_64: u32 = 1 << 9;
/// Acknowledge interrupt on exit.
pub const EXIT_ACKNOWLEDGE: u32 = 1 << 15;
/// Load IA32_EFER on exit.
pub const EXIT_LOAD_EFER: u32 = 1 << 21;
/// Clear UINV.
pub const EXIT_CLEAR_UINV: u32 = 1 << 27;
/// IA-32e mode guest.
pub const ENTRY_IA32E: u32 = 1 << 9;
/// Load IA32_EFER on entry.
pub const ENTRY_LOAD_EFER: u32 = 1 << 15;
/// Load UINV.
pub const ENTRY_LOAD_UINV: u32 = 1 << 19;
/// IPI virtualization, among the tertiary controls.
pub const TERTIARY_IPI_VIRTUALIZATION: u64 = 1 << 4;

/// What every guest has.
pub const DEFAULT: [(Controls, u32); 5] = [
    (Controls::Pin, PIN_NMI | PIN_PREEMPTION_TIMER),
    (Controls::Primary, PRIMARY_MSR_BITMAPS | PRIMARY_SECONDARY),
    (
        Controls::Secondary,
        SECONDARY_EPT | SECONDARY_RDTSCP | SECONDARY_XSAVES,
    ),
    (Controls::Exit, EXIT_HOST_64 | EXIT_LOAD_EFER),
    (Controls::Entry, ENTRY_IA32E | ENTRY_LOAD_EFER),
];

const IA32_VMX_PROCBASED_CTLS2: u32 = 0x48b;
const IA32_VMX_TRUE_PINBASED_CTLS: u32 = 0x48d;
const IA32_VMX_TRUE_PROCBASED_CTLS: u32 = 0x48e;
const IA32_VMX_TRUE_EXIT_CTLS: u32 = 0x48f;
const IA32_VMX_TRUE_ENTRY_CTLS: u32 = 0x490;
const IA32_VMX_PROCBASED_CTLS3: u32 = 0x492;

impl Controls {
    /// Returns the VMCS field.
    pub fn field(self) -> u32 {
        match self {
            Self::Pin => control::PINBASED_EXEC_CONTROLS,
            Self::Primary => control::PRIMARY_PROCBASED_EXEC_CONTROLS,
            Self::Secondary => control::SECONDARY_PROCBASED_EXEC_CONTROLS,
            Self::Exit => control::VMEXIT_CONTROLS,
            Self::Entry => control::VMENTRY_CONTROLS,
        }
    }

    fn capability(self) -> u64 {
        CapabilityMsr::read(match self {
            Self::Pin => IA32_VMX_TRUE_PINBASED_CTLS,
            Self::Primary => IA32_VMX_TRUE_PROCBASED_CTLS,
            Self::Secondary => IA32_VMX_PROCBASED_CTLS2,
            Self::Exit => IA32_VMX_TRUE_EXIT_CTLS,
            Self::Entry => IA32_VMX_TRUE_ENTRY_CTLS,
        })
    }

    /// Returns the controls that must be 1.
    pub fn required(self) -> u32 {
        self.capability() as u32
    }

    /// Tells whether these controls may all be 1.
    pub fn has(self, bits: u32) -> bool {
        bits & !((self.capability() >> 32) as u32) == 0
    }
}

/// Tells whether the processor has IPI virtualization.
pub fn has_ipi_virtualization() -> bool {
    Controls::Primary.has(PRIMARY_TERTIARY)
        && CapabilityMsr::read(IA32_VMX_PROCBASED_CTLS3) & TERTIARY_IPI_VIRTUALIZATION != 0
}

/// Returns what the processor lacks of what every guest has.
pub fn missing() -> Option<Text> {
    const IA32_VMX_BASIC: u32 = 0x480;
    const TRUE_CONTROLS: u64 = 1 << 55;
    if CapabilityMsr::read(IA32_VMX_BASIC) & TRUE_CONTROLS == 0 {
        return Some(Text::new(format_args!(
            "the processor has no true VMX controls"
        )));
    }
    let (controls, bits) = DEFAULT
        .into_iter()
        .find(|(controls, bits)| !controls.has(*bits))?;
    Some(Text::new(format_args!(
        "the processor has not all of {controls:?} controls {bits:#x}"
    )))
}

/// The VMX capability MSRs, 480H to 492H.
pub struct CapabilityMsr;

impl CapabilityMsr {
    /// Reads one of them, which exists; else the case ends by #GP.
    ///
    /// # Panics
    /// If it is no VMX capability MSR.
    pub fn read(number: u32) -> u64 {
        assert!((0x480..=0x493).contains(&number));
        // SAFETY: reads a capability MSR, which has no effect.
        unsafe { Msr::new(number).read() }
    }
}
