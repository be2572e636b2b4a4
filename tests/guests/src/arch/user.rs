// SPDX-License-Identifier: MIT OR Apache-2.0
//! User mode: a function of this image is called at CPL 3 and returns to CPL 0 by a software interrupt.
//!
//! I/O privilege is given to it too, so that it can say why it failed. For the first CPU only.

use core::arch::naked_asm;
use core::sync::atomic::AtomicU64;

use super::tables::{KERNEL_DATA, Stack, USER_CODE, USER_DATA};

/// Software interrupt that leaves user mode.
pub const LEAVE_VECTOR: u8 = 0x80;
/// IF, IOPL 3.
const USER_FLAGS: u64 = 0x3202;

static STACK: Stack<{ 64 << 10 }> = Stack::new();
/// RSP at which [`call`] goes on.
static KERNEL_RSP: AtomicU64 = AtomicU64::new(0);

/// Runs `function` at CPL 3 with interrupts enabled.
pub fn run(function: extern "C" fn()) {
    // SAFETY: all memory is mapped for user mode; the stack is used by one call at a time, because there is one CPU
    // that calls, and no function that is called this way calls another so.
    unsafe { call(function, STACK.top()) };
}

#[unsafe(naked)]
unsafe extern "C" fn call(function: extern "C" fn(), stack: u64) {
    naked_asm!(
        "push rbx",
        "push rbp",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "mov [rip + {kernel_rsp}], rsp",
        "lea rax, [rip + 2f]",
        "push {user_data}",
        "push rsi",
        "push {user_flags}",
        "push {user_code}",
        "push rax",
        "iretq",
        "2:",
        "call rdi",
        "int {leave}",
        "ud2",
        kernel_rsp = sym KERNEL_RSP,
        user_data = const USER_DATA,
        user_flags = const USER_FLAGS,
        user_code = const USER_CODE,
        leave = const LEAVE_VECTOR,
    )
}

/// Ends [`call`]. Gate of [`LEAVE_VECTOR`]: at CPL 0, interrupts disabled, on a stack that is given up.
#[unsafe(naked)]
pub unsafe extern "C" fn leave() -> ! {
    naked_asm!(
        "mov eax, {kernel_data}",
        "mov ss, eax",
        "mov rsp, [rip + {kernel_rsp}]",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbp",
        "pop rbx",
        "ret",
        kernel_data = const KERNEL_DATA,
        kernel_rsp = sym KERNEL_RSP,
    )
}
