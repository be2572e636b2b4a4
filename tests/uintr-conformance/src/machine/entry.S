# Entry points of the image, AT&T syntax: GRUB's (32-bit, Multiboot2 "I386 machine state"), a cell's (64-bit) and that
# of the other CPUs (real mode, after SIPI). All end in Rust with identity paging and SSE switched on.

.section .multiboot2, "a"
.balign 8
entry_mb2_start:
    .long 0xE85250D6                        # Multiboot2 magic
    .long 0                                 # i386 protected mode
    .long entry_mb2_end - entry_mb2_start
    .long -(0xE85250D6 + (entry_mb2_end - entry_mb2_start))
    .short 3, 0                             # entry address: the ELF header has the cell's
    .long 12
    .long entry_bare
    .balign 8
    .short 0, 0                             # end tag
    .long 8
entry_mb2_end:

.section .text.entry, "ax"
.code32
entry_bare:
    cli
    cld
    movl %eax, %esi                         # loader's magic
    movl %ebx, %ebp                         # boot information
    # Identity-map the first 4 GiB with 2 MiB pages, until Rust has built its own tables.
    movl $entry_pd, %edi
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
    movl $entry_pml4, %eax
    movl %eax, %cr3
    movl $0xC0000080, %ecx                  # IA32_EFER
    rdmsr
    orl $0x900, %eax                        # LME, NXE
    wrmsr
    lgdtl entry_gdtr
    movl %cr0, %eax
    andl $0x9FFFFFFB, %eax                  # not EM, NW, CD
    orl $0x80010033, %eax                   # PG, WP, NE, ET, MP, PE
    movl %eax, %cr0
    ljmpl $8, $entry_bare64
.code64
entry_bare64:
    movw $0x10, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    leaq KERNEL_STACKS + {stack_len}(%rip), %rsp
    movl %esi, %edi
    movl %ebp, %esi
    xorl %ebp, %ebp
    call {start_bare}
    ud2

.global entry_cell
entry_cell:
    cli
    cld
    movq %cr4, %rax
    orq $0x600, %rax                        # OSFXSR, OSXMMEXCPT
    movq %rax, %cr4
    movq %cr0, %rax
    orq $0x10000, %rax                      # WP
    movq %rax, %cr0
    movl $0xC0000080, %ecx
    rdmsr
    orl $0x800, %eax                        # NXE
    wrmsr
    leaq KERNEL_STACKS + {stack_len}(%rip), %rsp
    xorl %ebp, %ebp
    call {start_cell}
    ud2

# Copied to a page below 1 MiB. Each CPU takes the next index and the stack of that index.
.section .rodata.entry, "a"
.balign 16
.global entry_smp, entry_smp_far, entry_smp_64, entry_smp_gdt, entry_smp_gdt_base, entry_smp_cr3, entry_smp_end
entry_smp:
.code16
    cli
    cld
    movw %cs, %ax
    movw %ax, %ds
    lgdtl entry_smp_gdtr - entry_smp
    movl %cr4, %eax
    orl $0x620, %eax
    movl %eax, %cr4
    movl entry_smp_cr3 - entry_smp, %eax
    movl %eax, %cr3
    movl $0xC0000080, %ecx
    rdmsr
    orl $0x900, %eax
    wrmsr
    movl $0x80010033, %eax
    movl %eax, %cr0
    ljmpl *(entry_smp_far - entry_smp)
.code64
entry_smp_64:
    movw $0x10, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movl $1, %edi
    movabsq ${next_index}, %rbx
    lock xaddl %edi, (%rbx)                 # this CPU's index
    cmpl ${max_cpus}, %edi
    jae 2f
    movl %edi, %eax
    incl %eax
    imull ${stack_len}, %eax, %eax
    movabsq $KERNEL_STACKS, %rsp
    addq %rax, %rsp
    xorl %ebp, %ebp
    movabsq ${start_other}, %rax
    call *%rax
2:  cli
    hlt
    jmp 2b
.balign 8
entry_smp_gdt:
    .quad 0, 0x00AF9B000000FFFF, 0x00CF93000000FFFF
entry_smp_gdtr:     .short 23
entry_smp_gdt_base: .long 0
entry_smp_far:      .long 0
                    .short 8
entry_smp_cr3:      .long 0
entry_smp_end:

.section .data
.balign 16
entry_gdt:
    .quad 0, 0x00AF9B000000FFFF, 0x00CF93000000FFFF
entry_gdtr:
    .short 23
    .quad entry_gdt
.balign 4096
entry_pml4:
    .quad entry_pdpt + 3
    .fill 511, 8, 0
entry_pdpt:
    .quad entry_pd + 3, entry_pd + 0x1003, entry_pd + 0x2003, entry_pd + 0x3003
    .fill 508, 8, 0
.section .bss
.balign 4096
entry_pd:
    .skip 16384
