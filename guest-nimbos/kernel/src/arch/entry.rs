// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the hypervisor enters: 64-bit mode, identity paging, interrupts disabled, RDI = the boot-information page.
//! (docs/interfaces.md, "Entry of a cell")

use core::arch::naked_asm;

use hv_abi::BootInfo;

use super::cpu;
use super::descriptors::{BOOT_STACKS, KERNEL_STACK_LEN};
use crate::boot::Boot;

/// CR0: EM, TS off; MP, NE on.
const CR0_CLEAR: u64 = 1 << 2 | 1 << 3;
const CR0_SET: u64 = 1 << 1 | 1 << 5;
/// CR4: OSFXSR, OSXMMEXCPT.
const CR4_SET: u64 = 1 << 9 | 1 << 10;

/// The image's entry point. Compiled code uses SSE, so that comes first.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn _start() -> ! {
    naked_asm!(
        "cli",
        "cld",
        "mov rax, cr0",
        "and rax, {cr0_clear}",
        "or rax, {cr0_set}",
        "mov cr0, rax",
        "mov rax, cr4",
        "or rax, {cr4_set}",
        "mov cr4, rax",
        "lea rsp, [rip + {stack} + {stack_len}]",
        "xor ebp, ebp",
        "call {main}",
        "ud2",
        cr0_clear = const !CR0_CLEAR as i32,
        cr0_set = const CR0_SET,
        cr4_set = const CR4_SET,
        stack = sym BOOT_STACKS,
        stack_len = const KERNEL_STACK_LEN,
        main = sym start,
    )
}

/// Goes from the entry to the kernel proper, if the page is what it should be.
extern "C" fn start(page: *const BootInfo) -> ! {
    // SAFETY: the hypervisor passes the address of the page in RDI, inside this cell's memory, and does not change it
    // any more. The kernel neither hands the boot area out nor writes there.
    let info = unsafe { &*page };
    match Boot::new(info) {
        Some(boot) => crate::kernel_main(boot),
        // There is no console to say so.
        None => cpu::halt_forever(),
    }
}
