// SPDX-License-Identifier: MIT OR Apache-2.0
//! A check that whoever interrupts a program leaves all its registers as they were.
#![expect(unsafe_code, reason = "fills every register there is")]

use core::arch::naked_asm;
use core::mem::offset_of;
use core::sync::atomic::{AtomicU64, Ordering};

/// General registers that are filled: all but RSP.
const GENERAL: usize = 15;
/// Words of the red zone.
const RED_ZONE: usize = 16;

/// What is in the registers, and in the red zone below the stack pointer.
#[repr(C, align(32))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registers {
    /// YMM0 to YMM15.
    ymm: [[u64; 4]; 16],
    /// RAX, RBX, RCX, RDX, RSI, RDI, RBP, R8 to R15.
    general: [u64; GENERAL],
    red_zone: [u64; RED_ZONE],
    /// ST0, a double.
    x87: u64,
    mxcsr: u64,
}

/// Set by whoever interrupts.
static IS_INTERRUPTED: AtomicU64 = AtomicU64::new(0);

/// MXCSR: exceptions masked, rounding toward zero. Not what a handler begins with.
const MXCSR: u64 = 0x7f80;
const PI: u64 = 0x4009_21fb_5444_2d18;

impl Registers {
    /// Returns values that are all different, and others for each `seed`.
    pub fn pattern(seed: u64) -> Self {
        let mut next = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut value = || {
            next = next.wrapping_add(0x0123_4567_89ab_cdef);
            next
        };
        Self {
            ymm: core::array::from_fn(|_| core::array::from_fn(|_| value())),
            general: core::array::from_fn(|_| value()),
            red_zone: core::array::from_fn(|_| value()),
            x87: PI,
            mxcsr: MXCSR,
        }
    }
}

/// Fills the registers with a pattern, spins until [`tell_interrupted`] was called, and returns what is in them then.
pub fn hold(pattern: &Registers) -> Registers {
    let mut found = *pattern;
    found.general = [0; GENERAL];
    IS_INTERRUPTED.store(0, Ordering::Relaxed);
    // SAFETY: both are whole, and it keeps to the calling convention.
    unsafe { spin(pattern, &mut found) };
    found
}

/// Lets [`hold`] return; called by a handler.
pub fn tell_interrupted() {
    IS_INTERRUPTED.store(1, Ordering::Relaxed);
}

/// Spoils registers as a careless handler may.
pub fn spoil() {
    // SAFETY: all that it changes is declared; MXCSR and the x87 stack are as compiled code expects them.
    unsafe {
        core::arch::asm!(
            "vpcmpeqd ymm0, ymm0, ymm0",
            "vmovdqa ymm1, ymm0",
            "vmovdqa ymm7, ymm0",
            "vmovdqa ymm15, ymm0",
            "fninit",
            out("ymm0") _, out("ymm1") _, out("ymm7") _, out("ymm15") _,
            out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
            out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
            options(nostack),
        );
    }
}

/// # Safety
/// The processor has AVX.
#[unsafe(naked)]
unsafe extern "C" fn spin(pattern: *const Registers, found: *mut Registers) {
    naked_asm!(
        "push rbx",
        "push rbp",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "push rsi",
        ".set probe_i, 0",
        ".rept 16",
        "mov rax, [rdi + {red_zone} + 8 * probe_i]",
        "mov [rsp - 8 - 8 * probe_i], rax",
        ".set probe_i, probe_i + 1",
        ".endr",
        "fninit",
        "fldpi",
        "ldmxcsr [rdi + {mxcsr}]",
        ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
        "vmovdqu ymm\\n, [rdi + 32 * \\n]",
        ".endr",
        "mov rax, [rdi + {general}]",
        "mov rbx, [rdi + {general} + 8]",
        "mov rcx, [rdi + {general} + 16]",
        "mov rdx, [rdi + {general} + 24]",
        "mov rsi, [rdi + {general} + 32]",
        "mov rbp, [rdi + {general} + 48]",
        ".irp n, 8, 9, 10, 11, 12, 13, 14, 15",
        "mov r\\n, [rdi + {general} + 8 * (\\n - 1)]",
        ".endr",
        "mov rdi, [rdi + {general} + 40]",
        "2:",
        "pause",
        "cmp qword ptr [rip + {flag}], 0",
        "je 2b",
        // The stack pointer stays: below it is the red zone.
        "xchg rdi, [rsp]",
        "mov [rdi + {general}], rax",
        "mov [rdi + {general} + 8], rbx",
        "mov [rdi + {general} + 16], rcx",
        "mov [rdi + {general} + 24], rdx",
        "mov [rdi + {general} + 32], rsi",
        "mov [rdi + {general} + 48], rbp",
        ".irp n, 8, 9, 10, 11, 12, 13, 14, 15",
        "mov [rdi + {general} + 8 * (\\n - 1)], r\\n",
        ".endr",
        "mov rax, [rsp]",
        "mov [rdi + {general} + 40], rax",
        ".set probe_i, 0",
        ".rept 16",
        "mov rax, [rsp - 8 - 8 * probe_i]",
        "mov [rdi + {red_zone} + 8 * probe_i], rax",
        ".set probe_i, probe_i + 1",
        ".endr",
        ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
        "vmovdqu [rdi + 32 * \\n], ymm\\n",
        ".endr",
        "vzeroupper",
        "stmxcsr [rdi + {mxcsr}]",
        "fstp qword ptr [rdi + {x87}]",
        "push 0x1f80",
        "ldmxcsr [rsp]",
        "add rsp, 16",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbp",
        "pop rbx",
        "ret",
        red_zone = const offset_of!(Registers, red_zone),
        general = const offset_of!(Registers, general),
        mxcsr = const offset_of!(Registers, mxcsr),
        x87 = const offset_of!(Registers, x87),
        flag = sym IS_INTERRUPTED,
    )
}

const _: () = assert!(offset_of!(Registers, ymm) == 0);
