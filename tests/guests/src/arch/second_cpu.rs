// SPDX-License-Identifier: MIT OR Apache-2.0
//! The cell's second CPU: from real mode to Rust. (SDM 3A, "MP Initialization Protocol Algorithm")

use core::arch::global_asm;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use spin::Once;

use super::apic::{Apic, INIT, STARTUP, Target};
use super::tables::{self, KERNEL_STACKS, MAX_STARTS};
use super::{SPURIOUS, cpu};

const PAGE_SHIFT: u64 = 12;
/// Index of the CPU in the cell.
pub const INDEX: u32 = 1;

static STARTS: AtomicU32 = AtomicU32::new(0);
static IS_X2APIC: AtomicBool = AtomicBool::new(false);
/// What the CPU does once it is up; of several starts the first one's.
static WORK: Once<fn()> = Once::new();

unsafe extern "C" {
    static second_cpu_code: u8;
    static second_cpu_cr3: u8;
    static second_cpu_stack: u8;
    static second_cpu_gdt_base: u8;
    static second_cpu_gdt: u8;
    static second_cpu_far: u8;
    static second_cpu_64: u8;
    static second_cpu_end: u8;
}

/// Returns how often the CPU has come up.
pub fn starts() -> u32 {
    STARTS.load(Ordering::SeqCst)
}

/// Sends INIT, SIPI, SIPI to the CPU `apic_id`. It starts at `page` (below 1 MiB, memory of this cell), loads the
/// cell's tables and does `work` for good.
pub fn start(apic: Apic, is_x2apic: bool, apic_id: u32, page: u64, work: fn(), tick: u64) {
    let start = starts() as usize + 1;
    assert!(start < MAX_STARTS, "more starts than stacks");
    IS_X2APIC.store(is_x2apic, Ordering::SeqCst);
    WORK.call_once(|| work);
    write_code(page, KERNEL_STACKS[start].top());
    let vector = (page >> PAGE_SHIFT) as u32;
    apic.send(Target::Id(apic_id), INIT);
    cpu::delay(tick);
    apic.send(Target::Id(apic_id), STARTUP | vector);
    cpu::delay(tick);
    apic.send(Target::Id(apic_id), STARTUP | vector);
}

/// Lets the CPU spin at `page` when it starts again, in real mode.
pub fn spin_at_start(page: u64) {
    const JUMP_TO_ITSELF: [u8; 2] = [0xeb, 0xfe];
    let to: *mut [u8; 2] = core::ptr::with_exposed_provenance_mut(page as usize);
    // SAFETY: the page is this cell's, and the CPU has left it.
    unsafe { to.write_volatile(JUMP_TO_ITSELF) };
}

/// Copies the code to `page` and fills in what it cannot know.
fn write_code(page: u64, stack: u64) {
    let begin = &raw const second_cpu_code;
    let offset = |symbol: *const u8| (symbol.addr() - begin.addr()) as u64;
    let to: *mut u8 = core::ptr::with_exposed_provenance_mut(page as usize);
    // SAFETY: the code lies between the two symbols, the page is this cell's and nobody else uses it, and the fields
    // lie inside the copy.
    unsafe {
        let len = offset(&raw const second_cpu_end) as usize;
        core::ptr::copy_nonoverlapping(begin, to, len);
        let put = |symbol: *const u8, value: u64, bytes: usize| {
            let at = to.add(offset(symbol) as usize);
            core::ptr::copy_nonoverlapping(value.to_le_bytes().as_ptr(), at, bytes);
        };
        put(
            &raw const second_cpu_far,
            page + offset(&raw const second_cpu_64),
            4,
        );
        put(
            &raw const second_cpu_gdt_base,
            page + offset(&raw const second_cpu_gdt),
            4,
        );
        put(&raw const second_cpu_cr3, tables::cr3(), 4);
        put(&raw const second_cpu_stack, stack, 8);
    }
}

/// First Rust code of the CPU.
extern "C" fn main() -> ! {
    tables::load_descriptors(starts() as usize + 1, INDEX);
    Apic::new(IS_X2APIC.load(Ordering::SeqCst)).enable(SPURIOUS);
    STARTS.fetch_add(1, Ordering::SeqCst);
    cpu::enable_interrupts();
    if let Some(work) = WORK.get() {
        work();
    }
    cpu::halt_forever()
}

// Straight from real mode to 64-bit mode, with the tables of the first CPU. CR0.NE stays 1, as VMX has it.
global_asm!(
    ".pushsection .rodata",
    ".balign 16",
    ".global second_cpu_code, second_cpu_cr3, second_cpu_stack, second_cpu_gdt_base",
    ".global second_cpu_gdt, second_cpu_far, second_cpu_64, second_cpu_end",
    "second_cpu_code:",
    ".code16",
    "cli",
    "movw %cs, %ax",
    "movw %ax, %ds",
    "lgdtl second_cpu_gdtr - second_cpu_code",
    "movl %cr4, %eax",
    "orl $0x620, %eax", // PAE, OSFXSR, OSXMMEXCPT
    "movl %eax, %cr4",
    "movl second_cpu_cr3 - second_cpu_code, %eax",
    "movl %eax, %cr3",
    "movl $0xc0000080, %ecx", // IA32_EFER
    "rdmsr",
    "orl $0x100, %eax", // LME
    "wrmsr",
    "movl %cr0, %eax",
    "andl $0x9fffffff, %eax",
    "orl $0x80000033, %eax", // PG, NE, ET, MP, PE
    "movl %eax, %cr0",
    "ljmpl *(second_cpu_far - second_cpu_code)",
    ".code64",
    "second_cpu_64:",
    "movl $0x10, %eax",
    "movw %ax, %ss",
    "movq second_cpu_stack(%rip), %rsp",
    "xorl %ebp, %ebp",
    "movabsq ${main}, %rax",
    "call *%rax",
    "ud2",
    ".balign 8",
    "second_cpu_gdt:",
    ".quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff",
    "second_cpu_gdtr: .short 23",
    "second_cpu_gdt_base: .long 0",
    "second_cpu_far: .long 0",
    ".short 8",
    ".balign 8",
    "second_cpu_cr3: .quad 0",
    "second_cpu_stack: .quad 0",
    "second_cpu_end:",
    ".popsection",
    main = sym main,
    options(att_syntax),
);
