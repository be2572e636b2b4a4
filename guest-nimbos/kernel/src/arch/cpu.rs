// SPDX-License-Identifier: MIT OR Apache-2.0
//! Control registers, features, and waiting.

use core::arch::asm;
use core::arch::x86_64::{__cpuid, __cpuid_count, _rdtsc};

use hv_abi::cpuid::{SIGNATURE, SIGNATURE_LEAF};
use uintr::CPUID_7_0_EDX_UINTR;
use x86_64::registers::control::{Cr0, Cr0Flags, Cr4, Cr4Flags, Efer, EferFlags};

const CPUID_7_0_EBX_SMEP: u32 = 1 << 7;
const CPUID_7_0_EBX_SMAP: u32 = 1 << 20;
const CPUID_1_ECX_TSC_DEADLINE: u32 = 1 << 24;

/// No interrupt came.
const NO_VECTOR: u64 = u64::MAX;

/// What the processor offers, as far as this kernel cares. Asked for once: CPUID is a VM exit.
#[derive(Clone, Copy, Debug)]
pub struct Features {
    /// User interrupts.
    pub has_uintr: bool,
    /// The local APIC's timer has TSC-deadline mode.
    pub has_tsc_deadline: bool,
    /// The hypervisor answers hypercalls.
    pub has_hypervisor: bool,
    has_smep: bool,
    has_smap: bool,
}

impl Features {
    /// Nothing that matters here.
    pub const NONE: Self = Self {
        has_uintr: false,
        has_tsc_deadline: false,
        has_hypervisor: false,
        has_smep: false,
        has_smap: false,
    };

    /// Reads them from CPUID.
    pub fn read() -> Self {
        let (basic, extended) = (__cpuid(1), __cpuid_count(7, 0));
        Self {
            has_uintr: extended.edx & CPUID_7_0_EDX_UINTR != 0,
            has_tsc_deadline: basic.ecx & CPUID_1_ECX_TSC_DEADLINE != 0,
            has_hypervisor: has_hypervisor(),
            has_smep: extended.ebx & CPUID_7_0_EBX_SMEP != 0,
            has_smap: extended.ebx & CPUID_7_0_EBX_SMAP != 0,
        }
    }
}

/// Tells whether this is a cell of the hypervisor. (docs/interfaces.md, "Entry of a cell")
fn has_hypervisor() -> bool {
    let leaf = __cpuid(SIGNATURE_LEAF);
    let words = [leaf.ebx, leaf.ecx, leaf.edx].map(u32::to_le_bytes);
    words.as_flattened() == SIGNATURE
}

/// Lets page tables forbid execution; the kernel's do.
pub fn enable_no_execute() {
    // SAFETY: the bit of page-table entries that this gives a meaning was reserved, so nobody has set it.
    unsafe { Efer::update(|flags| flags.insert(EferFlags::NO_EXECUTE_ENABLE)) };
}

/// Turns on write protection, and forbids the kernel to use user memory.
///
/// # Safety
/// The kernel's own mappings are active: the kernel never writes to what they make read-only, and it reaches a program's
/// memory through them only.
pub unsafe fn enable_protection(features: Features) {
    // SAFETY: the caller vouches for the mappings.
    unsafe {
        Cr0::update(|flags| flags.insert(Cr0Flags::WRITE_PROTECT));
        Cr4::update(|flags| {
            flags.set(
                Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION,
                features.has_smep,
            );
            flags.set(
                Cr4Flags::SUPERVISOR_MODE_ACCESS_PREVENTION,
                features.has_smap,
            );
        });
    }
}

/// Returns the time-stamp counter.
pub fn tsc() -> u64 {
    // SAFETY: RDTSC only reads a counter.
    unsafe { _rdtsc() }
}

/// Waits for an interrupt and returns its vector, with interrupts disabled again. May return without one.
///
/// Whatever became pending before, while interrupts were disabled, ends the wait at once: STI keeps them disabled
/// for one more instruction, so none is taken between the caller's last look and HLT. (SDM 2, "STI")
#[inline(always)]
pub fn wait_for_interrupt() -> Option<u8> {
    let vector: u64;
    // SAFETY: interrupts are enabled for HLT only. The stub of an interrupt runs on a stack of its own, changes no register but
    // RAX and no memory, and returns with interrupts disabled.
    unsafe { asm!("sti", "hlt", "cli", inlateout("rax") NO_VECTOR => vector, options(nostack)) };
    u8::try_from(vector).ok()
}

/// Stops this CPU.
pub fn halt_forever() -> ! {
    loop {
        // SAFETY: with interrupts disabled nothing runs any more.
        unsafe { asm!("cli", "hlt", options(nomem, nostack)) };
    }
}
