// SPDX-License-Identifier: MIT OR Apache-2.0
//! Why a guest has ended. (SDM 3C, "VM-Exit Information Fields")

use core::fmt;

/// Basic exit reasons. (SDM 3D, "VMX Basic Exit Reasons")
pub mod reason {
    /// Exception or NMI.
    pub const EXCEPTION: u16 = 0;
    /// External interrupt.
    pub const EXTERNAL_INTERRUPT: u16 = 1;
    /// VMCALL.
    pub const VMCALL: u16 = 18;
    /// RDMSR.
    pub const RDMSR: u16 = 31;
    /// WRMSR.
    pub const WRMSR: u16 = 32;
    /// VM-entry failure due to invalid guest state.
    pub const INVALID_GUEST_STATE: u16 = 33;
    /// EPT violation.
    pub const EPT_VIOLATION: u16 = 48;
    /// The preemption timer has run down.
    pub const PREEMPTION_TIMER: u16 = 52;
    /// APIC write.
    pub const APIC_WRITE: u16 = 56;
    /// XSAVES.
    pub const XSAVES: u16 = 63;
    /// XRSTORS.
    pub const XRSTORS: u16 = 64;
}

/// Bits of the exit qualification of an EPT violation. (SDM 3C, "Exit Qualification for EPT Violations")
pub mod ept_violation {
    /// A read.
    pub const READ: u64 = 1 << 0;
    /// A write.
    pub const WRITE: u64 = 1 << 1;
    /// The guest-linear address is valid.
    pub const LINEAR_VALID: u64 = 1 << 7;
    /// The access is that of the linear address, not of a paging structure.
    pub const FINAL: u64 = 1 << 8;
    /// Asynchronous to instruction execution, and no event delivery.
    pub const ASYNCHRONOUS: u64 = 1 << 16;
}

/// Interruption information: valid.
pub const VALID: u32 = 1 << 31;
/// Interruption type of software interrupts.
pub const SOFTWARE_INTERRUPT: u32 = 4 << 8;

/// Returns the interruption information of an external interrupt.
pub fn external_interrupt(vector: u8) -> u32 {
    VALID | u32::from(vector)
}

/// A VM exit, or a VM entry that failed after the guest's state was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Basic reason.
    pub reason: u16,
    /// Whether the VM entry failed.
    pub is_entry_failure: bool,
    /// Qualification.
    pub qualification: u64,
    /// VM-exit interruption information.
    pub interruption: u32,
    /// IDT-vectoring information.
    pub idt_vectoring: u32,
    /// Guest-linear address.
    pub linear: u64,
    /// Guest-physical address.
    pub physical: u64,
    /// RIP of the guest.
    pub rip: u64,
}

impl Exit {
    /// Tells whether it is a VM exit for this reason.
    pub fn is(&self, reason: u16) -> bool {
        self.reason == reason && !self.is_entry_failure
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.is_entry_failure {
            "failed entry"
        } else {
            "exit"
        };
        write!(
            f,
            "{what} {} qualification {:#x} interruption {:#x} IDT-vectoring {:#x} rip={:#x}",
            self.reason, self.qualification, self.interruption, self.idt_vectoring, self.rip
        )?;
        if self.reason == reason::EPT_VIOLATION {
            write!(
                f,
                " linear={:#x} physical={:#x}",
                self.linear, self.physical
            )?;
        }
        Ok(())
    }
}
