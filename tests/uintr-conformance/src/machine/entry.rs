// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the image is entered: by GRUB, by the hypervisor, and by its other CPUs.

use core::arch::global_asm;
use core::sync::atomic::AtomicU32;

use hv_abi::BootInfo;
use multiboot2::{BootInformation, BootInformationHeader};

use super::cpu::{self, MAX_CPUS};
use super::stack::{KERNEL_STACK_LEN, Stack};
use super::{place::Place, smp};

/// Stacks of CPL 0, one for each CPU.
#[unsafe(no_mangle)]
static KERNEL_STACKS: [Stack<KERNEL_STACK_LEN>; MAX_CPUS] = [const { Stack::new() }; MAX_CPUS];

/// Index that the next CPU takes.
pub static NEXT_INDEX: AtomicU32 = AtomicU32::new(1);

unsafe extern "C" {
    /// Code for the other CPUs, and what has to be filled in in its copy.
    pub static entry_smp: u8;
    pub static entry_smp_far: u8;
    pub static entry_smp_64: u8;
    pub static entry_smp_gdt: u8;
    pub static entry_smp_gdt_base: u8;
    pub static entry_smp_cr3: u8;
    pub static entry_smp_end: u8;
}

global_asm!(
    include_str!("entry.S"),
    stack_len = const KERNEL_STACK_LEN,
    max_cpus = const MAX_CPUS,
    next_index = sym NEXT_INDEX,
    start_bare = sym start_bare,
    start_cell = sym start_cell,
    start_other = sym start_other,
    options(att_syntax),
);

/// First Rust code on the bare machine.
extern "C" fn start_bare(magic: u32, address: u32) -> ! {
    if magic != multiboot2::MAGIC {
        // Nothing is known, not even a console.
        cpu::halt_forever();
    }
    let header = core::ptr::with_exposed_provenance::<BootInformationHeader>(address as usize);
    // SAFETY: the loader left its information there, which entry.S mapped; nothing of it is overwritten, because the
    // image's own memory lies in its ELF segments.
    let info = unsafe { BootInformation::load(header) };
    let line = info
        .as_ref()
        .ok()
        .and_then(|info| info.command_line_tag())
        .and_then(|tag| tag.cmdline().ok())
        .unwrap_or("");
    crate::run(Place::Bare, line)
}

/// First Rust code in a cell.
extern "C" fn start_cell(page: *const BootInfo) -> ! {
    // SAFETY: the hypervisor passes the address of the page in RDI, inside this cell's memory, and does not change it
    // any more; this image neither reads nor writes the boot area otherwise.
    let info = unsafe { &*page };
    if !info.is_valid() {
        cpu::halt_forever();
    }
    crate::run(Place::Cell(info), hv_abi::text(&info.cmdline).unwrap_or(""))
}

/// First Rust code of the other CPUs.
extern "C" fn start_other(index: u32) -> ! {
    smp::serve(index)
}
