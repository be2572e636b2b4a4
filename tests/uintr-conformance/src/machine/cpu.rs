// SPDX-License-Identifier: MIT OR Apache-2.0
//! This CPU: its index, its time, its control registers.

use core::arch::asm;
use core::arch::x86_64::{__cpuid_count, __rdtscp, _rdtsc, CpuidResult};

use x86_64::registers::control::{Cr0, Cr0Flags, Cr4, Cr4Flags};
use x86_64::registers::model_specific::Msr;

/// Most CPUs that are used.
pub const MAX_CPUS: usize = 4;
/// RFLAGS.AC. Always set at CPL 0, so that the cases may set CR4.SMAP: what user mode can reach is this image's own.
pub const RFLAGS_AC: u64 = 1 << 18;
/// CR4.CET.
pub const CR4_CET: u64 = 1 << 23;
/// RFLAGS.IF.
pub const RFLAGS_IF: u64 = 1 << 9;
/// RFLAGS bit 1, which is always 1.
pub const RFLAGS_ONE: u64 = 1 << 1;

const IA32_TSC_AUX: u32 = 0xc000_0103;

/// Returns the time-stamp counter.
pub fn tsc() -> u64 {
    // SAFETY: RDTSC only reads a counter.
    unsafe { _rdtsc() }
}

/// Waits until `is_done`, at most for `ticks` of the time-stamp counter; returns whether it was in time.
pub fn wait_until(ticks: u64, is_done: impl Fn() -> bool) -> bool {
    let start = tsc();
    while !is_done() {
        if tsc().wrapping_sub(start) >= ticks {
            return false;
        }
        core::hint::spin_loop();
    }
    true
}

/// Waits for `ticks` of the time-stamp counter.
pub fn delay(ticks: u64) {
    wait_until(ticks, || false);
}

/// Returns a CPUID leaf.
pub fn cpuid(leaf: u32, subleaf: u32) -> CpuidResult {
    __cpuid_count(leaf, subleaf)
}

/// Returns how many bits of a linear address the processor has at most. (SDM 2A, "CPUID", leaf 80000008H)
pub fn linear_address_bits() -> u32 {
    cpuid(0x8000_0008, 0).eax >> 8 & 0xff
}

/// Tells whether the processor has UMONITOR, UMWAIT and TPAUSE.
pub fn has_waitpkg() -> bool {
    cpuid(7, 0).ecx & 1 << 5 != 0
}

/// Tells whether the processor has shadow stacks.
pub fn has_shadow_stacks() -> bool {
    cpuid(7, 0).ecx & 1 << 7 != 0
}

/// Tells whether the processor has indirect-branch tracking.
pub fn has_branch_tracking() -> bool {
    cpuid(7, 0).edx & 1 << 20 != 0
}

/// Gives this CPU its index, for [`index`].
pub fn set_index(index: u32) {
    // SAFETY: nothing else uses the register.
    unsafe { Msr::new(IA32_TSC_AUX).write(u64::from(index)) };
}

/// Returns this CPU's index; the first CPU's is 0.
pub fn index() -> usize {
    let mut index = 0;
    // SAFETY: RDTSCP only reads.
    unsafe { __rdtscp(&mut index) };
    // Indices are below MAX_CPUS; the remainder says so to the compiler.
    index as usize % MAX_CPUS
}

/// Sets RFLAGS.AC.
pub fn allow_user_pages() {
    // SAFETY: AC at CPL 0 changes nothing but what SMAP checks.
    unsafe {
        asm!("pushfq", "or dword ptr [rsp], {ac}", "popfq", ac = const RFLAGS_AC);
    }
}

/// Sets or clears bits of CR4 of this CPU. Bits that it does not have raise #GP.
pub fn set_cr4(bits: u64, is_set: bool) {
    let old = Cr4::read_raw();
    let new = if is_set { old | bits } else { old & !bits };
    // SAFETY: the cases change what is checked at CPL 3 or by the user-interrupt instructions; the tables of the image
    // are fit for all of it.
    unsafe { Cr4::write_raw(Cr4Flags::from_bits_retain(new).bits()) };
}

/// Returns CR4.
pub fn cr4() -> u64 {
    Cr4::read_raw()
}

/// Sets or clears CR0.WP of this CPU.
pub fn set_write_protect(is_set: bool) {
    let mut flags = Cr0::read();
    flags.set(Cr0Flags::WRITE_PROTECT, is_set);
    // SAFETY: the image never writes to pages that it has mapped read-only.
    unsafe { Cr0::write(flags) };
}

/// Takes what interrupts are pending for this CPU, and disables interrupts again.
pub fn take_interrupts() {
    // SAFETY: all vectors have gates.
    unsafe { asm!("sti", "nop", "nop", "nop", "cli", options(nostack)) };
}

/// Stops this CPU.
pub fn halt_forever() -> ! {
    loop {
        // SAFETY: with interrupts disabled nothing runs any more.
        unsafe { asm!("cli", "hlt", options(nomem, nostack)) };
    }
}
