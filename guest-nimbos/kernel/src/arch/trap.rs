// SPDX-License-Identifier: MIT OR Apache-2.0
//! Into user mode and back.
//!
//! [`enter_user`] runs a program until something happens and *returns* what it was: a system call, an exception or an
//! interrupt. So the kernel has one flow of control, and no handler runs beside it. In the kernel itself only two things
//! can happen: an interrupt that ends [`super::cpu::wait_for_interrupt`], and an exception, which is a bug of ours.
//!
//! # Invariants
//! 1. The program's registers are all in its [`UserContext`] whenever kernel code runs, XMM registers included.
//! 2. Interrupts are disabled in kernel code but for the HLT of `wait_for_interrupt`.
//!
//! One CPU: the three statics below are this CPU's.

use core::arch::{global_asm, naked_asm};
use core::mem::offset_of;
use core::sync::atomic::AtomicU64;

use x86_64::registers::control::Cr2;

use super::cpu::IDLE_VECTOR;
use super::descriptors::{USER_CODE, USER_DATA};
use super::kernel_exception;

/// `event` after a system call; below are vectors.
const SYSTEM_CALL: u64 = 0x100;
/// Vectors below are exceptions.
const EXCEPTIONS: u64 = 32;
const PAGE_FAULT: u64 = 14;
const STUB_LEN: usize = 16;

/// MXCSR of kernel code and of new programs: all exceptions masked, round to nearest.
static DEFAULT_MXCSR: u32 = 0x1f80;
const DEFAULT_X87_CONTROL: u16 = 0x37f;

/// RFLAGS that a program may have set: CF, PF, AF, ZF, SF, TF, DF, OF, AC, ID.
const USER_FLAGS: u64 = 0x24_0dd5;
/// RFLAGS that are always set in user mode: IF and the fixed bit.
const FIXED_USER_FLAGS: u64 = 1 << 9 | 1 << 1;

/// RFLAGS of kernel code: an interrupt gate leaves the program's DF and AC, and with AC set SMAP does not protect.
const KERNEL_FLAGS: u64 = 1 << 1;

/// RSP at which [`enter_user`] goes on after a trap.
static KERNEL_RSP: AtomicU64 = AtomicU64::new(0);
/// Address of the context of the program that runs.
static USER_CONTEXT: AtomicU64 = AtomicU64::new(0);
/// RSP of the program while SYSCALL's entry needs the register.
static SYSCALL_RSP: AtomicU64 = AtomicU64::new(0);

/// Registers of a program, and what ended its last stay in user mode.
#[repr(C, align(16))]
#[derive(Clone, Debug)]
pub struct UserContext {
    /// FXSAVE image: x87, XMM0-15, MXCSR.
    fx: [u8; 512],
    rax: u64,
    rbx: u64,
    rcx: u64,
    rdx: u64,
    rsi: u64,
    rdi: u64,
    rbp: u64,
    r8: u64,
    r9: u64,
    r10: u64,
    r11: u64,
    r12: u64,
    r13: u64,
    r14: u64,
    r15: u64,
    rip: u64,
    rsp: u64,
    rflags: u64,
    event: u64,
    error_code: u64,
}

/// Why a program left user mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trap {
    /// SYSCALL: number and first three arguments.
    SystemCall {
        /// RAX.
        number: u64,
        /// RDI, RSI, RDX.
        arguments: [u64; 3],
    },
    /// An interrupt; the local APIC still has it in service.
    Interrupt {
        /// Its vector.
        vector: u8,
    },
    /// A processor exception.
    Exception(Exception),
}

/// A processor exception in a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exception {
    /// Its vector.
    pub vector: u8,
    /// Error code, 0 where the exception has none.
    pub error_code: u64,
    /// Instruction that raised it.
    pub rip: u64,
    /// Stack pointer there.
    pub rsp: u64,
    /// Address that was accessed, for a page fault.
    pub address: Option<u64>,
}

impl UserContext {
    /// Returns the registers with which a program starts.
    pub fn new(rip: u64, rsp: u64) -> Self {
        let mut fx = [0; 512];
        fx[..2].copy_from_slice(&DEFAULT_X87_CONTROL.to_le_bytes());
        fx[24..28].copy_from_slice(&DEFAULT_MXCSR.to_le_bytes());
        Self {
            fx,
            rax: 0,
            rbx: 0,
            rcx: 0,
            rdx: 0,
            rsi: 0,
            rdi: 0,
            rbp: 0,
            r8: 0,
            r9: 0,
            r10: 0,
            r11: 0,
            r12: 0,
            r13: 0,
            r14: 0,
            r15: 0,
            rip,
            rsp,
            rflags: 0,
            event: 0,
            error_code: 0,
        }
    }

    /// Returns RBP.
    pub fn frame_pointer(&self) -> u64 {
        self.rbp
    }

    /// Returns all general registers with their names.
    pub fn named_registers(&self) -> [(&'static str, u64); 16] {
        [
            ("rax", self.rax),
            ("rbx", self.rbx),
            ("rcx", self.rcx),
            ("rdx", self.rdx),
            ("rsi", self.rsi),
            ("rdi", self.rdi),
            ("rbp", self.rbp),
            ("r8", self.r8),
            ("r9", self.r9),
            ("r10", self.r10),
            ("r11", self.r11),
            ("r12", self.r12),
            ("r13", self.r13),
            ("r14", self.r14),
            ("r15", self.r15),
            ("rflags", self.rflags),
        ]
    }

    /// Returns the address of the next instruction.
    pub fn rip(&self) -> u64 {
        self.rip
    }

    /// Sets what the system call returns.
    pub fn set_result(&mut self, result: i64) {
        self.rax = result as u64;
    }

    /// Runs the program until the next trap.
    ///
    /// # Safety
    /// The address space in CR3 is the program's, maps the kernel, and gives user mode nothing that is not the
    /// program's. RIP lies in user space: SYSRET and IRET to a non-canonical address would fault in the kernel.
    pub unsafe fn run(&mut self) -> Trap {
        self.rflags = self.rflags & USER_FLAGS | FIXED_USER_FLAGS;
        // SAFETY: the caller vouches for address space and RIP; selectors and flags are user mode's.
        unsafe { enter_user(self) };
        match self.event {
            SYSTEM_CALL => Trap::SystemCall {
                number: self.rax,
                arguments: [self.rdi, self.rsi, self.rdx],
            },
            vector @ EXCEPTIONS.. => Trap::Interrupt {
                vector: vector as u8,
            },
            vector => Trap::Exception(Exception {
                vector: vector as u8,
                error_code: self.error_code,
                rip: self.rip,
                rsp: self.rsp,
                address: (vector == PAGE_FAULT).then(Cr2::read_raw),
            }),
        }
    }
}

/// Returns the address of the stub for a vector.
pub fn stub_address(vector: usize) -> u64 {
    (trap_stubs as *const ()).addr() as u64 + (vector * STUB_LEN) as u64
}

/// Returns the address that SYSCALL goes to.
pub fn syscall_address() -> u64 {
    (syscall_entry as *const ()).addr() as u64
}

unsafe extern "C" {
    /// The stubs of all vectors, [`STUB_LEN`] bytes each.
    fn trap_stubs();
}

// A stub leaves the same seven words for every vector: vector, error code, RIP, CS, RFLAGS, RSP, SS.
global_asm!(
    ".pushsection .text",
    ".balign 16",
    ".global trap_stubs",
    "trap_stubs:",
    ".set trap_vector, 0",
    ".rept 256",
    ".balign 16",
    ".if (trap_vector != 8) && (trap_vector != 10) && (trap_vector != 11) && (trap_vector != 12) && (trap_vector != 13) && (trap_vector != 14) && (trap_vector != 17) && (trap_vector != 21) && (trap_vector != 29) && (trap_vector != 30)",
    "push 0",
    ".endif",
    "push trap_vector",
    "jmp {common}",
    ".set trap_vector, trap_vector + 1",
    ".endr",
    ".popsection",
    common = sym trap_common,
);

/// Saves what its caller relies on, and goes to user mode with the registers of `context`; [`save_and_return`] comes back.
///
/// # Safety
/// As for [`UserContext::run`].
#[unsafe(naked)]
unsafe extern "C" fn enter_user(context: *mut UserContext) {
    naked_asm!(
        "push rbx",
        "push rbp",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "mov [rip + {kernel_rsp}], rsp",
        "mov [rip + {user_context}], rdi",
        "fxrstor64 [rdi + {fx}]",
        "jmp {resume}",
        kernel_rsp = sym KERNEL_RSP,
        user_context = sym USER_CONTEXT,
        fx = const offset_of!(UserContext, fx),
        resume = sym resume,
    )
}

/// Loads the registers of the context at RDI and goes to user mode. After a system call SYSRET is enough: the program
/// expects RCX and R11 to be lost.
#[unsafe(naked)]
unsafe extern "C" fn resume() -> ! {
    naked_asm!(
        "mov rax, [rdi + {rax}]",
        "mov rbx, [rdi + {rbx}]",
        "mov rdx, [rdi + {rdx}]",
        "mov rsi, [rdi + {rsi}]",
        "mov rbp, [rdi + {rbp}]",
        "mov r8, [rdi + {r8}]",
        "mov r9, [rdi + {r9}]",
        "mov r10, [rdi + {r10}]",
        "mov r12, [rdi + {r12}]",
        "mov r13, [rdi + {r13}]",
        "mov r14, [rdi + {r14}]",
        "mov r15, [rdi + {r15}]",
        "cmp qword ptr [rdi + {event}], {system_call}",
        "jne {by_iret}",
        "mov rcx, [rdi + {rip}]",
        "mov r11, [rdi + {rflags}]",
        "mov rsp, [rdi + {rsp}]",
        "mov rdi, [rdi + {rdi}]",
        "sysretq",
        by_iret = sym resume_by_iret,
        system_call = const SYSTEM_CALL,
        rax = const offset_of!(UserContext, rax),
        rbx = const offset_of!(UserContext, rbx),
        rdx = const offset_of!(UserContext, rdx),
        rsi = const offset_of!(UserContext, rsi),
        rdi = const offset_of!(UserContext, rdi),
        rbp = const offset_of!(UserContext, rbp),
        r8 = const offset_of!(UserContext, r8),
        r9 = const offset_of!(UserContext, r9),
        r10 = const offset_of!(UserContext, r10),
        r12 = const offset_of!(UserContext, r12),
        r13 = const offset_of!(UserContext, r13),
        r14 = const offset_of!(UserContext, r14),
        r15 = const offset_of!(UserContext, r15),
        rip = const offset_of!(UserContext, rip),
        rsp = const offset_of!(UserContext, rsp),
        rflags = const offset_of!(UserContext, rflags),
        event = const offset_of!(UserContext, event),
    )
}

/// Loads what [`resume`] has left, and goes to user mode with all registers as they were.
#[unsafe(naked)]
unsafe extern "C" fn resume_by_iret() -> ! {
    naked_asm!(
        "push {user_data}",
        "push [rdi + {rsp}]",
        "push [rdi + {rflags}]",
        "push {user_code}",
        "push [rdi + {rip}]",
        "mov rcx, [rdi + {rcx}]",
        "mov r11, [rdi + {r11}]",
        "mov rdi, [rdi + {rdi}]",
        "iretq",
        user_data = const USER_DATA,
        user_code = const USER_CODE,
        rcx = const offset_of!(UserContext, rcx),
        rdi = const offset_of!(UserContext, rdi),
        r11 = const offset_of!(UserContext, r11),
        rip = const offset_of!(UserContext, rip),
        rsp = const offset_of!(UserContext, rsp),
        rflags = const offset_of!(UserContext, rflags),
    )
}

/// Where SYSCALL goes: RCX = RIP, R11 = RFLAGS, still the program's stack, interrupts disabled by SFMASK. RSP serves as
/// the pointer to the context; nothing can use it as a stack meanwhile, because every gate has a stack of its own.
#[unsafe(naked)]
unsafe extern "C" fn syscall_entry() -> ! {
    naked_asm!(
        "mov [rip + {syscall_rsp}], rsp",
        "mov rsp, [rip + {user_context}]",
        "mov [rsp + {rax}], rax",
        "mov [rsp + {rcx}], rcx",
        "mov [rsp + {rip}], rcx",
        "mov [rsp + {rflags}], r11",
        "mov rax, [rip + {syscall_rsp}]",
        "mov [rsp + {user_rsp}], rax",
        "mov qword ptr [rsp + {event}], {system_call}",
        "mov rax, rsp",
        "jmp {save}",
        syscall_rsp = sym SYSCALL_RSP,
        user_context = sym USER_CONTEXT,
        system_call = const SYSTEM_CALL,
        rax = const offset_of!(UserContext, rax),
        rcx = const offset_of!(UserContext, rcx),
        rip = const offset_of!(UserContext, rip),
        rflags = const offset_of!(UserContext, rflags),
        user_rsp = const offset_of!(UserContext, rsp),
        event = const offset_of!(UserContext, event),
        save = sym save_and_return,
    )
}

/// Where all stubs go.
///
/// From the kernel an interrupt only leaves its vector and returns with interrupts disabled. (It changes no register,
/// so nothing needs saving.)
#[unsafe(naked)]
unsafe extern "C" fn trap_common() -> ! {
    naked_asm!(
        "test byte ptr [rsp + 24], 3",
        "jnz 2f",
        "cmp qword ptr [rsp], {exceptions}",
        "jb {kernel_exception}",
        "pop [rip + {idle_vector}]",
        "add rsp, 8",
        "and dword ptr [rsp + 16], {no_interrupts}",
        "iretq",
        "2:",
        "push rax",
        "mov rax, [rip + {user_context}]",
        "mov [rax + {rcx}], rcx",
        "pop [rax + {rax}]",
        "pop [rax + {event}]",
        "pop [rax + {error_code}]",
        "pop [rax + {rip}]",
        "add rsp, 8",
        "pop [rax + {rflags}]",
        "pop [rax + {user_rsp}]",
        "jmp {save}",
        exceptions = const EXCEPTIONS,
        kernel_exception = sym kernel_exception::entry,
        idle_vector = sym IDLE_VECTOR,
        no_interrupts = const !(1 << 9),
        user_context = sym USER_CONTEXT,
        rax = const offset_of!(UserContext, rax),
        rcx = const offset_of!(UserContext, rcx),
        event = const offset_of!(UserContext, event),
        error_code = const offset_of!(UserContext, error_code),
        rip = const offset_of!(UserContext, rip),
        rflags = const offset_of!(UserContext, rflags),
        user_rsp = const offset_of!(UserContext, rsp),
        save = sym save_and_return,
    )
}

/// Saves what is left of the program's registers in the context at RAX, and returns from [`enter_user`].
#[unsafe(naked)]
unsafe extern "C" fn save_and_return() -> ! {
    naked_asm!(
        "mov [rax + {rbx}], rbx",
        "mov [rax + {rdx}], rdx",
        "mov [rax + {rsi}], rsi",
        "mov [rax + {rdi}], rdi",
        "mov [rax + {rbp}], rbp",
        "mov [rax + {r8}], r8",
        "mov [rax + {r9}], r9",
        "mov [rax + {r10}], r10",
        "mov [rax + {r11}], r11",
        "mov [rax + {r12}], r12",
        "mov [rax + {r13}], r13",
        "mov [rax + {r14}], r14",
        "mov [rax + {r15}], r15",
        "fxsave64 [rax + {fx}]",
        "ldmxcsr [rip + {mxcsr}]",
        "mov rsp, [rip + {kernel_rsp}]",
        "push {kernel_flags}",
        "popfq",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbp",
        "pop rbx",
        "ret",
        kernel_rsp = sym KERNEL_RSP,
        kernel_flags = const KERNEL_FLAGS,
        mxcsr = sym DEFAULT_MXCSR,
        fx = const offset_of!(UserContext, fx),
        rbx = const offset_of!(UserContext, rbx),
        rdx = const offset_of!(UserContext, rdx),
        rsi = const offset_of!(UserContext, rsi),
        rdi = const offset_of!(UserContext, rdi),
        rbp = const offset_of!(UserContext, rbp),
        r8 = const offset_of!(UserContext, r8),
        r9 = const offset_of!(UserContext, r9),
        r10 = const offset_of!(UserContext, r10),
        r11 = const offset_of!(UserContext, r11),
        r12 = const offset_of!(UserContext, r12),
        r13 = const offset_of!(UserContext, r13),
        r14 = const offset_of!(UserContext, r14),
        r15 = const offset_of!(UserContext, r15),
    )
}

const _: () = assert!(offset_of!(UserContext, fx).is_multiple_of(16));
