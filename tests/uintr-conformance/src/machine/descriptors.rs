// SPDX-License-Identifier: MIT OR Apache-2.0
//! Segments, task states with their stacks, interrupt gates.
//!
//! Every gate has a stack of its own (IST): compiled code has a red zone below its stack pointer, which an interrupt
//! on the same stack would overwrite. (System V ABI, "The Stack Frame")
//!
//! All of it is for the supervisor only, because the processor reads it by itself, also with CR4.SMAP.

use core::sync::atomic::{AtomicU64, Ordering};

use x86_64::VirtAddr;
use x86_64::instructions::segmentation::{CS, DS, ES, SS, Segment};
use x86_64::instructions::tables::{lgdt, lidt, load_tss};
use x86_64::structures::DescriptorTablePointer;
use x86_64::structures::gdt::SegmentSelector;

use super::cpu::{self, MAX_CPUS};
use super::stack::Stack;
use super::trap;

/// Code segment of CPL 0.
pub const KERNEL_CODE: u16 = 0x08;
/// Stack segment of CPL 0.
pub const KERNEL_DATA: u16 = 0x10;
/// Stack and data segment of CPL 3.
pub const USER_DATA: u16 = 0x1b;
/// 64-bit code segment of CPL 3.
pub const USER_CODE: u16 = 0x23;
/// 32-bit code segment of CPL 3: compatibility mode.
pub const USER_COMPATIBILITY_CODE: u16 = 0x2b;
/// Task state.
pub const TASK: u16 = 0x30;

const GDT_LEN: usize = 8;
/// Flat segments, in the order of the selectors.
const SEGMENTS: [u64; 6] = [
    0,
    0x00af_9b00_0000_ffff,
    0x00cf_9300_0000_ffff,
    0x00cf_f300_0000_ffff,
    0x00af_fb00_0000_ffff,
    0x00cf_fb00_0000_ffff,
];
/// Length of a 64-bit TSS in bytes; its words of 4 bytes are 26.
const TSS_LEN: u64 = 104;
/// Present, 64-bit TSS, available.
const TSS_TYPE: u64 = 0x89 << 40;
const GATE_COUNT: usize = 256;
const IST_ORDINARY: usize = 0;
const IST_NMI: usize = 1;
const IST_DOUBLE_FAULT: usize = 2;
const IST_COUNT: usize = 3;
const NMI: usize = 2;
const DOUBLE_FAULT: usize = 8;

#[repr(C, align(16))]
struct Table<const N: usize>([AtomicU64; N]);

impl<const N: usize> Table<N> {
    const fn new() -> Self {
        Self([const { AtomicU64::new(0) }; N])
    }

    fn pointer(&'static self) -> DescriptorTablePointer {
        DescriptorTablePointer {
            base: VirtAddr::from_ptr(self),
            limit: (size_of::<Self>() - 1) as u16,
        }
    }
}

#[unsafe(link_section = ".bss.supervisor")]
static GATES: Table<{ 2 * GATE_COUNT }> = Table::new();
#[unsafe(link_section = ".bss.supervisor")]
static GDTS: [Table<GDT_LEN>; MAX_CPUS] = [const { Table::new() }; MAX_CPUS];
/// Task-state segments. Their 8-byte fields begin at offset 4, so each is written in shifted words: word n of the table
/// holds the upper half of field n - 1 and the lower half of field n.
#[unsafe(link_section = ".bss.supervisor")]
static TASK_STATES: [Table<13>; MAX_CPUS] = [const { Table::new() }; MAX_CPUS];
#[unsafe(link_section = ".bss.supervisor")]
static TRAP_STACKS: [[Stack<{ 16 << 10 }>; IST_COUNT]; MAX_CPUS] =
    [const { [const { Stack::new() }; IST_COUNT] }; MAX_CPUS];

/// Returns the address of a CPU's task state.
pub fn task_state(cpu: usize) -> u64 {
    TASK_STATES[cpu].pointer().base.as_u64()
}

/// Fills in all tables; before any CPU loads them.
pub fn build() {
    for (cpu, table) in GDTS.iter().enumerate() {
        build_task_state(cpu);
        let base = task_state(cpu);
        let low = (TSS_LEN - 1) | (base & 0xff_ffff) << 16 | TSS_TYPE | (base >> 24 & 0xff) << 56;
        let words = SEGMENTS.into_iter().chain([low, base >> 32]);
        for (slot, word) in table.0.iter().zip(words) {
            slot.store(word, Ordering::SeqCst);
        }
    }
    for vector in 0..GATE_COUNT {
        let stack = match vector {
            NMI => IST_NMI,
            DOUBLE_FAULT => IST_DOUBLE_FAULT,
            _ => IST_ORDINARY,
        };
        let privilege = if vector == usize::from(trap::END) {
            3
        } else {
            0
        };
        set_gate(vector, trap::stub_address(vector), stack, privilege);
    }
}

/// Interrupt stack n is the 8-byte field at offset 24H + 8 * n. (SDM 3A, "64-Bit Task State Segment")
fn build_task_state(cpu: usize) {
    const FIRST_FIELD: usize = 0x24;
    for (ist, stack) in TRAP_STACKS[cpu].iter().enumerate() {
        let word = (FIRST_FIELD + 8 * ist - 4) / 8;
        let top = stack.top();
        let words = &TASK_STATES[cpu].0;
        words[word].fetch_or(top << 32, Ordering::SeqCst);
        words[word + 1].fetch_or(top >> 32, Ordering::SeqCst);
    }
}

/// Writes a present interrupt gate. (SDM 3A, "64-Bit Mode IDT")
fn set_gate(vector: usize, handler: u64, stack: usize, privilege: u64) {
    const PRESENT_INTERRUPT_GATE: u64 = 0x8e << 40;
    let low = handler & 0xffff
        | u64::from(KERNEL_CODE) << 16
        | (stack as u64 + 1) << 32
        | PRESENT_INTERRUPT_GATE
        | privilege << 45
        | (handler >> 16 & 0xffff) << 48;
    GATES.0[2 * vector].store(low, Ordering::SeqCst);
    GATES.0[2 * vector + 1].store(handler >> 32, Ordering::SeqCst);
}

/// Loads the tables of the CPU `index`, once.
pub fn load(index: u32) {
    // SAFETY: `build` has filled in all tables, which live for ever; the selectors name flat segments, and each gate
    // leads to a stub.
    unsafe {
        lgdt(&GDTS[index as usize].pointer());
        CS::set_reg(SegmentSelector(KERNEL_CODE));
        SS::set_reg(SegmentSelector(KERNEL_DATA));
        DS::set_reg(SegmentSelector(USER_DATA));
        ES::set_reg(SegmentSelector(USER_DATA));
        load_tss(SegmentSelector(TASK));
        lidt(&GATES.pointer());
    }
    cpu::set_index(index);
}
