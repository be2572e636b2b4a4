// SPDX-License-Identifier: MIT OR Apache-2.0
//! A small virtual machine monitor for the cases about VMX.
//!
//! Its guests are code of the cases in the image's own address space: same page tables, descriptor tables and handlers,
//! with identical extended page tables below. A guest sees the machine's interrupts as the case's controls say; all its
//! exceptions exit, so that nothing of a guest ends in a landing of the host. The host runs with CR4.UINTR and IF clear.
//! State of user interrupts is switched by nobody: guests begin with what the host has left, UINV as the case says.
//!
//! * `regions`: memory that the processor reads by physical address.
//! * `control`: VM-execution, VM-exit and VM-entry controls, checked against the processor's capabilities.
//! * `ept`: extended page tables.
//! * `guest`: a guest, its VMCS, and how it is entered.
//! * `exit`: why a guest has ended.
//!
//! SDM 3C, "Introduction to Virtual Machine Extensions" and after.
#![expect(unsafe_code, reason = "executes VMX instructions")]

pub mod control;
mod entry;
pub mod ept;
pub mod exit;
pub mod guest;
pub mod regions;

use core::sync::atomic::{AtomicBool, Ordering};

use uintr::CR4_UINTR;
use uintr_conformance::Text;
use x86::bits64::vmx;
use x86_64::registers::model_specific::Msr;

use crate::case::Failure;
use crate::machine::cpu::{self, MAX_CPUS};
use control::CapabilityMsr;

const CR4_VMXE: u64 = 1 << 13;
const IA32_FEATURE_CONTROL: u32 = 0x3a;
const FEATURE_CONTROL_LOCK: u64 = 1 << 0;
const FEATURE_CONTROL_VMX: u64 = 1 << 2;
const IA32_VMX_BASIC: u32 = 0x480;
const REVISION: u64 = 0x7fff_ffff;

/// CPUs in VMX operation.
static IS_ON: [AtomicBool; MAX_CPUS] = [const { AtomicBool::new(false) }; MAX_CPUS];

/// Returns why this processor cannot run guests, if that is so.
pub fn obstacle() -> Option<Text> {
    let say = |arguments| Some(Text::new(arguments));
    if !crate::has_vmx() {
        return say(format_args!("the processor has no VMX"));
    }
    // SAFETY: the MSR exists where VMX does.
    let feature_control = unsafe { Msr::new(IA32_FEATURE_CONTROL).read() };
    if feature_control & (FEATURE_CONTROL_LOCK | FEATURE_CONTROL_VMX) == FEATURE_CONTROL_LOCK {
        return say(format_args!("the firmware has switched VMX off"));
    }
    control::missing()
}

/// This CPU in VMX root operation, until this is dropped.
#[derive(Debug)]
pub struct Vmm {
    revision: u64,
}

impl Vmm {
    /// Enters VMX root operation; [`obstacle`] has found nothing. All guest-physical memory is mapped identically, MSR
    /// bitmaps and virtual-APIC page are 0. (SDM 3C, "Enabling and Entering VMX Operation")
    pub fn start() -> Result<Self, Failure> {
        stop();
        for page in regions::ALL {
            regions::clear(page);
        }
        ept::map_all();
        let mut feature_control = Msr::new(IA32_FEATURE_CONTROL);
        let revision = CapabilityMsr::read(IA32_VMX_BASIC) & REVISION;
        let region = &regions::VMXON[cpu::index()];
        region.0[0].store(revision, Ordering::SeqCst);
        // SAFETY: the MSR is unlocked where it must be written; the region is a page of its own with the right revision.
        let result = unsafe {
            if feature_control.read() & FEATURE_CONTROL_LOCK == 0 {
                feature_control.write(FEATURE_CONTROL_LOCK | FEATURE_CONTROL_VMX);
            }
            cpu::set_cr4(CR4_VMXE, true);
            vmx::vmxon(region.address())
        };
        ensure!(
            result.is_ok(),
            "VMXON: expected success, saw it fail with CR4 {:#x}",
            cpu::cr4()
        );
        IS_ON[cpu::index()].store(true, Ordering::SeqCst);
        Ok(Self { revision })
    }

    /// Reads one of the processor's VMX capability MSRs.
    pub fn capability(&self, number: u32) -> u64 {
        CapabilityMsr::read(number)
    }
}

impl Drop for Vmm {
    fn drop(&mut self) {
        stop();
    }
}

/// Leaves VMX operation, if this CPU is in it: also after a case that a trap has ended.
fn stop() {
    if IS_ON[cpu::index()].swap(false, Ordering::SeqCst) {
        // SAFETY: this CPU is in VMX root operation; guests are gone or will not be entered any more.
        let left = unsafe { vmx::vmxoff() };
        assert!(left.is_ok(), "VMXOFF fails outside VMX operation only");
        cpu::set_cr4(CR4_VMXE, false);
        // Each VM exit has cleared it; the cases expect it set.
        cpu::set_cr4(CR4_UINTR, true);
    }
}
