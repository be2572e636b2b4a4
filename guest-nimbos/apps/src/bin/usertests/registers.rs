// SPDX-License-Identifier: MIT OR Apache-2.0
//! Registers are a thread's own: kept by calls and while others run.
#![expect(unsafe_code, reason = "fills all registers")]

use core::arch::asm;
use core::arch::x86_64::{__cpuid, __cpuid_count};

use nimbos_apps::system;

use crate::Test;
use crate::check::{Check, child, ensure, status};

/// The tests.
pub const TESTS: &[Test] = &[
    ("registers-across-calls", across_calls),
    ("registers-across-preemption", across_preemption),
    ("sse-across-preemption", sse_across_preemption),
    ("avx-across-preemption", avx_across_preemption),
    ("control-words", control_words),
    ("fork-copies-registers", fork_copies_registers),
];

/// Processes that run at the same time, each with a pattern of its own.
const RIVALS: u64 = 4;
/// How long each looks at its registers.
const MILLISECONDS: i64 = 60;
/// Turns of a loop between two looks at the clock.
const TURNS: u64 = 20_000;

/// Runs `works` with different patterns in several processes at once; each returns whether its registers were kept.
fn rivals(works: fn(u64) -> bool) -> Check {
    let mut children = [0; RIVALS as usize];
    for (number, pid) in (1..).zip(&mut children) {
        *pid = child(move || {
            let pattern = 0x0101_0101_0101_0101 * number;
            let end = system::time_ms() + MILLISECONDS;
            while system::time_ms() < end {
                if !works(pattern) {
                    return 1;
                }
            }
            0
        })?;
    }
    for pid in children {
        ensure(status(pid)? == 0, "a register has changed")?;
    }
    Ok(())
}

/// Makes a call with known values in all registers that it keeps.
fn across_calls() -> Check {
    let mut changed: u64;
    for number in [39_u64, 24, 9999] {
        // SAFETY: the three calls write no memory. RBX and RBP are restored.
        unsafe {
            asm!(
                "push rbx", "push rbp",
                "mov rbx, 0x11", "mov rbp, 0x22", "mov r8, 0x33", "mov r9, 0x44", "mov r10, 0x55",
                "mov r12, 0x66", "mov r13, 0x77", "mov r14, 0x88", "mov r15, 0x99",
                "mov rdi, 0xaa", "mov rsi, 0xbb", "mov rdx, 0xcc",
                "pcmpeqd xmm7, xmm7", "movq xmm8, rdi",
                "syscall",
                "xor rbx, 0x11", "xor rbp, 0x22", "xor r8, 0x33", "xor r9, 0x44", "xor r10, 0x55",
                "xor r12, 0x66", "xor r13, 0x77", "xor r14, 0x88", "xor r15, 0x99",
                "xor rdi, 0xaa", "xor rsi, 0xbb", "xor rdx, 0xcc",
                "or rbx, rbp", "or rbx, r8", "or rbx, r9", "or rbx, r10", "or rbx, r12", "or rbx, r13",
                "or rbx, r14", "or rbx, r15", "or rbx, rdi", "or rbx, rsi", "or rbx, rdx",
                "movq rcx, xmm7", "not rcx", "or rbx, rcx",
                "movq rcx, xmm8", "xor rcx, 0xaa", "or rbx, rcx",
                "mov rax, rbx",
                "pop rbp", "pop rbx",
                inlateout("rax") number => changed,
                out("rcx") _, out("r11") _, out("rdi") _, out("rsi") _, out("rdx") _,
                out("r8") _, out("r9") _, out("r10") _, out("r12") _, out("r13") _, out("r14") _, out("r15") _,
                out("xmm7") _, out("xmm8") _,
            );
        }
        ensure(changed == 0, "a call has changed a register")?;
    }
    Ok(())
}

/// Keeps a pattern in the general registers for a while; the loop counts in RCX. Returns whether all have kept it.
fn general(pattern: u64) -> bool {
    let different: u64;
    // SAFETY: RBX and RBP are restored; the flags are not relied on.
    unsafe {
        asm!(
            "push rbx", "push rbp",
            "mov rbx, rax", "mov rbp, rax", "mov rdx, rax", "mov rsi, rax", "mov rdi, rax",
            "mov r8, rax", "mov r9, rax", "mov r10, rax", "mov r11, rax", "mov r12, rax",
            "mov r13, rax", "mov r14, rax", "mov r15, rax",
            "2:", "dec rcx", "jnz 2b",
            "xor rbx, rax", "xor rbp, rax", "xor rdx, rax", "xor rsi, rax", "xor rdi, rax",
            "xor r8, rax", "xor r9, rax", "xor r10, rax", "xor r11, rax", "xor r12, rax",
            "xor r13, rax", "xor r14, rax", "xor r15, rax",
            "or rbx, rbp", "or rbx, rdx", "or rbx, rsi", "or rbx, rdi", "or rbx, r8", "or rbx, r9",
            "or rbx, r10", "or rbx, r11", "or rbx, r12", "or rbx, r13", "or rbx, r14", "or rbx, r15",
            "or rcx, rbx",
            "pop rbp", "pop rbx",
            inout("rax") pattern => _, inout("rcx") TURNS => different,
            out("rdx") _, out("rsi") _, out("rdi") _, out("r8") _, out("r9") _, out("r10") _, out("r11") _,
            out("r12") _, out("r13") _, out("r14") _, out("r15") _,
        );
    }
    different == 0
}

fn across_preemption() -> Check {
    rivals(general)
}

/// Keeps a pattern in XMM0 to XMM15.
fn sse(pattern: u64) -> bool {
    let same: u64;
    // SAFETY: changes registers only.
    unsafe {
        asm!(
            "movq xmm0, rax", "punpcklqdq xmm0, xmm0",
            "movdqa xmm1, xmm0", "movdqa xmm2, xmm0", "movdqa xmm3, xmm0", "movdqa xmm4, xmm0",
            "movdqa xmm5, xmm0", "movdqa xmm6, xmm0", "movdqa xmm7, xmm0", "movdqa xmm8, xmm0",
            "movdqa xmm9, xmm0", "movdqa xmm10, xmm0", "movdqa xmm11, xmm0", "movdqa xmm12, xmm0",
            "movdqa xmm13, xmm0", "movdqa xmm14, xmm0", "movdqa xmm15, xmm0",
            "2:", "dec rcx", "jnz 2b",
            "pcmpeqd xmm1, xmm0", "pcmpeqd xmm2, xmm0", "pcmpeqd xmm3, xmm0", "pcmpeqd xmm4, xmm0",
            "pcmpeqd xmm5, xmm0", "pcmpeqd xmm6, xmm0", "pcmpeqd xmm7, xmm0", "pcmpeqd xmm8, xmm0",
            "pcmpeqd xmm9, xmm0", "pcmpeqd xmm10, xmm0", "pcmpeqd xmm11, xmm0", "pcmpeqd xmm12, xmm0",
            "pcmpeqd xmm13, xmm0", "pcmpeqd xmm14, xmm0", "pcmpeqd xmm15, xmm0",
            "pand xmm1, xmm2", "pand xmm1, xmm3", "pand xmm1, xmm4", "pand xmm1, xmm5", "pand xmm1, xmm6",
            "pand xmm1, xmm7", "pand xmm1, xmm8", "pand xmm1, xmm9", "pand xmm1, xmm10", "pand xmm1, xmm11",
            "pand xmm1, xmm12", "pand xmm1, xmm13", "pand xmm1, xmm14", "pand xmm1, xmm15",
            "movq xmm2, rax", "punpcklqdq xmm2, xmm2", "pcmpeqd xmm0, xmm2", "pand xmm1, xmm0",
            "pmovmskb ecx, xmm1",
            in("rax") pattern, inout("rcx") TURNS => same,
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _, out("xmm5") _,
            out("xmm6") _, out("xmm7") _, out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
            out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
        );
    }
    same == 0xffff
}

fn sse_across_preemption() -> Check {
    rivals(sse)
}

/// Keeps a pattern in all of YMM0 to YMM15.
fn avx(pattern: u64) -> bool {
    let same: u64;
    // SAFETY: the test has seen that there is AVX; changes registers only.
    unsafe {
        asm!(
            "vmovq xmm0, rax", "vpbroadcastq ymm0, xmm0",
            "vmovdqa ymm1, ymm0", "vmovdqa ymm2, ymm0", "vmovdqa ymm3, ymm0", "vmovdqa ymm4, ymm0",
            "vmovdqa ymm5, ymm0", "vmovdqa ymm6, ymm0", "vmovdqa ymm7, ymm0", "vmovdqa ymm8, ymm0",
            "vmovdqa ymm9, ymm0", "vmovdqa ymm10, ymm0", "vmovdqa ymm11, ymm0", "vmovdqa ymm12, ymm0",
            "vmovdqa ymm13, ymm0", "vmovdqa ymm14, ymm0", "vmovdqa ymm15, ymm0",
            "2:", "dec rcx", "jnz 2b",
            "vpcmpeqd ymm1, ymm1, ymm0", "vpcmpeqd ymm2, ymm2, ymm0", "vpcmpeqd ymm3, ymm3, ymm0",
            "vpcmpeqd ymm4, ymm4, ymm0", "vpcmpeqd ymm5, ymm5, ymm0", "vpcmpeqd ymm6, ymm6, ymm0",
            "vpcmpeqd ymm7, ymm7, ymm0", "vpcmpeqd ymm8, ymm8, ymm0", "vpcmpeqd ymm9, ymm9, ymm0",
            "vpcmpeqd ymm10, ymm10, ymm0", "vpcmpeqd ymm11, ymm11, ymm0", "vpcmpeqd ymm12, ymm12, ymm0",
            "vpcmpeqd ymm13, ymm13, ymm0", "vpcmpeqd ymm14, ymm14, ymm0", "vpcmpeqd ymm15, ymm15, ymm0",
            "vpand ymm1, ymm1, ymm2", "vpand ymm1, ymm1, ymm3", "vpand ymm1, ymm1, ymm4",
            "vpand ymm1, ymm1, ymm5", "vpand ymm1, ymm1, ymm6", "vpand ymm1, ymm1, ymm7",
            "vpand ymm1, ymm1, ymm8", "vpand ymm1, ymm1, ymm9", "vpand ymm1, ymm1, ymm10",
            "vpand ymm1, ymm1, ymm11", "vpand ymm1, ymm1, ymm12", "vpand ymm1, ymm1, ymm13",
            "vpand ymm1, ymm1, ymm14", "vpand ymm1, ymm1, ymm15",
            "vmovq xmm2, rax", "vpbroadcastq ymm2, xmm2", "vpcmpeqd ymm0, ymm0, ymm2", "vpand ymm1, ymm1, ymm0",
            "vpmovmskb ecx, ymm1", "vzeroupper",
            in("rax") pattern, inout("rcx") TURNS => same,
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _, out("xmm5") _,
            out("xmm6") _, out("xmm7") _, out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
            out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
        );
    }
    same == u32::MAX.into()
}

/// The kernel enables whatever the processor has.
fn avx_across_preemption() -> Check {
    const OSXSAVE: u32 = 1 << 27;
    const AVX: u32 = 1 << 28;
    const AVX2: u32 = 1 << 5;
    if __cpuid(1).ecx & AVX == 0 || __cpuid_count(7, 0).ebx & AVX2 == 0 {
        return Ok(());
    }
    ensure(
        __cpuid(1).ecx & OSXSAVE != 0,
        "the kernel has not enabled XSAVE",
    )?;
    let enabled: u32;
    // SAFETY: reads XCR0, which programs may.
    unsafe { asm!("xgetbv", in("ecx") 0, out("eax") enabled, out("edx") _) };
    let offered = __cpuid_count(0xd, 0).eax;
    ensure(enabled == offered, "not all state components are enabled")?;
    rivals(avx)
}

/// MXCSR and the x87 control word are a process's own, and a new program has the usual ones.
fn control_words() -> Check {
    let works = |pattern: u64| {
        let mut mxcsr = 0x1f80_u32 | (pattern as u32 & 3) << 13;
        let mut control = 0x037f_u16 | (pattern as u16 & 3) << 10;
        let (wanted, wanted_control) = (mxcsr, control);
        // SAFETY: changes rounding only, and puts the usual values back.
        unsafe {
            asm!(
                "ldmxcsr [{mxcsr}]", "fldcw [{control}]",
                "2:", "dec {turns}", "jnz 2b",
                "stmxcsr [{mxcsr}]", "fnstcw [{control}]",
                mxcsr = in(reg) &raw mut mxcsr, control = in(reg) &raw mut control,
                turns = inout(reg) TURNS => _,
            );
            asm!("ldmxcsr [{}]", "fninit", in(reg) &raw const USUAL_MXCSR);
        }
        (mxcsr & !0x3f, control) == (wanted, wanted_control)
    };
    rivals(works)
}

static USUAL_MXCSR: u32 = 0x1f80;

fn fork_copies_registers() -> Check {
    let pattern = 0x1122_3344_5566_7788_u64;
    let (result, seen): (i64, u64);
    // SAFETY: forks, with a pattern in XMM9; both sides go on behind it.
    unsafe {
        asm!(
            "movq xmm9, {pattern}", "syscall", "movq {seen}, xmm9",
            pattern = in(reg) pattern, seen = lateout(reg) seen,
            inlateout("rax") 57_i64 => result, out("rcx") _, out("r11") _, out("xmm9") _,
        );
    }
    if result == 0 {
        system::exit(i32::from(seen != pattern));
    }
    ensure(result > 0 && seen == pattern, "the parent's register")?;
    ensure(status(result as i32)? == 0, "the child's register")
}
