// SPDX-License-Identifier: MIT OR Apache-2.0
//! User-interrupt state as XSAVES keeps it: state component 14. (SDM 1, "User Interrupt State")

use core::arch::asm;

use uintr::{CR4_UINTR, msr};
use x86_64::registers::control::{Cr4, Cr4Flags};
use x86_64::registers::model_specific::Msr;

const IA32_XSS: u32 = 0xda0;
const COMPONENT: u64 = 1 << 14;
/// XCOMP_BV: the image is compacted.
const COMPACTED: u64 = 1 << 63;
/// In the word with UITTSZ and UINV.
const UIF: u64 = 1 << 63;

/// An XSAVE area that holds this component alone.
#[repr(C, align(64))]
#[derive(Clone, Debug)]
pub struct Area {
    legacy: [u64; 64],
    xstate_bv: u64,
    xcomp_bv: u64,
    reserved: [u64; 6],
    handler: u64,
    stack_adjust: u64,
    misc: u64,
    pd: u64,
    rr: u64,
    tt: u64,
}

impl Area {
    /// Returns an area with values for the MSRs of these names, with no vector pending and UIF clear.
    pub fn new(handler: u64, stack_adjust: u64, misc: u64, pd: u64, tt: u64) -> Self {
        Self {
            legacy: [0; 64],
            xstate_bv: COMPONENT,
            xcomp_bv: COMPACTED | COMPONENT,
            reserved: [0; 6],
            handler,
            stack_adjust,
            misc,
            pd,
            rr: 0,
            tt,
        }
    }

    /// Returns UIRR.
    pub fn requests(&self) -> u64 {
        self.rr
    }

    /// Changes UIRR.
    pub fn set_requests(&mut self, requests: u64) {
        self.rr = requests;
    }

    /// Returns UIF.
    pub fn uif(&self) -> bool {
        self.misc & UIF != 0
    }

    /// Changes UIF.
    pub fn set_uif(&mut self, uif: bool) {
        self.misc = self.misc & !UIF | if uif { UIF } else { 0 };
    }

    /// Makes index 0 the highest that SENDUIPI accepts.
    pub fn cut_uitt(&mut self) {
        self.misc &= !u64::from(u32::MAX);
    }
}

/// Enables user interrupts and, in XSAVES, their state.
pub fn enable() {
    let flags = Cr4Flags::OSXSAVE | Cr4Flags::from_bits_retain(CR4_UINTR);
    // SAFETY: nothing uses XSAVE but this module; UINV and UIF are 0, so that no interrupt is a notification yet.
    unsafe {
        Cr4::write(Cr4::read() | flags);
        Msr::new(IA32_XSS).write(COMPONENT);
    }
}

/// Saves the component; UINV is 0 afterwards.
pub fn save(area: &mut Area) {
    // SAFETY: the area is aligned and large enough, and XSS names the component.
    unsafe {
        asm!("xsaves64 [{area}]", area = in(reg) &raw mut *area,
            in("eax") COMPONENT as u32, in("edx") 0, options(nostack));
    }
}

/// Loads the component, while UINV is 0. The state that it describes takes effect at CPL 3.
///
/// # Safety
/// Handler, UPID and UITT in the area are fit for the code that runs at CPL 3 next.
pub unsafe fn restore(area: &Area) {
    // SAFETY: the area was made by `new` or `save`, so that its header and its reserved bits are right.
    unsafe {
        asm!("xrstors64 [{area}]", area = in(reg) &raw const *area,
            in("eax") COMPONENT as u32, in("edx") 0, options(nostack));
    }
}

/// Loads UINV and UITTSZ beside the component: what a kernel that does not know XSAVES' effect would do.
///
/// # Safety
/// UPID and UITT are those of the code that runs at CPL 3 next.
pub unsafe fn set_misc(uinv: u8, highest_index: u32) {
    // SAFETY: the caller's.
    unsafe { Msr::new(msr::IA32_UINTR_MISC).write(msr::misc(uinv, highest_index)) };
}

/// Clears UIRR, UINV and UIF, so that nothing of a task is left.
pub fn clear() {
    // SAFETY: an image of zeroes enables nothing; UINV is cleared first, as XRSTORS demands.
    unsafe {
        set_misc(0, 0);
        restore(&Area::new(0, 0, 0, 0, 0));
    }
}
