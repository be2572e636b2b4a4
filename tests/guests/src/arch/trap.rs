// SPDX-License-Identifier: MIT OR Apache-2.0
//! Interrupts are counted, for each CPU and vector. Exceptions are either wanted ([`super::probe`]) or the end.

use core::arch::global_asm;
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::apic::Apic;
use super::tables::MAX_CPUS;
use super::{SPURIOUS, cpu, probe, task};

const STUB_LEN: usize = 16;
const EXCEPTIONS: u64 = 32;
const NMI: u64 = 2;

static COUNTS: [[AtomicU32; 256]; MAX_CPUS] =
    [const { [const { AtomicU32::new(0) }; 256] }; MAX_CPUS];
static IS_X2APIC: AtomicBool = AtomicBool::new(false);

/// x87, MMX and SSE state as FXSAVE64 leaves it. (SDM 1, "FXSAVE Area")
#[repr(C, align(16))]
#[derive(Clone, Copy)]
pub struct FxState(pub [u8; 512]);

impl fmt::Debug for FxState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FxState")
    }
}

/// Registers of what was interrupted, as the stubs leave them.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// Floating-point state.
    pub fx: FxState,
    /// R15, R14, R13, R12, R11, R10, R9, R8, RBP, RDI, RSI, RDX, RCX, RBX.
    pub registers: [u64; 14],
    /// RAX.
    pub rax: u64,
    /// Vector.
    pub vector: u64,
    /// Error code, 0 where the exception has none.
    pub error_code: u64,
    /// RIP.
    pub rip: u64,
    /// CS.
    pub cs: u64,
    /// RFLAGS.
    pub rflags: u64,
    /// RSP.
    pub rsp: u64,
    /// SS.
    pub ss: u64,
}

/// Says how interrupts are ended.
pub fn set_apic_mode(is_x2apic: bool) {
    IS_X2APIC.store(is_x2apic, Ordering::Relaxed);
}

/// Returns how often a CPU of the cell took an interrupt.
pub fn count(cpu: usize, vector: u8) -> u32 {
    COUNTS[cpu][usize::from(vector)].load(Ordering::SeqCst)
}

/// Returns how many interrupts a CPU of the cell took, of whatever vector.
pub fn count_all(cpu: usize) -> u32 {
    COUNTS[cpu]
        .iter()
        .map(|count| count.load(Ordering::SeqCst))
        .sum()
}

/// Returns the address of the stub for a vector.
pub fn stub_address(vector: usize) -> u64 {
    (trap_stubs as *const ()).addr() as u64 + (vector * STUB_LEN) as u64
}

/// Handles a trap. Called by the stubs, on a stack of the trap's own, interrupts disabled.
extern "C" fn on_trap(frame: &mut Frame) {
    let is_interrupt = frame.vector >= EXCEPTIONS || frame.vector == NMI;
    if !is_interrupt {
        if !task::stop(frame) && !probe::catch(frame) {
            report!("result=FAIL reason=exception frame={frame:x?}");
            cpu::halt_forever();
        }
        return;
    }
    // The gates have 256 vectors.
    COUNTS[cpu::index()][frame.vector as usize & 0xff].fetch_add(1, Ordering::SeqCst);
    let has_no_end = [NMI, u64::from(SPURIOUS), u64::from(task::CALL_VECTOR)];
    if !has_no_end.contains(&frame.vector) {
        Apic::new(IS_X2APIC.load(Ordering::Relaxed)).end_of_interrupt();
    }
    task::stop(frame);
}

unsafe extern "C" {
    /// The stubs of all vectors, [`STUB_LEN`] bytes each.
    fn trap_stubs();
    /// Goes on as the [`Frame`] says to which RSP points; jumped to.
    pub fn trap_return();
}

// A stub leaves the same words for every vector: vector, error code, RIP, CS, RFLAGS, RSP, SS. With the fifteen
// registers below them the stack is aligned for FXSAVE and for the call.
global_asm!(
    ".pushsection .text",
    ".balign 16",
    ".global trap_stubs, trap_return",
    "trap_stubs:",
    ".set trap_vector, 0",
    ".rept 256",
    ".balign {stub_len}",
    ".if trap_vector != 8 && (trap_vector < 10 || trap_vector > 14) && trap_vector != 17 && trap_vector != 21",
    "push 0",
    ".endif",
    "push trap_vector",
    "jmp trap_common",
    ".set trap_vector, trap_vector + 1",
    ".endr",
    "trap_common:",
    "push rax",
    "push rbx",
    "push rcx",
    "push rdx",
    "push rsi",
    "push rdi",
    "push rbp",
    "push r8",
    "push r9",
    "push r10",
    "push r11",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "sub rsp, 512",
    "fxsave64 [rsp]",
    "mov rdi, rsp",
    "cld",
    "call {on_trap}",
    "trap_return:",
    "fxrstor64 [rsp]",
    "add rsp, 512",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop r11",
    "pop r10",
    "pop r9",
    "pop r8",
    "pop rbp",
    "pop rdi",
    "pop rsi",
    "pop rdx",
    "pop rcx",
    "pop rbx",
    "pop rax",
    "add rsp, 16",
    "iretq",
    ".popsection",
    stub_len = const STUB_LEN,
    on_trap = sym on_trap,
);
