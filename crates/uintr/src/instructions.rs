// SPDX-License-Identifier: MIT OR Apache-2.0
//! The user-interrupt instructions, one function each.
//!
//! All of them raise #UD unless the processor has user interrupts and CR4.UINTR is 1. UIRET is not among them: it
//! ends a handler and belongs into the handler's own assembly. None is `nomem`: what must happen before or after
//! a change of UIF, or before a post, may not be moved across it by the compiler.
//!
//! SDM 2, instruction pages.
#![expect(unsafe_code, reason = "executes the user-interrupt instructions")]

use core::arch::asm;

/// Posts through the UITT entry `index`.
///
/// # Safety
/// CR4.UINTR is 1 and SENDUIPI is enabled in IA32_UINTR_TT. The entry `index` of the current UITT, if it is valid,
/// names a UPID: the processor writes there with supervisor privilege.
#[inline(always)]
pub unsafe fn senduipi(index: u64) {
    // SAFETY: writes only the UPID that the caller vouches for. The stores before it must be visible to the
    // receiver; the locked access of the UPID is a full barrier, and `asm!` without `nomem` one for the compiler.
    unsafe { asm!("senduipi {}", in(reg) index, options(nostack, preserves_flags)) };
}

/// Sets UIF: user interrupts are delivered from the next instruction on (in 64-bit mode at CPL 3).
///
/// # Safety
/// CR4.UINTR is 1. At CPL 3 the handler in IA32_UINTR_HANDLER is fit to run between any two instructions that
/// follow.
#[inline(always)]
pub unsafe fn stui() {
    // SAFETY: changes UIF only; the caller vouches for the handler.
    unsafe { asm!("stui", options(nostack, preserves_flags)) };
}

/// Clears UIF: no user interrupt is delivered from the next instruction on.
///
/// # Safety
/// CR4.UINTR is 1.
#[inline(always)]
pub unsafe fn clui() {
    // SAFETY: changes UIF only.
    unsafe { asm!("clui", options(nostack, preserves_flags)) };
}

/// Returns UIF. No MSR holds it: this is the only way to read it.
///
/// # Safety
/// CR4.UINTR is 1.
#[inline(always)]
pub unsafe fn testui() -> bool {
    let uif: u8;
    // SAFETY: TESTUI copies UIF to CF and clears the other status flags.
    unsafe { asm!("testui", "setc {}", out(reg_byte) uif, options(nostack)) };
    uif != 0
}
