// SPDX-License-Identifier: MIT OR Apache-2.0
//! VMCALL. (docs/interfaces.md, "Hypercalls")

use core::arch::asm;

use hv_abi::hypercall::{CELL_RESTART, CPU_GET_INFO, CPU_STAT_BASE, stat};

/// Returns the VM exits of the CPU with `apic_id`, this one included, or a negative errno. There is a hypervisor.
pub fn vm_exits(apic_id: u32) -> i64 {
    // SAFETY: CPU_GET_INFO returns a number and changes nothing.
    unsafe {
        call(
            CPU_GET_INFO,
            u64::from(apic_id),
            CPU_STAT_BASE + stat::TOTAL,
        )
    }
}

/// Starts the cell anew; returns only if that is refused, with a negative errno.
pub fn restart() -> i64 {
    // SAFETY: if it does not return, nothing of this kernel is left whose memory could matter; if it does, nothing has changed.
    unsafe { call(CELL_RESTART, 0, 0) }
}

/// Calls the hypervisor.
///
/// # Safety
/// The call with these arguments leaves this kernel's memory alone, or what it writes is meant to be written.
unsafe fn call(code: u64, first: u64, second: u64) -> i64 {
    let result: i64;
    // SAFETY: the hypervisor preserves all registers but RAX; the rest is the caller's promise.
    unsafe {
        asm!("vmcall", inlateout("rax") code => result, in("rdi") first, in("rsi") second,
            options(nostack));
    }
    result
}
