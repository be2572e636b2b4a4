// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the cell's other CPUs begin: from real mode to Rust. (SDM 3A, "MP Initialization Protocol Algorithm")
//!
//! SIPI names a page below 1 MiB, where a copy of the code stands. It goes straight to 64-bit mode with the kernel's page tables,
//! on the stack that [`prepare`] has named. One CPU starts at a time.

use core::arch::global_asm;
use core::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};

use super::descriptors::CpuStacks;

/// Number of the CPU that is to begin next.
static NEXT: AtomicUsize = AtomicUsize::new(0);
/// Its stacks.
static STACKS: AtomicPtr<CpuStacks> = AtomicPtr::new(core::ptr::null_mut());
/// Top of its kernel stack.
static STACK_TOP: AtomicU64 = AtomicU64::new(0);

unsafe extern "C" {
    static start_code_begin: u8;
    static start_code_gdt: u8;
    static start_code_gdt_base: u8;
    static start_code_far: u8;
    static start_code_64: u8;
    static start_code_cr3: u8;
    static start_code_end: u8;
}

/// Puts the code into the page, which nobody else uses; CPUs that begin there use the page table at `table`.
///
/// # Panics
/// If the table is not below 4 GiB, where a CPU in real mode can name it.
pub fn write(page: u64, table: u64) {
    assert!(table < 1 << 32, "the page table lies at {table:#x}");
    let begin = &raw const start_code_begin;
    let offset = |symbol: *const u8| symbol.addr() - begin.addr();
    let to: *mut u8 = core::ptr::with_exposed_provenance_mut(page as usize);
    // SAFETY: the code lies between the two symbols, is shorter than a page, and the fields lie inside the copy. The page is this
    // cell's, mapped, and nobody uses it.
    unsafe {
        let len = offset(&raw const start_code_end);
        core::ptr::copy_nonoverlapping(begin, to, len);
        let put = |symbol: *const u8, value: u64| {
            let bytes = (value as u32).to_le_bytes();
            core::ptr::copy_nonoverlapping(bytes.as_ptr(), to.add(offset(symbol)), bytes.len());
        };
        let address = |symbol: *const u8| page + offset(symbol) as u64;
        put(&raw const start_code_far, address(&raw const start_code_64));
        put(
            &raw const start_code_gdt_base,
            address(&raw const start_code_gdt),
        );
        put(&raw const start_code_cr3, table);
    }
}

/// Gives the CPU that begins next its number and its stacks.
pub fn prepare(cpu: usize, stacks: &'static CpuStacks) {
    NEXT.store(cpu, Ordering::Relaxed);
    STACKS.store(core::ptr::from_ref(stacks).cast_mut(), Ordering::Relaxed);
    STACK_TOP.store(stacks.kernel_top(), Ordering::Release);
}

/// First Rust code of a CPU.
extern "C" fn begin() -> ! {
    // SAFETY: `prepare` has stored the address of stacks that live for ever, before SIPI.
    let stacks = unsafe { &*STACKS.load(Ordering::Acquire) };
    crate::kernel::join(NEXT.load(Ordering::Relaxed), stacks)
}

// PAE, OSFXSR and OSXMMEXCPT in CR4; LME and NXE in EFER, because the tables forbid execution; PG, NE, ET, MP and PE in CR0.
global_asm!(
    ".pushsection .rodata",
    ".balign 16",
    ".global start_code_begin, start_code_gdt, start_code_gdt_base, start_code_far",
    ".global start_code_64, start_code_cr3, start_code_end",
    "start_code_begin:",
    ".code16",
    "cli",
    "movw %cs, %ax",
    "movw %ax, %ds",
    "lgdtl start_code_gdtr - start_code_begin",
    "movl %cr4, %eax",
    "orl $0x620, %eax",
    "movl %eax, %cr4",
    "movl start_code_cr3 - start_code_begin, %eax",
    "movl %eax, %cr3",
    "movl $0xc0000080, %ecx",
    "rdmsr",
    "orl $0x900, %eax",
    "wrmsr",
    "movl %cr0, %eax",
    "andl $0x9fffffff, %eax",
    "orl $0x80000033, %eax",
    "movl %eax, %cr0",
    "ljmpl *(start_code_far - start_code_begin)",
    ".code64",
    "start_code_64:",
    "movl $0x10, %eax",
    "movw %ax, %ss",
    "movabsq ${stack_top}, %rax",
    "movq (%rax), %rsp",
    "xorl %ebp, %ebp",
    "movabsq ${begin}, %rax",
    "call *%rax",
    "ud2",
    ".balign 8",
    "start_code_gdt:",
    ".quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff",
    "start_code_gdtr: .short 23",
    "start_code_gdt_base: .long 0",
    "start_code_far: .long 0",
    ".short 8",
    ".balign 4",
    "start_code_cr3: .long 0",
    "start_code_end:",
    ".popsection",
    stack_top = sym STACK_TOP,
    begin = sym begin,
    options(att_syntax),
);
