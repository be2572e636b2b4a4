// SPDX-License-Identifier: MIT OR Apache-2.0
//! Instructions that write to memory, in many forms, for the xAPIC's page: at the address in the first argument, the
//! value in the second.

use core::arch::naked_asm;

/// Value of the forms that choose it themselves.
pub const VALUE: u64 = 0x70;

/// Writes a value to an address.
pub type Form = extern "C" fn(u64, u64);

/// Forms by name.
pub type Forms = &'static [(&'static str, Form)];

macro_rules! forms {
    ($($name:literal: $($line:literal),+;)*) => {
        &[$(($name, {
            #[unsafe(naked)]
            extern "C" fn form(_address: u64, _value: u64) {
                naked_asm!($($line,)+ "ret")
            }
            form as Form
        })),*]
    };
}

/// Plain 32-bit moves, which are emulated.
pub const EMULATED: Forms = forms! {
    "eax": "mov eax, esi", "mov [rdi], eax";
    "ecx": "mov ecx, esi", "mov [rdi], ecx";
    "edx": "mov edx, esi", "mov [rdi], edx";
    "ebx": "push rbx", "mov ebx, esi", "mov [rdi], ebx", "pop rbx";
    "esp": "mov rax, rsp", "mov esp, esi", "mov [rdi], esp", "mov rsp, rax";
    "ebp": "push rbp", "mov ebp, esi", "mov [rdi], ebp", "pop rbp";
    "esi": "mov [rdi], esi";
    "edi": "mov rax, rdi", "mov edi, esi", "mov [rax], edi";
    "r8d": "mov r8d, esi", "mov [rdi], r8d";
    "r12d": "push r12", "mov r12d, esi", "mov [rdi], r12d", "pop r12";
    "r15d": "push r15", "mov r15d, esi", "mov [rdi], r15d", "pop r15";
    "upper-half": "mov rax, -1", "shl rax, 32", "or rax, rsi", "mov [rdi], eax";
    "base-index": "lea rax, [rdi - 0x40]", "mov ecx, 4", "mov [rax + rcx * 8 + 0x20], esi";
    "address-32": "mov [edi], esi";
    "segment-fs": "mov fs:[rdi], esi";
    "moffs": "mov eax, esi", ".byte 0xa3", ".quad 0xfee00080";
    "xchg": "xchg [rdi], esi";
    "lock-xchg": "lock xchg [rdi], esi";
    "rep-prefix": ".byte 0xf3, 0x89, 0x37";
    "segment-prefixes": ".byte 0x26, 0x2e, 0x36, 0x3e, 0x89, 0x37";
    "rex-without-use": ".byte 0x40, 0x89, 0x37";
    "fifteen-bytes": ".rept 13", ".byte 0x3e", ".endr", ".byte 0x89, 0x37";
    "immediate": "mov dword ptr [rdi], 0x70";
};

/// What is no plain 32-bit move: the cell is stopped for it.
pub const REFUSED: Forms = forms! {
    "mov-8": "mov [rdi], sil";
    "mov-16": "mov [rdi], si";
    "mov-64": "mov [rdi], rsi";
    "mov-imm-8": "mov byte ptr [rdi], 1";
    "mov-imm-16": "mov word ptr [rdi], 1";
    "mov-imm-64": "mov qword ptr [rdi], 1";
    "mov-segment": "mov [rdi], ds";
    "movbe": "movbe [rdi], esi";
    "movnti": "movnti [rdi], esi";
    "movs": "mov [rsp - 64], esi", "lea rsi, [rsp - 64]", "movsd";
    "rep-movs": "mov ecx, 4", "lea rsi, [rsp - 64]", "rep movsb";
    "stos": "mov eax, esi", "stosd";
    "rep-stos": "mov ecx, 2", "mov eax, esi", "rep stosd";
    "xchg-8": "xchg [rdi], sil";
    "xchg-64": "xchg [rdi], rsi";
    "or": "or [rdi], esi";
    "and": "and [rdi], esi";
    "add": "add [rdi], esi";
    "inc": "inc dword ptr [rdi]";
    "not": "not dword ptr [rdi]";
    "lock-add": "lock add [rdi], esi";
    "lock-xadd": "lock xadd [rdi], esi";
    "lock-cmpxchg": "mov eax, [rdi]", "lock cmpxchg [rdi], esi";
    "bts": "bts dword ptr [rdi], 4";
    "shl": "shl dword ptr [rdi], 1";
    "setc": "setc byte ptr [rdi]";
    "push": "mov rax, rsp", "lea rsp, [rdi + 8]", "push rsi", "mov rsp, rax";
    "pop": "push rsi", "pop qword ptr [rdi]";
    "call": "lea rsp, [rdi + 8]", "call rsi";
    "enter": "lea rsp, [rdi + 8]", "enter 0, 0";
    "movd": "movd xmm0, esi", "movd [rdi], xmm0";
    "movups": "movups [rdi], xmm0";
    "movntdq": "movntdq [rdi], xmm0";
    "maskmovdqu": "pcmpeqd xmm0, xmm0", "maskmovdqu xmm0, xmm0";
    "stmxcsr": "stmxcsr [rdi]";
    "fst": "fninit", "fldz", "fstp dword ptr [rdi]";
    "fxsave": "sub rdi, 0x80", "fxsave [rdi]";
    "sidt": "sidt [rdi]";
    "smsw": "smsw [rdi]";
    "sldt": "sldt [rdi]";
    // Through the end of the page, into the next one.
    "next-page": "lea rdi, [rdi + 0xf80]", "mov [rdi], esi";
    // The frame of an exception: stack and gate are made for it.
    "event": "lea rsp, [rdi + 0x18]", "int3";
    "pushf": "lea rsp, [rdi + 8]", "pushfq";
};

/// Where an instruction crosses from one page into the next: the last of its bytes lie in the second.
#[unsafe(naked)]
pub extern "C" fn across_pages(_address: u64, _value: u64) {
    naked_asm!(
        "jmp 2f",
        ".balign 4096",
        ".skip 4095, 0x90",
        "2: mov [rdi], esi",
        "ret"
    )
}
