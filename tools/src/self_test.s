# SPDX-License-Identifier: MIT OR Apache-2.0
# The emulator's self-test: a boot sector that enters long mode, divides, looks at CPUID, says what
# it found on COM1 and switches the machine off. Loaded by the BIOS at 0x7c00; page tables at 0x1000.

.intel_syntax noprefix
.set COM1, 0x3f8
.set TABLES, 0x1000

.code16
.globl _start
_start:
    cli
    cld
    xor eax, eax
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov sp, 0x7c00
    # The BIOS leaves COM1 at 5 data bits.
    mov dx, COM1 + 3
    mov al, 3
    out dx, al
    # One 2 MiB page, identity-mapped.
    mov di, TABLES
    mov cx, 0xc00
    xor eax, eax
    rep stosd
    mov word ptr [TABLES], TABLES + 0x1003
    mov word ptr [TABLES + 0x1000], TABLES + 0x2003
    mov word ptr [TABLES + 0x2000], 0x83
    mov eax, 0x20
    mov cr4, eax
    mov eax, TABLES
    mov cr3, eax
    mov ecx, 0xc0000080
    rdmsr
    or ah, 1
    wrmsr
    lgdt [gdt_pointer]
    mov eax, 0x80000011
    mov cr0, eax
    ljmp 8, long_mode

.code64
long_mode:
    mov ax, 16
    mov ds, ax
    mov es, ax
    mov ss, ax

    # A negative dividend that fits in 64 bits.
    mov rax, -1234567890123456789
    cqo
    mov ecx, 1000000007
    idiv rcx
    mov rbx, -1234567881
    cmp rax, rbx
    jne wrong
    cmp rdx, -481481622
    jne wrong
    # One that does not.
    mov edx, 3
    mov rax, 0x89abcdef01234567
    mov ecx, 9
    idiv rcx
    mov rbx, 0x64a14fc53903eb44
    cmp rax, rbx
    jne wrong
    cmp rdx, 3
    jne wrong
    lea rsi, [right_text]
    jmp 1f
wrong:
    lea rsi, [wrong_text]
1:  call print

    mov eax, 1
    cpuid
    bt ecx, 5
    lea rsi, [vmx_text]
    call print_if_carry
    mov eax, 7
    xor ecx, ecx
    cpuid
    bt edx, 5
    lea rsi, [uintr_text]
    call print_if_carry
    lea rsi, [end_text]
    call print

    mov dx, 0x8900
    lea rsi, [shutdown_text]
2:  lodsb
    out dx, al
    test al, al
    jnz 2b
3:  hlt
    jmp 3b

print_if_carry:
    jnc 5f
# Prints the text at RSI, which ends with a zero.
print:
    lodsb
    test al, al
    jz 5f
    mov bl, al
    mov dx, COM1 + 5
4:  in al, dx
    test al, 0x20
    jz 4b
    mov al, bl
    mov dx, COM1
    out dx, al
    jmp print
5:  ret

right_text: .asciz "self-test: idiv-right"
wrong_text: .asciz "self-test: idiv-wrong"
vmx_text: .asciz " vmx"
uintr_text: .asciz " uintr"
end_text: .asciz " end\r\n"
shutdown_text: .asciz "Shutdown"

.balign 8
gdt:
    .quad 0
    .quad 0x00af9a000000ffff
    .quad 0x00cf92000000ffff
gdt_pointer:
    .word gdt_pointer - gdt - 1
    .long gdt

.org 510
    .word 0xaa55
