//! The hypervisor's IDT: it runs with IF = 0, so only NMI and exceptions (its own faults) ever arrive.

use core::arch::naked_asm;

use spin::Once;
use x86_64::VirtAddr;
use x86_64::structures::idt::InterruptDescriptorTable;

use super::descriptors::{IST_EXCEPTION, IST_NMI};

/// What the processor and the stub push for an exception.
#[repr(C)]
#[derive(Debug)]
pub struct ExceptionFrame {
    /// Interrupted RBP, by the stub.
    pub rbp: u64,
    /// Vector, by the stub.
    pub vector: u64,
    /// Error code, 0 where there is none.
    pub error_code: u64,
    /// Interrupted RIP.
    pub rip: u64,
    /// Interrupted CS.
    pub cs: u64,
    /// Interrupted RFLAGS.
    pub rflags: u64,
    /// Interrupted RSP.
    pub rsp: u64,
}

static IDT: Once<InterruptDescriptorTable> = Once::new();

/// Loads the IDT on this CPU, after its GDT and TSS. Returns its linear base address.
pub fn load() -> u64 {
    let idt = IDT.call_once(build);
    idt.load();
    x86_64::instructions::tables::sidt().base.as_u64()
}

macro_rules! exceptions {
    ($idt:ident: $($field:ident = $vector:literal $(+ $code:ident)?),* $(,)?) => {
        $({
            #[unsafe(naked)]
            extern "C" fn stub() {
                naked_asm!(exceptions!(@push $($code)?), "push {vector}", "jmp {common}",
                    vector = const $vector, common = sym exception_common)
            }
            // SAFETY: the stub keeps the frame layout of `ExceptionFrame` and does not return; the IST stack exists.
            unsafe { $idt.$field.set_handler_addr(VirtAddr::from_ptr(stub as *const ())).set_stack_index(IST_EXCEPTION) };
        })*
    };
    (@push) => { "push 0" };
    (@push error_code) => { "" };
}

fn build() -> InterruptDescriptorTable {
    let mut idt = InterruptDescriptorTable::new();
    exceptions!(idt:
        divide_error = 0, debug = 1, breakpoint = 3, overflow = 4, bound_range_exceeded = 5,
        invalid_opcode = 6, device_not_available = 7, double_fault = 8 + error_code,
        invalid_tss = 10 + error_code, segment_not_present = 11 + error_code,
        stack_segment_fault = 12 + error_code, general_protection_fault = 13 + error_code,
        page_fault = 14 + error_code, x87_floating_point = 16, alignment_check = 17 + error_code,
        machine_check = 18, simd_floating_point = 19, virtualization = 20,
        cp_protection_exception = 21 + error_code,
    );
    // SAFETY: the stub saves and restores everything it uses and ends with IRETQ; its IST stack exists.
    unsafe {
        idt.non_maskable_interrupt
            .set_handler_addr(VirtAddr::from_ptr(nmi_stub as *const ()))
            .set_stack_index(IST_NMI)
    };
    idt
}

#[unsafe(naked)]
extern "C" fn exception_common() {
    naked_asm!("cld", "push rbp", "mov rdi, rsp", "and rsp, -16", "call {handler}", handler = sym crate::panic::on_exception)
}

/// Saves what compiled code may use (it uses SSE) around the handler. RBP, saved first, and the interrupted RIP look like
/// the frame of a call: a backtrace goes on in the interrupted code.
#[unsafe(naked)]
extern "C" fn nmi_stub() {
    naked_asm!(
        "push rbp",
        "mov rbp, rsp",
        "push rax", "push rcx", "push rdx", "push rsi", "push rdi", "push r8", "push r9", "push r10", "push r11",
        "sub rsp, 512",
        "and rsp, -16",
        "fxsave64 [rsp]",
        "cld",
        "call {handler}",
        "fxrstor64 [rsp]",
        "lea rsp, [rbp - 72]",
        "pop r11", "pop r10", "pop r9", "pop r8", "pop rdi", "pop rsi", "pop rdx", "pop rcx", "pop rax",
        "pop rbp",
        "iretq",
        handler = sym crate::cpu::on_nmi_in_root,
    )
}
