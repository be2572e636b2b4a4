// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the entry code of one CPU needs before it has a stack: a small area at GS.
//!
//! In the kernel the GS base is the area's address; a program has a GS base of its own (0), and SWAPGS exchanges the two on
//! every way in and out. (SDM 3A, "Swapping GS Base"; SDM 2, "SWAPGS")

use core::arch::asm;
use core::mem::offset_of;
use core::sync::atomic::{AtomicU64, Ordering};

use x86_64::VirtAddr;
use x86_64::registers::model_specific::{GsBase, KernelGsBase};

/// Most CPUs that this kernel runs; a channel has as many UPID slots.
pub const MAX_CPUS: usize = 32;

/// The area of one CPU. Only the code in [`super::trap`] uses it, by GS and the offsets of the fields.
#[repr(C, align(64))]
pub struct EntryArea {
    /// RSP at which the kernel goes on after a trap.
    pub kernel_rsp: AtomicU64,
    /// Address of the registers of the program that runs.
    pub registers: AtomicU64,
    /// RSP of the program while SYSCALL's entry needs the register.
    pub syscall_rsp: AtomicU64,
    /// Number of the CPU.
    number: AtomicU64,
}

static AREAS: [EntryArea; MAX_CPUS] = [const { EntryArea::new() }; MAX_CPUS];

impl EntryArea {
    const fn new() -> Self {
        Self {
            kernel_rsp: AtomicU64::new(0),
            registers: AtomicU64::new(0),
            syscall_rsp: AtomicU64::new(0),
            number: AtomicU64::new(0),
        }
    }
}

/// Gives this CPU the area with its number.
///
/// # Panics
/// If `cpu` is not below [`MAX_CPUS`].
pub fn init(cpu: usize) {
    AREAS[cpu].number.store(cpu as u64, Ordering::Relaxed);
    GsBase::write(VirtAddr::from_ptr(&AREAS[cpu]));
    KernelGsBase::write(VirtAddr::zero());
}

/// Returns the number of this CPU, which has called [`init`].
pub fn number() -> usize {
    let number: u64;
    // SAFETY: in the kernel the GS base is the address of the CPU's area.
    unsafe {
        asm!("mov {}, gs:[{offset}]", out(reg) number, offset = const offset_of!(EntryArea, number),
            options(nostack, readonly, preserves_flags));
    }
    number as usize
}
