// SPDX-License-Identifier: MIT OR Apache-2.0
//! Instructions that a cell may try, at either privilege level, and bits of control registers one at a time.

use core::arch::naked_asm;

use super::probe::Probe;

/// What an instruction may raise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing.
    Nothing,
    /// #UD.
    Undefined,
    /// #GP(0).
    GeneralProtection,
    /// Not executed: it would wait for an interrupt.
    NotTried,
}

use Answer::{GeneralProtection as Gp, NotTried, Nothing, Undefined as Ud};

/// An instruction and what it has to raise.
#[derive(Clone, Copy, Debug)]
pub struct Instruction {
    /// Its name.
    pub name: &'static str,
    /// Executes it.
    pub probe: Probe,
    /// At CPL 0.
    pub kernel: Answer,
    /// At CPL 3.
    pub user: Answer,
}

/// Defines a probe that consists of these instructions; the argument is in RDI.
macro_rules! probe {
    ($($line:literal),+) => {{
        #[unsafe(naked)]
        extern "C" fn probe(_argument: u64) {
            naked_asm!($($line,)+ "ret")
        }
        probe as Probe
    }};
}

macro_rules! instructions {
    ($($name:literal $kernel:ident $user:ident: $($line:literal),+;)*) => {
        &[$(Instruction { name: $name, probe: probe!($($line),+), kernel: $kernel, user: $user }),*]
    };
}

/// All of them. Memory operands lie below the stack pointer; what they would write is lost.
pub const INSTRUCTIONS: &[Instruction] = instructions! {
    "vmclear" Ud Ud: "vmclear [rsp - 64]";
    "vmlaunch" Ud Ud: "vmlaunch";
    "vmptrld" Ud Ud: "vmptrld [rsp - 64]";
    "vmptrst" Ud Ud: "vmptrst [rsp - 64]";
    "vmread" Ud Ud: "vmread rax, rcx";
    "vmresume" Ud Ud: "vmresume";
    "vmwrite" Ud Ud: "vmwrite rax, rcx";
    "vmxoff" Ud Ud: "vmxoff";
    "vmxon" Ud Ud: "vmxon [rsp - 64]";
    "invept" Ud Ud: "xor eax, eax", "invept rax, [rsp - 64]";
    "invvpid" Ud Ud: "xor eax, eax", "invvpid rax, [rsp - 64]";
    "vmfunc" Ud Ud: "xor eax, eax", "vmfunc";
    "getsec" Ud Ud: "xor eax, eax", "getsec";
    "rsm" Ud Ud: "rsm";
    "encls" Ud Ud: "xor eax, eax", ".byte 0x0f, 0x01, 0xcf";
    "enclu" Ud Ud: "xor eax, eax", ".byte 0x0f, 0x01, 0xd7";
    "pconfig" Ud Ud: "xor eax, eax", ".byte 0x0f, 0x01, 0xc5";
    "seamcall" Ud Ud: ".byte 0x66, 0x0f, 0x01, 0xcf";
    "tdcall" Ud Ud: ".byte 0x66, 0x0f, 0x01, 0xcc";
    "vmmcall" Ud Ud: ".byte 0x0f, 0x01, 0xd9";
    "vmrun" Ud Ud: ".byte 0x0f, 0x01, 0xd8";
    "invd" Nothing Gp: "invd";
    "wbinvd" Nothing Gp: "wbinvd";
    "clts" Nothing Gp: "clts";
    // MP, PE as they are; ET cannot be written.
    "lmsw" Nothing Gp: "smsw ax", "lmsw ax";
    "mov-cr2" Nothing Gp: "mov rax, cr2", "mov cr2, rax";
    "mov-cr8" Nothing Gp: "mov rax, cr8", "mov cr8, rax";
    // Bits 63:4 are reserved.
    "mov-cr8-reserved" Gp Gp: "mov eax, 0x10", "mov cr8, rax";
    "mov-cr1" Ud Ud: ".byte 0x0f, 0x22, 0xc8";
    "mov-cr5" Ud Ud: ".byte 0x0f, 0x22, 0xe8";
    "xsetbv-without-osxsave" Ud Ud: "xor ecx, ecx", "xor edx, edx", "mov eax, 7", "xsetbv";
    "monitor" Nothing Ud: "lea rax, [rsp - 64]", "xor ecx, ecx", "xor edx, edx", "monitor";
    "mwait" NotTried Ud: "xor ecx, ecx", "xor eax, eax", "mwait";
    "hlt" NotTried Gp: "hlt";
    "cli" Nothing Nothing: "cli";
    "rdmsr" Nothing Gp: "mov ecx, 0x10", "rdmsr";
    "lidt" Nothing Gp: "sidt [rsp - 64]", "lidt [rsp - 64]";
    "lgdt" Nothing Gp: "sgdt [rsp - 64]", "lgdt [rsp - 64]";
    "mov-dr7" Nothing Gp: "mov rax, dr7", "mov dr7, rax";
    "invlpg" Nothing Gp: "invlpg [rsp]";
    "swapgs" Nothing Gp: "swapgs", "swapgs";
    "in-80h" Nothing Nothing: "in al, 0x80";
    "ud2" Ud Ud: "ud2";
};

/// Instructions of user mode whose I/O privilege has been taken away.
pub const OUT_80H: Probe = probe!("out 0x80, al");

/// String I/O on the port in the argument, one element or several.
pub const STRINGS: &[(&str, Probe)] = &[
    (
        "outsb",
        probe!("mov edx, edi", "lea rsi, [rsp - 64]", "outsb"),
    ),
    (
        "rep-outsd",
        probe!(
            "mov edx, edi",
            "lea rsi, [rsp - 64]",
            "mov ecx, 4",
            "rep outsd"
        ),
    ),
    (
        "insb",
        probe!("mov edx, edi", "lea rdi, [rsp - 64]", "insb"),
    ),
    (
        "rep-insw",
        probe!(
            "mov edx, edi",
            "lea rdi, [rsp - 64]",
            "mov ecx, 4",
            "rep insw"
        ),
    ),
];

/// Flips the bits of the argument in CR0 and back.
pub const FLIP_CR0: Probe = probe!(
    "mov rax, cr0",
    "mov rcx, rax",
    "xor rcx, rdi",
    "mov cr0, rcx",
    "mov cr0, rax"
);

/// Flips the bits of the argument in CR0.
pub const FLIP_CR0_FOR_GOOD: Probe = probe!("mov rax, cr0", "xor rax, rdi", "mov cr0, rax");

/// Flips the bits of the argument in CR4 and back.
pub const FLIP_CR4: Probe = probe!(
    "mov rax, cr4",
    "mov rcx, rax",
    "xor rcx, rdi",
    "mov cr4, rcx",
    "mov cr4, rax"
);

/// Loads the argument into the low half of CR0 by LMSW, and what was there again.
pub const LMSW: Probe = probe!("smsw rcx", "lmsw di", "clts", "lmsw cx");

/// Flips the bits of the argument in DR7 and back.
pub const FLIP_DR7: Probe = probe!(
    "mov rax, dr7",
    "mov rcx, rax",
    "xor rcx, rdi",
    "mov dr7, rcx",
    "mov dr7, rax"
);

/// Sets the bits of the argument in CR4.
pub const SET_CR4: Probe = probe!("mov rax, cr4", "or rax, rdi", "mov cr4, rax");

/// Watches the I/O port in the argument with DR0 for reads and writes; CR4.DE is set.
pub const WATCH_PORT: Probe = probe!("mov dr0, rdi", "mov eax, 0x20403", "mov dr7, rax");

/// Watches nothing.
pub const WATCH_NOTHING: Probe = probe!("mov eax, 0x400", "mov dr7, rax");

/// Returns whether a watched access was seen.
pub fn was_seen() -> bool {
    use x86_64::registers::debug::Dr6;
    Dr6::read_raw() & 1 != 0
}
