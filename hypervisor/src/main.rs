//! The hypervisor's binary: entry points, heap and panic handler. Everything else is in the library.
#![no_std]
#![no_main]
#![expect(
    unsafe_code,
    reason = "names the symbols of entry.S and the linker script"
)]

use core::arch::global_asm;
use core::panic::PanicInfo;

use freestanding as _;
use isthmus_hypervisor::boot::{self, Image};
use isthmus_hypervisor::loader::Range;
use isthmus_hypervisor::memory::BumpHeap;

global_asm!(include_str!("entry.S"), options(att_syntax));

unsafe extern "C" {
    static __image_start: u8;
    static __text_end: u8;
    static __image_end: u8;
    static boot_stack_start: u8;
    static boot_stack_top: u8;
    static boot_ap_start: u8;
    static boot_ap_entry64: u8;
    static boot_ap_params: u8;
    static boot_ap_end: u8;
}

/// iced-x86 builds its decoder tables on the heap at first use (xAPIC mode only); nothing else allocates.
#[global_allocator]
static HEAP: BumpHeap = BumpHeap::new();

#[unsafe(no_mangle)]
extern "C" fn isthmus_main(magic: u32, boot_information: u32) -> ! {
    let range = |start: *const u8, end: *const u8| {
        Range::new(start.addr() as u64, (end.addr() - start.addr()) as u64)
    };
    let ap_start = (&raw const boot_ap_start).addr();
    let offset = |symbol: *const u8| symbol.addr() - ap_start;
    let trampoline_len = offset(&raw const boot_ap_end);
    let image = Image {
        start: (&raw const __image_start).addr() as u64,
        end: (&raw const __image_end).addr() as u64,
        code: range(&raw const __image_start, &raw const __text_end),
        stack: range(&raw const boot_stack_start, &raw const boot_stack_top),
        // SAFETY: entry.S defines both symbols around the trampoline, which nothing writes to in place.
        trampoline: unsafe {
            core::slice::from_raw_parts(&raw const boot_ap_start, trampoline_len)
        },
        trampoline_entry64: offset(&raw const boot_ap_entry64),
        trampoline_params: offset(&raw const boot_ap_params),
    };
    boot::start(magic, boot_information, image)
}

#[panic_handler]
fn panic(info: &PanicInfo) -> ! {
    isthmus_hypervisor::panic::stop_machine(info)
}
