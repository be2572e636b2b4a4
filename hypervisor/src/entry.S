# Entry points of the image, AT&T syntax: GRUB's (32-bit, Multiboot2 "I386 machine state") and that of the
# application processors (real mode, after SIPI). Both end in Rust with identity paging and SSE switched on.

.section .multiboot2, "a"
.balign 8
boot_mb2_start:
    .long 0xE85250D6                        # Multiboot2 magic
    .long 0                                 # i386 protected mode
    .long boot_mb2_end - boot_mb2_start
    .long -(0xE85250D6 + (boot_mb2_end - boot_mb2_start))
    .short 0, 0                             # end tag
    .long 8
boot_mb2_end:

.section .boot, "ax"
.code32
.global boot_entry32
boot_entry32:
    cli
    cld
    movl %eax, %esi                         # loader's magic
    movl %ebx, %ebp                         # boot information
    # Identity-map the first 4 GiB with 2 MiB pages; Rust builds the full map once it knows the machine.
    movl $boot_pd, %edi
    movl $0x83, %eax                        # present, writable, large
    xorl %ecx, %ecx
1:  movl %eax, (%edi, %ecx, 8)
    movl $0, 4(%edi, %ecx, 8)
    addl $0x200000, %eax
    incl %ecx
    cmpl $2048, %ecx
    jne 1b
    movl %cr4, %eax
    orl $0x620, %eax                        # PAE, OSFXSR, OSXMMEXCPT
    movl %eax, %cr4
    movl $boot_pml4, %eax
    movl %eax, %cr3
    movl $0xC0000080, %ecx                  # IA32_EFER
    rdmsr
    orl $0x900, %eax                        # LME, NXE
    wrmsr
    lgdtl boot_gdtr
    movl %cr0, %eax
    andl $0x9FFFFFFB, %eax                  # not EM, NW, CD
    orl $0x80010033, %eax                   # PG, WP, NE, ET, MP, PE
    movl %eax, %cr0
    ljmpl $8, $boot_entry64
.code64
boot_entry64:
    movw $0x10, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    leaq boot_stack_top(%rip), %rsp
    movl %esi, %edi
    movl %ebp, %esi
    xorl %ebp, %ebp                         # backtraces end here
    call isthmus_main
2:  hlt
    jmp 2b

# Copied to a page below 1 MiB; boot_ap_params is filled in before each start.
.balign 16
.global boot_ap_start
boot_ap_start:
.code16
    cli
    cld
    movw %cs, %ax
    movw %ax, %ds
    lgdtl boot_ap_gdtr - boot_ap_start
    movl %cr4, %eax
    orl $0x620, %eax
    movl %eax, %cr4
    movl boot_ap_cr3 - boot_ap_start, %eax
    movl %eax, %cr3
    movl $0xC0000080, %ecx
    rdmsr
    orl $0x900, %eax
    wrmsr
    movl $0x80010033, %eax
    movl %eax, %cr0
    ljmpl *(boot_ap_far - boot_ap_start)
.code64
.global boot_ap_entry64
boot_ap_entry64:
    movw $0x10, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movq boot_ap_stack(%rip), %rsp
    movq boot_ap_argument(%rip), %rdi
    xorl %ebp, %ebp                         # backtraces end here: no frame, no return address
    pushq $0
    jmpq *boot_ap_rust(%rip)
.balign 8
boot_ap_gdt:
    .quad 0, 0x00AF9B000000FFFF, 0x00CF93000000FFFF
.global boot_ap_params
boot_ap_params:                             # struct TrampolineParams
boot_ap_far:      .long 0
                  .short 8, 0
boot_ap_gdtr:     .short 23
                  .long 0
                  .short 0
boot_ap_cr3:      .quad 0
boot_ap_stack:    .quad 0
boot_ap_argument: .quad 0
boot_ap_rust:     .quad 0
.global boot_ap_end
boot_ap_end:

.section .data
.balign 16
boot_gdt:
    .quad 0, 0x00AF9B000000FFFF, 0x00CF93000000FFFF
boot_gdtr:
    .short 23
    .quad boot_gdt
.balign 4096
boot_pml4:
    .quad boot_pdpt + 3
    .fill 511, 8, 0
boot_pdpt:
    .quad boot_pd + 3, boot_pd + 0x1003, boot_pd + 0x2003, boot_pd + 0x3003
    .fill 508, 8, 0
.section .bss
.balign 4096
boot_pd:
    .skip 16384
.global boot_stack_start
boot_stack_start:
    .skip 262144
.global boot_stack_top
boot_stack_top:
