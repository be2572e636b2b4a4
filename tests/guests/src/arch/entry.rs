// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the hypervisor enters: 64-bit mode, identity paging, interrupts disabled, RDI = the boot-information page.
//! (docs/interfaces.md, "Entry of a cell")

use core::arch::naked_asm;

use hv_abi::BootInfo;

use super::cpu;
use super::tables::{KERNEL_STACKS, KernelStack};
use crate::boot::Boot;

/// CR4: OSFXSR, OSXMMEXCPT.
const CR4_SET: u64 = 1 << 9 | 1 << 10;

/// The image's entry point. Compiled code uses SSE, so that comes first.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn _start() -> ! {
    naked_asm!(
        "cli",
        "cld",
        "mov rax, cr4",
        "or rax, {cr4_set}",
        "mov cr4, rax",
        "lea rsp, [rip + {stacks} + {stack_len}]",
        "xor ebp, ebp",
        "call {start}",
        "ud2",
        cr4_set = const CR4_SET,
        stacks = sym KERNEL_STACKS,
        stack_len = const size_of::<KernelStack>(),
        start = sym start,
    )
}

extern "C" fn start(page: *const BootInfo) -> ! {
    // SAFETY: the hypervisor passes the address of the page in RDI, inside this cell's memory, and does not change it
    // any more; this image neither reads nor writes the boot area otherwise.
    let info = unsafe { &*page };
    match Boot::new(info) {
        Some(boot) => crate::cell_main(boot),
        // There is no console to say so.
        None => cpu::halt_forever(),
    }
}
