// SPDX-License-Identifier: MIT OR Apache-2.0
//! A task in which no user interrupt may leave a trace: it notices any register, flag or byte of the red zone that
//! changed, and any instruction that was skipped or run twice.

use core::arch::global_asm;

use super::record::Delivery;
use super::task::{CALL_VECTOR, HandlerStack, handler_stack_top};
use super::trap::Frame;

/// With this number it calls when all is as it should be, after some rounds.
pub const INTACT: u64 = 0x1a0;
/// With this one when it is not.
pub const DAMAGED: u64 = 0x1a1;
const ROUNDS: u64 = 256;
/// What lies in registers and red zone.
const PATTERN: u64 = 0x5a5a_1234_a5a5_0001;
/// Bits of RFLAGS that are always so at CPL 3 here: IF and the one that is always 1.
const FLAGS_SET: u64 = 0x202;

unsafe extern "C" {
    fn frame_probe() -> !;
    fn frame_probe_begin();
    fn frame_probe_end();
}

/// The task.
pub extern "C" fn program(_: u64) -> ! {
    // SAFETY: uses registers, which nobody misses, and what is below its stack pointer.
    unsafe { frame_probe() }
}

/// Tells whether the registers of a task that called with [`INTACT`] are what it keeps in them.
pub fn is_intact(frame: &Frame) -> bool {
    let [
        r15,
        r14,
        r13,
        r12,
        r11,
        r10,
        r9,
        r8,
        rbp,
        rdi,
        rsi,
        rdx,
        rcx,
        rbx,
    ] = frame.registers;
    let is_kept = [r15, r14, r13, rbp, rdi, rsi, rdx, rcx, rbx]
        .iter()
        .all(|&register| register == PATTERN);
    is_kept && r8 == r9 && r9 == r10 && r11 == PATTERN && r12 == PATTERN
}

/// Tells whether a frame in the log is what the manual says of one that interrupted the task, whose RSP is `rsp`.
/// (SDM 3A, "User-Interrupt Delivery")
pub fn is_regular(delivery: &Delivery, rsp: u64, number: usize, stack: HandlerStack) -> bool {
    let top = match stack {
        HandlerStack::RedZone => (rsp - 128) & !0xf,
        HandlerStack::Own => handler_stack_top(number),
    };
    let code = (frame_probe_begin as *const ()).addr() as u64
        ..(frame_probe_end as *const ()).addr() as u64;
    delivery.rsp == top - 32
        && delivery.old_rsp == rsp
        && code.contains(&delivery.rip)
        && delivery.rflags & FLAGS_SET == FLAGS_SET
}

/// Returns how far from the task's first instruction a frame's RIP is.
pub fn place(delivery: &Delivery) -> u64 {
    delivery.rip - (frame_probe_begin as *const ()).addr() as u64
}

// R8, R9 and R10 count rounds, each in a place of its own. All other registers and the ends of the red zone hold the
// pattern. Between a comparison and its branch the flags have to survive.
global_asm!(
    ".pushsection .text",
    ".global frame_probe, frame_probe_begin, frame_probe_end",
    "frame_probe:",
    "stui",
    "frame_probe_begin:",
    "mov rax, {pattern}",
    "mov rbx, rax",
    "mov rcx, rax",
    "mov rdx, rax",
    "mov rsi, rax",
    "mov rdi, rax",
    "mov rbp, rax",
    "mov r11, rax",
    "mov r12, rax",
    "mov r13, rax",
    "mov r14, rax",
    "mov r15, rax",
    "mov [rsp - 8], rax",
    "mov [rsp - 64], rax",
    "mov [rsp - 128], rax",
    "2:",
    "xor r8d, r8d",
    "xor r9d, r9d",
    "xor r10d, r10d",
    "3:",
    "inc r8",
    "cmp [rsp - 8], r12",
    "jne 4f",
    "inc r9",
    "cmp [rsp - 128], r13",
    "jne 4f",
    "cmp [rsp - 64], rax",
    "jne 4f",
    "inc r10",
    "cmp r8, r9",
    "jne 4f",
    "cmp r9, r10",
    "jne 4f",
    "cmp rax, r14",
    "jne 4f",
    "cmp r8, {rounds}",
    "jb 3b",
    "mov eax, {intact}",
    "int {call}",
    "mov rax, r15",
    "jmp 2b",
    "4:",
    "mov eax, {damaged}",
    "int {call}",
    "jmp 4b",
    "frame_probe_end:",
    ".popsection",
    pattern = const PATTERN,
    rounds = const ROUNDS,
    intact = const INTACT,
    damaged = const DAMAGED,
    call = const CALL_VECTOR,
);
