// SPDX-License-Identifier: MIT OR Apache-2.0
//! Exceptions in the kernel itself. All but one are bugs, and end it with its registers on the console.

use core::arch::naked_asm;

use backtrace::Start;
use x86_64::registers::control::Cr2;

use super::sender;
use crate::backtrace::backtrace_from;
use crate::interrupts;
use crate::panic::{self, begin_report};

/// Goes on after SENDUIPI if that raised the exception: the other side can make it fault, so that is no bug of ours.
/// Hands any other exception in the kernel to [`report`], with all registers behind the seven words.
///
/// # Safety
/// Only [`super::trap`] may go here, on the stack of the exception's gate.
#[unsafe(naked)]
pub unsafe extern "C" fn entry() -> ! {
    naked_asm!(
        "push rax",
        "lea rax, [rip + {post}]",
        "cmp [rsp + 24], rax",
        "jne 2f",
        "lea rax, [rip + {post_refused}]",
        "mov [rsp + 24], rax",
        "pop rax",
        "add rsp, 16",
        "iretq",
        "2:",
        "pop rax",
        "push r15", "push r14", "push r13", "push r12", "push r11", "push r10", "push r9", "push r8",
        "push rbp", "push rdi", "push rsi", "push rdx", "push rcx", "push rbx", "push rax",
        "mov rdi, rsp",
        "and rsp, -16",
        "cld",
        "call {handler}",
        "ud2",
        post = sym sender::post,
        post_refused = sym sender::post_refused,
        handler = sym report,
    )
}

/// What [`entry`] leaves on the stack.
#[repr(C)]
struct KernelFrame {
    /// RAX, RBX, RCX, RDX, RSI, RDI, RBP, R8 to R15.
    registers: [u64; 15],
    vector: u64,
    error_code: u64,
    rip: u64,
    cs: u64,
    rflags: u64,
    rsp: u64,
    ss: u64,
}

/// Ends the kernel: it raised an exception itself.
extern "C" fn report(frame: &KernelFrame) -> ! {
    const NAMES: [&str; 15] = [
        "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "r8", "r9", "r10", "r11", "r12", "r13",
        "r14", "r15",
    ];
    const RBP: usize = 6;
    begin_report();
    for (name, value) in NAMES.iter().zip(frame.registers) {
        say!("{name:>6} {value:016x}");
    }
    say!(
        "   rip {:016x}, rsp {:016x}, cr2 {:016x}",
        frame.rip,
        frame.rsp,
        Cr2::read_raw()
    );
    say!(
        "    cs {:x}, ss {:x}, rflags {:x}",
        frame.cs,
        frame.ss,
        frame.rflags
    );
    say!(
        "panic: {} in the kernel, error code {:#x}",
        interrupts::exception_name(frame.vector as u8),
        frame.error_code
    );
    backtrace_from(Start {
        rip: frame.rip,
        rsp: frame.rsp,
        rbp: frame.registers[RBP],
    });
    panic::end()
}
