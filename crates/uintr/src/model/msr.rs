// SPDX-License-Identifier: MIT OR Apache-2.0
//! RDMSR and WRMSR of the six MSRs.
//!
//! CR4.UINTR does not matter here. SDM 3A, "User-Interrupt MSRs".

use super::fault::Fault;
use super::state::{Cpu, UserInterrupts};
use crate::msr::{
    IA32_UINTR_HANDLER, IA32_UINTR_MISC, IA32_UINTR_PD, IA32_UINTR_RR, IA32_UINTR_STACKADJUST,
    IA32_UINTR_TT,
};

/// Bits of UPIDADDR that are 0: a UPID is aligned to 64 bytes.
const PD_RESERVED: u64 = 0x3f;
/// Bits 3:1 of IA32_UINTR_TT.
const TT_RESERVED: u64 = 0xe;
/// Bits 63:40 of IA32_UINTR_MISC.
const MISC_RESERVED: u64 = !0 << 40;

impl UserInterrupts {
    /// Returns the value of IA32_UINTR_MISC: UITTSZ in bits 31:0, UINV in bits 39:32.
    pub fn misc(&self) -> u64 {
        u64::from(self.uinv) << 32 | u64::from(self.uitt_size)
    }

    pub(super) fn set_misc(&mut self, value: u64) {
        self.uitt_size = value as u32;
        self.uinv = (value >> 32) as u8;
    }
}

impl Cpu {
    /// Reads an MSR: #GP(0) above CPL 0 and for MSRs other than the six.
    pub fn rdmsr(&self, msr: u32) -> Result<u64, Fault> {
        self.require_cpl_0()?;
        let user = &self.user;
        match msr {
            IA32_UINTR_RR => Ok(user.uirr),
            IA32_UINTR_HANDLER => Ok(user.handler),
            IA32_UINTR_STACKADJUST => Ok(user.stack_adjust),
            IA32_UINTR_MISC => Ok(user.misc()),
            IA32_UINTR_PD => Ok(user.upid_address),
            IA32_UINTR_TT => Ok(user.tt),
            _ => Err(Fault::GP),
        }
    }

    /// Writes an MSR: #GP(0) above CPL 0, for MSRs other than the six, for reserved bits and for addresses that are
    /// not canonical in the width that CPUID enumerates. A write of UIRR is evaluated at once.
    pub fn wrmsr(&mut self, msr: u32, value: u64) -> Result<(), Fault> {
        self.require_cpl_0()?;
        self.check_msr(msr, value)?;
        let user = &mut self.user;
        match msr {
            IA32_UINTR_RR => user.uirr = value,
            IA32_UINTR_HANDLER => user.handler = value,
            IA32_UINTR_STACKADJUST => user.stack_adjust = value,
            IA32_UINTR_MISC => user.set_misc(value),
            IA32_UINTR_PD => user.upid_address = value,
            IA32_UINTR_TT => user.tt = value,
            _ => return Err(Fault::GP),
        }
        if msr == IA32_UINTR_RR {
            self.recognize();
        }
        Ok(())
    }

    /// Checks a value as WRMSR does, and as XRSTORS does for the field of that MSR.
    pub(super) fn check_msr(&self, msr: u32, value: u64) -> Result<(), Fault> {
        let canonical = self.is_canonical_for_msr(value);
        let acceptable = match msr {
            IA32_UINTR_RR => true,
            IA32_UINTR_HANDLER | IA32_UINTR_STACKADJUST => canonical,
            IA32_UINTR_MISC => value & MISC_RESERVED == 0,
            IA32_UINTR_PD => canonical && value & PD_RESERVED == 0,
            IA32_UINTR_TT => canonical && value & TT_RESERVED == 0,
            _ => false,
        };
        if acceptable { Ok(()) } else { Err(Fault::GP) }
    }
}
