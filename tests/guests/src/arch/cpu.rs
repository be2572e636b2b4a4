// SPDX-License-Identifier: MIT OR Apache-2.0
//! Time, interrupts, and waiting.

use core::arch::asm;
use core::arch::x86_64::{__cpuid_count, __rdtscp, _rdtsc, CpuidResult};

use x86_64::instructions::interrupts;
use x86_64::registers::model_specific::Msr;
use x86_64::registers::segmentation::{CS, Segment};

const IA32_TSC_AUX: u32 = 0xc000_0103;

/// Returns the time-stamp counter.
pub fn tsc() -> u64 {
    // SAFETY: RDTSC only reads a counter.
    unsafe { _rdtsc() }
}

/// Waits for `ticks` of the time-stamp counter.
pub fn delay(ticks: u64) {
    let start = tsc();
    while tsc() - start < ticks {
        core::hint::spin_loop();
    }
}

/// Waits until `is_done`, at most for `ticks`; returns whether it was in time.
pub fn wait_until(ticks: u64, is_done: impl Fn() -> bool) -> bool {
    let start = tsc();
    while !is_done() {
        if tsc() - start >= ticks {
            return false;
        }
        core::hint::spin_loop();
    }
    true
}

/// Returns a CPUID leaf.
pub fn cpuid(leaf: u32, subleaf: u32) -> CpuidResult {
    __cpuid_count(leaf, subleaf)
}

/// Gives this CPU its index in the cell, for [`index`].
pub fn set_index(index: u32) {
    // SAFETY: nothing else uses the register.
    unsafe { Msr::new(IA32_TSC_AUX).write(u64::from(index)) };
}

/// Returns this CPU's index in the cell.
pub fn index() -> usize {
    let mut index = 0;
    // SAFETY: RDTSCP only reads.
    unsafe { __rdtscp(&mut index) };
    index as usize
}

/// Lets interrupts come from now on.
pub fn enable_interrupts() {
    interrupts::enable();
}

/// Lets no interrupts come from now on.
pub fn disable_interrupts() {
    interrupts::disable();
}

/// Returns CR8, the task priority class.
pub fn read_cr8() -> u64 {
    let value: u64;
    // SAFETY: no side effect at CPL 0.
    unsafe { asm!("mov {}, cr8", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Sets CR8: interrupts of this class and lower ones wait.
pub fn write_cr8(class: u64) {
    // SAFETY: holds interrupts back at most. Not `nomem`: those that it lets come write memory.
    unsafe { asm!("mov cr8, {}", in(reg) class, options(nostack, preserves_flags)) };
}

/// Waits for one interrupt.
pub fn halt_until_interrupt() {
    interrupts::enable_and_hlt();
}

/// Stops this CPU.
pub fn halt_forever() -> ! {
    let is_user = CS::get_reg().rpl() == x86_64::PrivilegeLevel::Ring3;
    loop {
        if is_user {
            core::hint::spin_loop();
        } else {
            // SAFETY: with interrupts disabled nothing runs any more.
            unsafe { asm!("cli", "hlt", options(nomem, nostack)) };
        }
    }
}
