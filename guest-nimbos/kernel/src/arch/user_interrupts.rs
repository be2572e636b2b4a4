// SPDX-License-Identifier: MIT OR Apache-2.0
//! The user-interrupt state of this CPU: six MSRs and UIF.
//!
//! While no receiver runs, UINV is 0 and UIRR and UIF are clear: notifications arrive as ordinary interrupts, and nothing is
//! delivered. The other MSRs may keep what they had, because nothing uses it then. All functions want a processor with user
//! interrupts on which [`enable`] was called, and interrupts disabled.
//!
//! SDM 3A, "User Interrupts"; how an operating system switches the state: "User-Interrupt Notification Processing".

use uintr::{Upid, instructions, msr};
use x86_64::registers::control::{Cr4, Cr4Flags};
use x86_64::registers::model_specific::Msr;

use super::uitt;
use crate::interrupts::USER_INTERRUPT;

/// The state with which a receiver runs.
#[derive(Debug)]
pub struct Receiving {
    /// Address of its handler, canonical.
    pub handler: u64,
    /// IA32_UINTR_STACKADJUST, canonical.
    pub stack_adjust: u64,
    /// Its UPID.
    pub upid: &'static Upid,
    /// UIRR.
    pub requests: u64,
    /// UIF.
    pub uif: bool,
}

/// Turns user interrupts on for this CPU, which has them: SENDUIPI by the kernel's table, and no receiver.
pub fn enable() {
    // SAFETY: the MSRs exist. The table's entries are refused or name UPIDs; with UINV = 0 no interrupt is a notification of a
    // user interrupt.
    unsafe {
        set_uinv(0);
        uitt::activate(uitt::KERNEL_TABLE);
        let uintr = Cr4Flags::from_bits_retain(uintr::CR4_UINTR);
        Cr4::update(|flags| flags.insert(uintr));
    }
}

/// Loads a receiver's state; none is loaded. Notifications go into UIRR from now on, as soon as interrupts are enabled.
///
/// # Safety
/// [`enable`] was called, and the thread whose state this is runs next. The addresses are canonical.
pub unsafe fn load(state: &Receiving) {
    let upid = core::ptr::from_ref(state.upid).expose_provenance() as u64;
    // SAFETY: the values are none that WRMSR refuses: the addresses are canonical, says the caller, and UPIDs aligned. The UPID is
    // supervisor memory that every address space maps, so that its processing does not fault; the handler runs at CPL 3 only.
    unsafe {
        Msr::new(msr::IA32_UINTR_HANDLER).write(state.handler);
        Msr::new(msr::IA32_UINTR_STACKADJUST).write(state.stack_adjust);
        Msr::new(msr::IA32_UINTR_PD).write(upid);
        set_uinv(USER_INTERRUPT);
        Msr::new(msr::IA32_UINTR_RR).write(state.requests);
        if state.uif {
            instructions::stui();
        } else {
            instructions::clui();
        }
    }
}

/// Takes the state of the receiver away that was loaded, and returns its UIRR and UIF.
///
/// # Safety
/// [`enable`] was called.
pub unsafe fn unload() -> (u64, bool) {
    // SAFETY: CR4.UINTR is 1; the values are such as at the start.
    unsafe {
        let requests = pending();
        let uif = instructions::testui();
        instructions::clui();
        set_uinv(0);
        Msr::new(msr::IA32_UINTR_RR).write(0);
        (requests, uif)
    }
}

/// Returns UIRR.
///
/// # Safety
/// The processor has user interrupts.
pub unsafe fn pending() -> u64 {
    // SAFETY: the MSR exists, says the caller.
    unsafe { Msr::new(msr::IA32_UINTR_RR).read() }
}

/// Returns UIF.
///
/// # Safety
/// [`enable`] was called.
pub unsafe fn is_delivery_allowed() -> bool {
    // SAFETY: CR4.UINTR is 1.
    unsafe { instructions::testui() }
}

/// Adds user vectors to UIRR, for the receiver that is loaded.
///
/// # Safety
/// The processor has user interrupts.
pub unsafe fn raise(requests: u64) {
    // SAFETY: the MSR exists and takes every value.
    unsafe {
        let mut register = Msr::new(msr::IA32_UINTR_RR);
        let pending = register.read();
        register.write(pending | requests);
    }
}

/// # Safety
/// The processor has user interrupts.
unsafe fn set_uinv(vector: u8) {
    const HIGHEST_INDEX: u32 = uitt::ENTRIES as u32 - 1;
    // SAFETY: the MSR exists, and `misc` sets no reserved bit.
    unsafe { Msr::new(msr::IA32_UINTR_MISC).write(msr::misc(vector, HIGHEST_INDEX)) };
}
