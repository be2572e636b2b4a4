// SPDX-License-Identifier: MIT OR Apache-2.0
//! Code that may fault: a few machine instructions at either privilege, or a function of the image. What they raise
//! comes back as a value.
//!
//! Code at CPL 3 or of single instructions is entered by IRET with all registers given, and ends by a trap, be it the
//! software interrupt [`trap::END`] or a fault; so all its registers are known at the end.

use core::arch::naked_asm;
use core::sync::atomic::{AtomicU64, Ordering};

use arrayvec::ArrayVec;

use super::cpu::{self, MAX_CPUS};
use super::cpu::{RFLAGS_AC, RFLAGS_IF, RFLAGS_ONE};
use super::descriptors::{KERNEL_CODE, KERNEL_DATA, USER_CODE, USER_COMPATIBILITY_CODE, USER_DATA};
use super::paging::Page;
use super::stack::Stack;
use super::trap::{self, Frame, Registers, Trap};

/// INT 80H.
const END: [u8; 2] = [0xcd, trap::END];
/// Longest code in bytes, without its end.
const MAX_CODE_LEN: usize = 1024;

/// Stacks of single instructions at CPL 0.
static PROBE_STACKS: [Stack<4096>; MAX_CPUS] = [const { Stack::new() }; MAX_CPUS];

/// Machine code in the making.
#[derive(Clone, Debug, Default)]
pub struct Code(ArrayVec<u8, MAX_CODE_LEN>);

impl Code {
    /// Begins with these bytes.
    ///
    /// # Panics
    /// If they are too many.
    pub fn new(bytes: &[u8]) -> Self {
        Self::default().then(bytes)
    }

    /// Appends bytes.
    ///
    /// # Panics
    /// If they are too many.
    #[must_use]
    pub fn then(mut self, bytes: &[u8]) -> Self {
        self.0
            .try_extend_from_slice(bytes)
            .expect("the code of a case is short");
        self
    }

    /// Appends a loop of PAUSE: time for an interrupt to arrive. Changes ECX and the flags. Works in compatibility mode
    /// too.
    #[must_use]
    pub fn then_pause(self, times: u32) -> Self {
        self.then(&[0xb9])
            .then(&times.to_le_bytes())
            .then(&[0xf3, 0x90, 0x83, 0xe9, 0x01, 0x75, 0xf9])
    }

    /// Appends `mov rax, value`.
    #[must_use]
    pub fn then_load_rax(self, value: u64) -> Self {
        self.then(&[0x48, 0xb8]).then(&value.to_le_bytes())
    }

    /// Returns how long it is in bytes.
    pub fn len(&self) -> u64 {
        self.0.len() as u64
    }

    /// Returns the bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Copies it into a page, with [`trap::END`] behind it.
    pub fn write_to(&self, page: Page) {
        let bytes = self.0.iter().chain(&END).copied();
        let mut bytes = bytes.peekable();
        for word in page.words() {
            if bytes.peek().is_none() {
                break;
            }
            let mut value = [0xcc; 8];
            for (slot, byte) in value.iter_mut().zip(&mut bytes) {
                *slot = byte;
            }
            word.store(u64::from_le_bytes(value), Ordering::SeqCst);
        }
    }
}

/// Where code runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// CPL 0, 64-bit mode, interrupts disabled.
    Kernel,
    /// CPL 3, 64-bit mode, interrupts enabled.
    User,
    /// CPL 3, compatibility mode, interrupts enabled.
    Compatibility,
}

/// A run of code: everything that the code finds.
#[derive(Clone, Copy, Debug)]
pub struct Run(pub Frame);

impl Run {
    /// Prepares `code` for this CPU: from the start of its code page, with an empty stack.
    pub fn new(level: Level, code: &Code) -> Self {
        Self::on(cpu::index(), level, code)
    }

    /// Prepares `code` for the CPU `index`.
    pub fn on(index: usize, level: Level, code: &Code) -> Self {
        let page = Page::code(index);
        code.write_to(page);
        let (cs, ss, flags) = match level {
            Level::Kernel => (KERNEL_CODE, KERNEL_DATA, RFLAGS_AC),
            Level::User => (USER_CODE, USER_DATA, RFLAGS_IF),
            Level::Compatibility => (USER_COMPATIBILITY_CODE, USER_DATA, RFLAGS_IF),
        };
        let rsp = match level {
            Level::Kernel => PROBE_STACKS[index].top(),
            Level::User | Level::Compatibility => Page::stack(index).end(),
        };
        Self(Frame {
            rip: page.linear(),
            cs: u64::from(cs),
            rflags: RFLAGS_ONE | flags,
            rsp,
            ss: u64::from(ss),
            ..Frame::default()
        })
    }

    /// Gives it general registers.
    #[must_use]
    pub fn with(mut self, registers: Registers) -> Self {
        self.0.registers = registers;
        self
    }

    /// Gives it RAX.
    #[must_use]
    pub fn with_rax(mut self, rax: u64) -> Self {
        self.0.registers.rax = rax;
        self
    }

    /// Sets bits of its RFLAGS.
    #[must_use]
    pub fn with_flags(mut self, set: u64) -> Self {
        self.0.rflags |= set;
        self
    }

    /// Clears bits of its RFLAGS.
    #[must_use]
    pub fn without_flags(mut self, clear: u64) -> Self {
        self.0.rflags &= !clear;
        self
    }

    /// Runs it on this CPU until it traps.
    pub fn go(&self) -> Trap {
        // SAFETY: the frame names flat segments, code of this image or of a code page, and a stack that nothing else uses
        // meanwhile; whatever it raises ends in the landing that `enter` makes.
        unsafe { enter(&self.0, trap::landing()) };
        trap::last()
    }
}

/// Runs `code` at this level on this CPU.
pub fn code(level: Level, code: &Code) -> Trap {
    Run::new(level, code).go()
}

/// Calls `function`, which owns nothing that must be dropped, and returns the exception that ended it, if any did.
pub fn catch(function: &mut dyn FnMut()) -> Result<(), Trap> {
    extern "C" fn call(function: &mut &mut dyn FnMut()) {
        function();
    }
    let mut function = function;
    // SAFETY: keeps the calling convention whether the function returns or not.
    if unsafe { call_landed(call, &mut function, trap::landing()) } == 0 {
        Ok(())
    } else {
        Err(trap::last())
    }
}

/// Returns where [`land`] is.
pub fn landing_address() -> u64 {
    (land as *const ()).addr() as u64
}

/// Loads all registers from `frame`. Returns when a trap leads to the landing.
#[unsafe(naked)]
unsafe extern "C" fn enter(frame: *const Frame, landing: &AtomicU64) {
    naked_asm!(
        "push rbx",
        "push rbp",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "push qword ptr [rsi]",
        "push rsi",
        "mov [rsi], rsp",
        "mov rsp, rdi",
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
    )
}

/// Calls `function`; returns 0, or 1 when a trap has led to the landing.
#[unsafe(naked)]
unsafe extern "C" fn call_landed(
    function: extern "C" fn(&mut &mut dyn FnMut()),
    argument: &mut &mut dyn FnMut(),
    landing: &AtomicU64,
) -> u64 {
    naked_asm!(
        "push rbx",
        "push rbp",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "push qword ptr [rdx]",
        "push rdx",
        "mov [rdx], rsp",
        "sub rsp, 8",
        "mov rax, rdi",
        "mov rdi, rsi",
        "call rax",
        "add rsp, 8",
        "xor eax, eax",
        "jmp {land}",
        land = sym land,
    )
}

/// Where the traps lead, with the stack as [`enter`] and [`call_landed`] leave it and the result in RAX.
#[unsafe(naked)]
unsafe extern "C" fn land() {
    naked_asm!(
        "pop rsi",
        "pop qword ptr [rsi]",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbp",
        "pop rbx",
        "ret",
    )
}
