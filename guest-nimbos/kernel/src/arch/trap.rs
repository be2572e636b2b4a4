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
//! 3. RIP of a context is one that the processor had there, or that was checked to be in user space: SYSRET and IRET to a
//!    non-canonical address would fault in the kernel.
//!
//! What differs between CPUs is at GS: [`super::per_cpu`].

use core::arch::{global_asm, naked_asm};
use core::mem::offset_of;

use nimbos::layout::{PAGE_LEN, USER_END, USER_START};
use x86_64::registers::control::Cr2;

use super::descriptors::{USER_CODE, USER_DATA};
use super::kernel_exception;
use super::per_cpu::EntryArea;
use super::xstate::{self, DEFAULT_MXCSR, HAS_XSAVEOPT};
use crate::memory::Pages;

/// `event` after a system call; below are vectors.
const SYSTEM_CALL: u64 = 0x100;
/// Vectors below are exceptions.
const EXCEPTIONS: u64 = 32;
const PAGE_FAULT: u64 = 14;
const STUB_LEN: usize = 16;

/// RFLAGS that a program may have set: CF, PF, AF, ZF, SF, TF, DF, OF, AC, ID.
const USER_FLAGS: u64 = 0x24_0dd5;
/// RFLAGS that are always set in user mode: IF and the fixed bit.
const FIXED_USER_FLAGS: u64 = 1 << 9 | 1 << 1;

/// RFLAGS of kernel code: an interrupt gate leaves the program's DF and AC, and with AC set SMAP does not protect.
const KERNEL_FLAGS: u64 = 1 << 1;

/// Where the extended state stands behind the registers.
const XSTATE_OFFSET: usize = 192;

/// General registers of a program, and what ended its last stay in user mode.
#[repr(C)]
#[derive(Debug)]
struct Registers {
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

/// All registers of a thread while it is not in user mode: in pages of its own, [`Registers`] and behind them the extended
/// state. Whoever has it is the only one to run the thread.
#[derive(Debug)]
pub struct UserContext {
    pages: Pages,
}

/// Why a program left user mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trap {
    /// SYSCALL: see [`UserContext::call_number`] and [`UserContext::arguments`].
    SystemCall,
    /// An interrupt; the local APIC still has it in service.
    Interrupt {
        /// Its vector.
        vector: u8,
    },
    /// A processor exception: see [`UserContext::exception`].
    Exception,
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
    /// Returns the registers with which a program starts, or `None` if there is no memory for them.
    ///
    /// # Panics
    /// If `rip` is not in user space.
    pub fn new(rip: u64, rsp: u64) -> Option<Self> {
        let len = XSTATE_OFFSET + xstate::area_len();
        let pages = Pages::allocate(len.div_ceil(PAGE_LEN as usize))?;
        let mut context = Self { pages };
        context.restart(rip, rsp);
        Some(context)
    }

    /// Begins anew, with the registers with which a program starts.
    ///
    /// # Panics
    /// If `rip` is not in user space.
    pub fn restart(&mut self, rip: u64, rsp: u64) {
        assert!(
            (USER_START..USER_END).contains(&rip),
            "{rip:#x} is not in user space"
        );
        let bytes = self.pages.bytes_mut();
        bytes[..XSTATE_OFFSET].fill(0);
        xstate::reset(&mut bytes[XSTATE_OFFSET..]);
        let registers = self.registers_mut();
        (registers.rip, registers.rsp) = (rip, rsp);
    }

    /// Returns a copy, or `None` if there is no memory for it.
    pub fn duplicate(&self) -> Option<Self> {
        let pages = self.pages.duplicate()?;
        Some(Self { pages })
    }

    /// Sets what the system call returns.
    pub fn set_result(&mut self, result: i64) {
        self.registers_mut().rax = result as u64;
    }

    /// Sets the stack pointer, which may be any value: what the program does there is between it and its page tables.
    pub fn set_stack(&mut self, rsp: u64) {
        self.registers_mut().rsp = rsp;
    }

    /// Returns RAX: what the system call returned, or what the code had there that was interrupted.
    pub fn result(&self) -> i64 {
        self.registers().rax as i64
    }

    /// Returns the stack pointer.
    pub fn stack_pointer(&self) -> u64 {
        self.registers().rsp
    }

    /// Returns the number of the system call.
    pub fn call_number(&self) -> u64 {
        self.registers().rax
    }

    /// Returns the first `N` of six arguments of the system call.
    #[inline(always)]
    pub fn arguments<const N: usize>(&self) -> [u64; N] {
        let Registers {
            rdi,
            rsi,
            rdx,
            r10,
            r8,
            r9,
            ..
        } = *self.registers();
        let all = [rdi, rsi, rdx, r10, r8, r9];
        core::array::from_fn(|i| all[i])
    }

    /// Returns what is known of the exception that ended the last stay in user mode. The CPU has not had another one since.
    pub fn exception(&self) -> Exception {
        let registers = self.registers();
        Exception {
            vector: registers.event as u8,
            error_code: registers.error_code,
            rip: registers.rip,
            rsp: registers.rsp,
            address: (registers.event == PAGE_FAULT).then(Cr2::read_raw),
        }
    }

    /// Returns RBP.
    pub fn frame_pointer(&self) -> u64 {
        self.registers().rbp
    }

    /// Returns all general registers with their names.
    pub fn named_registers(&self) -> [(&'static str, u64); 16] {
        let registers = self.registers();
        [
            ("rax", registers.rax),
            ("rbx", registers.rbx),
            ("rcx", registers.rcx),
            ("rdx", registers.rdx),
            ("rsi", registers.rsi),
            ("rdi", registers.rdi),
            ("rbp", registers.rbp),
            ("r8", registers.r8),
            ("r9", registers.r9),
            ("r10", registers.r10),
            ("r11", registers.r11),
            ("r12", registers.r12),
            ("r13", registers.r13),
            ("r14", registers.r14),
            ("r15", registers.r15),
            ("rflags", registers.rflags),
        ]
    }

    /// Runs the program until the next trap.
    ///
    /// # Safety
    /// The address space in CR3 is the program's, maps the kernel, and gives user mode nothing that is not the program's.
    #[inline(always)]
    pub unsafe fn run(&mut self) -> Trap {
        let registers = self.registers_mut();
        registers.rflags = registers.rflags & USER_FLAGS | FIXED_USER_FLAGS;
        // SAFETY: the caller vouches for the address space; selectors and flags are user mode's, RIP is by invariant 3, and the
        // extended state is one that the processor saved or that `restart` made.
        unsafe { enter_user(registers) };
        match registers.event {
            SYSTEM_CALL => Trap::SystemCall,
            vector @ EXCEPTIONS.. => Trap::Interrupt {
                vector: vector as u8,
            },
            _ => Trap::Exception,
        }
    }

    fn registers(&self) -> &Registers {
        let address = self.pages.bytes().as_ptr();
        // SAFETY: the pages begin with the registers, are aligned for them and this object's alone; every content is valid.
        unsafe { &*address.cast() }
    }

    fn registers_mut(&mut self) -> &mut Registers {
        let address = self.pages.bytes_mut().as_mut_ptr();
        // SAFETY: as for `registers`.
        unsafe { &mut *address.cast() }
    }
}

/// Returns the address of the stub for a vector.
pub fn stub_address(vector: usize) -> u64 {
    (trap_stubs as *const ()).addr() as u64 + (vector * STUB_LEN) as u64
}

/// Returns the address that SYSCALL goes to.
pub fn syscall_address() -> u64 {
    (trap_system_call as *const ()).addr() as u64
}

unsafe extern "C" {
    /// The stubs of all vectors, [`STUB_LEN`] bytes each.
    fn trap_stubs();
    /// Where SYSCALL goes.
    fn trap_system_call();
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
    "jmp trap_common",
    ".set trap_vector, trap_vector + 1",
    ".endr",
    ".popsection",
);

/// Saves what its caller relies on, and goes to user mode with the registers and the extended state behind them; after a system
/// call by SYSRET, because the program expects RCX and R11 to be lost. `trap_save` comes back.
///
/// # Safety
/// As for [`UserContext::run`].
#[unsafe(naked)]
unsafe extern "C" fn enter_user(registers: *mut Registers) {
    naked_asm!(
        "push rbx",
        "push rbp",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "mov gs:[{kernel_rsp}], rsp",
        "mov gs:[{registers}], rdi",
        "mov eax, -1",
        "mov edx, -1",
        "xrstor64 [rdi + {xstate}]",
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
        "jne 2f",
        "mov rcx, [rdi + {rip}]",
        "mov r11, [rdi + {rflags}]",
        "mov rsp, [rdi + {rsp}]",
        "mov rdi, [rdi + {rdi}]",
        "swapgs",
        "sysretq",
        "2:",
        "push {user_data}",
        "push [rdi + {rsp}]",
        "push [rdi + {rflags}]",
        "push {user_code}",
        "push [rdi + {rip}]",
        "mov rcx, [rdi + {rcx}]",
        "mov r11, [rdi + {r11}]",
        "mov rdi, [rdi + {rdi}]",
        "swapgs",
        "iretq",
        kernel_rsp = const offset_of!(EntryArea, kernel_rsp),
        registers = const offset_of!(EntryArea, registers),
        xstate = const XSTATE_OFFSET,
        system_call = const SYSTEM_CALL,
        user_data = const USER_DATA,
        user_code = const USER_CODE,
        rax = const offset_of!(Registers, rax),
        rbx = const offset_of!(Registers, rbx),
        rcx = const offset_of!(Registers, rcx),
        rdx = const offset_of!(Registers, rdx),
        rsi = const offset_of!(Registers, rsi),
        rdi = const offset_of!(Registers, rdi),
        rbp = const offset_of!(Registers, rbp),
        r8 = const offset_of!(Registers, r8),
        r9 = const offset_of!(Registers, r9),
        r10 = const offset_of!(Registers, r10),
        r11 = const offset_of!(Registers, r11),
        r12 = const offset_of!(Registers, r12),
        r13 = const offset_of!(Registers, r13),
        r14 = const offset_of!(Registers, r14),
        r15 = const offset_of!(Registers, r15),
        rip = const offset_of!(Registers, rip),
        rsp = const offset_of!(Registers, rsp),
        rflags = const offset_of!(Registers, rflags),
        event = const offset_of!(Registers, event),
    )
}

// The ways in. All end in the return from `enter_user`, with the program's registers saved.
//
// SYSCALL: RCX = RIP, R11 = RFLAGS, still the program's stack and GS base, interrupts disabled by SFMASK. RSP serves as the pointer
// to the registers; nothing can use it as a stack meanwhile, because every gate has a stack of its own.
//
// Stubs: from the kernel, that is from HLT, an interrupt leaves its vector in RAX and returns with interrupts disabled.
global_asm!(
    ".pushsection .text",
    ".balign 16",
    ".global trap_system_call",
    "trap_system_call:",
    "swapgs",
    "mov gs:[{syscall_rsp}], rsp",
    "mov rsp, gs:[{registers}]",
    "mov [rsp + {rax}], rax",
    "mov [rsp + {rip}], rcx",
    "mov [rsp + {rflags}], r11",
    "mov rax, gs:[{syscall_rsp}]",
    "mov [rsp + {rsp}], rax",
    "mov qword ptr [rsp + {event}], {system_call}",
    "mov rax, rsp",
    "trap_save:",
    "mov [rax + {rbx}], rbx",
    "mov [rax + {rdx}], rdx",
    "mov [rax + {rsi}], rsi",
    "mov [rax + {rdi}], rdi",
    "mov [rax + {rbp}], rbp",
    "mov [rax + {r8}], r8",
    "mov [rax + {r9}], r9",
    "mov [rax + {r10}], r10",
    "mov [rax + {r12}], r12",
    "mov [rax + {r13}], r13",
    "mov [rax + {r14}], r14",
    "mov [rax + {r15}], r15",
    "mov rdi, rax",
    "mov eax, -1",
    "mov edx, -1",
    "cmp byte ptr [rip + {has_xsaveopt}], 0",
    "je 3f",
    "xsaveopt64 [rdi + {xstate}]",
    "2:",
    "ldmxcsr [rip + {mxcsr}]",
    "mov rsp, gs:[{kernel_rsp}]",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbp",
    "pop rbx",
    "ret",
    "3:",
    "xsave64 [rdi + {xstate}]",
    "jmp 2b",
    ".balign 16",
    "trap_common:",
    "test byte ptr [rsp + 24], 3",
    "jnz 5f",
    "cmp qword ptr [rsp], {exceptions}",
    "jb {kernel_exception}",
    "pop rax",
    "add rsp, 8",
    "and dword ptr [rsp + 16], {no_interrupts}",
    "iretq",
    "5:",
    "swapgs",
    "push rax",
    "mov rax, gs:[{registers}]",
    "mov [rax + {rcx}], rcx",
    "mov [rax + {r11}], r11",
    "pop [rax + {rax}]",
    "pop [rax + {event}]",
    "pop [rax + {error_code}]",
    "pop [rax + {rip}]",
    "add rsp, 8",
    "pop [rax + {rflags}]",
    "pop [rax + {rsp}]",
    "push {kernel_flags}",
    "popfq",
    "jmp trap_save",
    ".popsection",
    syscall_rsp = const offset_of!(EntryArea, syscall_rsp),
    registers = const offset_of!(EntryArea, registers),
    kernel_rsp = const offset_of!(EntryArea, kernel_rsp),
    system_call = const SYSTEM_CALL,
    exceptions = const EXCEPTIONS,
    kernel_exception = sym kernel_exception::entry,
    no_interrupts = const !(1 << 9),
    kernel_flags = const KERNEL_FLAGS,
    has_xsaveopt = sym HAS_XSAVEOPT,
    xstate = const XSTATE_OFFSET,
    mxcsr = sym DEFAULT_MXCSR,
    rax = const offset_of!(Registers, rax),
    rbx = const offset_of!(Registers, rbx),
    rcx = const offset_of!(Registers, rcx),
    rdx = const offset_of!(Registers, rdx),
    rsi = const offset_of!(Registers, rsi),
    rdi = const offset_of!(Registers, rdi),
    rbp = const offset_of!(Registers, rbp),
    r8 = const offset_of!(Registers, r8),
    r9 = const offset_of!(Registers, r9),
    r10 = const offset_of!(Registers, r10),
    r11 = const offset_of!(Registers, r11),
    r12 = const offset_of!(Registers, r12),
    r13 = const offset_of!(Registers, r13),
    r14 = const offset_of!(Registers, r14),
    r15 = const offset_of!(Registers, r15),
    rip = const offset_of!(Registers, rip),
    rsp = const offset_of!(Registers, rsp),
    rflags = const offset_of!(Registers, rflags),
    event = const offset_of!(Registers, event),
    error_code = const offset_of!(Registers, error_code),
);

const _: () = assert!(size_of::<Registers>() <= XSTATE_OFFSET);
// XSAVE wants its area aligned to 64.
const _: () = assert!(XSTATE_OFFSET.is_multiple_of(64));
