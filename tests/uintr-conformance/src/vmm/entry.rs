// SPDX-License-Identifier: MIT OR Apache-2.0
//! Entering a guest and coming back.

use core::arch::naked_asm;

use x86::vmx::vmcs::host;

use crate::machine::trap::Registers;

/// Enters the guest by VMLAUNCH, or by VMRESUME where `is_launched` is not 0, with these general registers. Returns 0
/// after its VM exit, with the registers as the guest left them, or 1 if there was no VM entry. Bits of RFLAGS that VM
/// exits clear are restored.
///
/// # Safety
/// The current VMCS is that of a guest that does nothing to the image's memory but what the case wants, and its host
/// state is this CPU's.
#[unsafe(naked)]
pub unsafe extern "C" fn enter(registers: &mut Registers, is_launched: u64) -> u64 {
    naked_asm!(
        "push rbx",
        "push rbp",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "pushfq",
        "push rdi",
        "mov eax, {host_rsp}",
        "vmwrite rax, rsp",
        "lea rcx, [rip + 3f]",
        "mov eax, {host_rip}",
        "vmwrite rax, rcx",
        "test rsi, rsi",
        "mov r15, [rdi]",
        "mov r14, [rdi + 8]",
        "mov r13, [rdi + 16]",
        "mov r12, [rdi + 24]",
        "mov r11, [rdi + 32]",
        "mov r10, [rdi + 40]",
        "mov r9, [rdi + 48]",
        "mov r8, [rdi + 56]",
        "mov rbp, [rdi + 64]",
        "mov rsi, [rdi + 80]",
        "mov rdx, [rdi + 88]",
        "mov rcx, [rdi + 96]",
        "mov rbx, [rdi + 104]",
        "mov rax, [rdi + 112]",
        "mov rdi, [rdi + 72]",
        "jnz 2f",
        "vmlaunch",
        "jmp 4f",
        "2: vmresume",
        "4: pop rdi",
        "mov eax, 1",
        "jmp 5f",
        "3: push rdi",
        "mov rdi, [rsp + 8]",
        "mov [rdi], r15",
        "mov [rdi + 8], r14",
        "mov [rdi + 16], r13",
        "mov [rdi + 24], r12",
        "mov [rdi + 32], r11",
        "mov [rdi + 40], r10",
        "mov [rdi + 48], r9",
        "mov [rdi + 56], r8",
        "mov [rdi + 64], rbp",
        "mov [rdi + 80], rsi",
        "mov [rdi + 88], rdx",
        "mov [rdi + 96], rcx",
        "mov [rdi + 104], rbx",
        "mov [rdi + 112], rax",
        "pop qword ptr [rdi + 72]",
        "pop rdi",
        "xor eax, eax",
        "5: popfq",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbp",
        "pop rbx",
        "ret",
        host_rsp = const host::RSP,
        host_rip = const host::RIP,
    )
}

const _: () = {
    use core::mem::offset_of;
    assert!(offset_of!(Registers, r15) == 0 && offset_of!(Registers, r8) == 56);
    assert!(offset_of!(Registers, rbp) == 64 && offset_of!(Registers, rdi) == 72);
    assert!(offset_of!(Registers, rsi) == 80 && offset_of!(Registers, rdx) == 88);
    assert!(offset_of!(Registers, rcx) == 96 && offset_of!(Registers, rbx) == 104);
    assert!(offset_of!(Registers, rax) == 112);
};
