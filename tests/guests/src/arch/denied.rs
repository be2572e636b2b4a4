// SPDX-License-Identifier: MIT OR Apache-2.0
//! Instructions that a cell may try in vain; for [`super::probe::raised_by`].

use core::arch::asm;

use x86_64::registers::control::Cr4;
use x86_64::registers::model_specific::Msr;

const CR4_VMXE: u64 = 1 << 13;
const CR4_SMXE: u64 = 1 << 14;
/// An MSR that no processor has.
const UNKNOWN_MSR: u32 = 0x1fff;
const IA32_VMX_BASIC: u32 = 0x480;

/// VMXON, of a page that is not there.
pub extern "C" fn vmxon() {
    let page = 0_u64;
    // SAFETY: raises an exception.
    unsafe { asm!("vmxon [{}]", in(reg) &raw const page, options(nostack)) };
}

/// VMREAD.
pub extern "C" fn vmread() {
    // SAFETY: raises an exception.
    unsafe { asm!("vmread {}, {}", out(reg) _, in(reg) 0_u64, options(nostack)) };
}

/// MOV to CR4 with VMXE.
pub extern "C" fn set_cr4_vmxe() {
    set_cr4(CR4_VMXE);
}

/// MOV to CR4 with SMXE.
pub extern "C" fn set_cr4_smxe() {
    set_cr4(CR4_SMXE);
}

/// RDMSR of an MSR that does not exist.
pub extern "C" fn rdmsr_unknown() {
    // SAFETY: raises an exception.
    unsafe { Msr::new(UNKNOWN_MSR).read() };
}

/// WRMSR of an MSR that does not exist.
pub extern "C" fn wrmsr_unknown() {
    // SAFETY: raises an exception.
    unsafe { Msr::new(UNKNOWN_MSR).write(0) };
}

/// RDMSR of a VMX capability.
pub extern "C" fn rdmsr_vmx_basic() {
    // SAFETY: raises an exception.
    unsafe { Msr::new(IA32_VMX_BASIC).read() };
}

/// VMCALL.
pub extern "C" fn vmcall() {
    super::hypercall::call(0, 0, 0);
}

fn set_cr4(bits: u64) {
    let value = Cr4::read_raw() | bits;
    // SAFETY: raises an exception.
    unsafe { asm!("mov cr4, {}", in(reg) value, options(nostack)) };
}
