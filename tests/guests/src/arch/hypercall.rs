// SPDX-License-Identifier: MIT OR Apache-2.0
//! VMCALL. (docs/interfaces.md, "Hypercalls")

use core::arch::asm;

use hv_abi::hypercall::{CPU_GET_INFO, CPU_STAT_BASE, stat};

/// Calls the hypervisor.
pub fn call(code: u64, first: u64, second: u64) -> i64 {
    let result: i64;
    // SAFETY: changes RAX alone, and memory where a test says so.
    unsafe {
        asm!("vmcall", inout("rax") code => result, in("rdi") first, in("rsi") second,
            options(nostack));
    }
    result
}

/// Returns how often the CPU has left the cell; this call is counted too.
pub fn total_exits(apic_id: u32) -> i64 {
    count(apic_id, stat::TOTAL)
}

/// Returns one of the CPU's counters, of [`stat`].
pub fn count(apic_id: u32, class: u64) -> i64 {
    call(CPU_GET_INFO, u64::from(apic_id), CPU_STAT_BASE + class)
}
