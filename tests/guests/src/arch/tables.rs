// SPDX-License-Identifier: MIT OR Apache-2.0
//! Page tables, segments, task states with their stacks, interrupt gates.
//!
//! Every gate has a stack of its own (IST): compiled code has a red zone below its stack pointer, which an interrupt
//! on the same stack would overwrite. (System V ABI, "The Stack Frame")

use core::cell::UnsafeCell;

use spin::Once;
use x86_64::instructions::segmentation::{CS, DS, ES, SS, Segment};
use x86_64::instructions::tables::{lidt, load_tss};
use x86_64::registers::control::{Cr3, Cr3Flags};
use x86_64::structures::DescriptorTablePointer;
use x86_64::structures::gdt::{Descriptor, GlobalDescriptorTable, SegmentSelector};
use x86_64::structures::paging::PhysFrame;
use x86_64::structures::tss::TaskStateSegment;
use x86_64::{PhysAddr, VirtAddr};

use super::{cpu, task, trap, user};

/// Code segment of the kernel part.
pub const KERNEL_CODE: u16 = 0x08;
/// Stack segment of the kernel part.
pub const KERNEL_DATA: u16 = 0x10;
/// Stack and data segment of user mode.
pub const USER_DATA: u16 = 0x1b;
/// Code segment of user mode.
pub const USER_CODE: u16 = 0x23;
/// Most CPUs of the cell.
pub const MAX_CPUS: usize = 2;
/// Most times that a CPU of the cell starts.
pub const MAX_STARTS: usize = 3;

const VECTORS: usize = 256;
const IST_ORDINARY: usize = 0;
const IST_NMI: usize = 1;
const IST_DOUBLE_FAULT: usize = 2;

/// A stack that no Rust code refers to: only the stack pointer does.
#[repr(C, align(4096))]
pub struct Stack<const N: usize>(UnsafeCell<[u8; N]>);

// SAFETY: nothing accesses the cell's content through the static.
unsafe impl<const N: usize> Sync for Stack<N> {}

impl<const N: usize> Stack<N> {
    /// Returns an empty stack.
    pub const fn new() -> Self {
        Self(UnsafeCell::new([0; N]))
    }

    /// Returns the address behind its last byte.
    pub fn top(&self) -> u64 {
        (&raw const *self).addr() as u64 + N as u64
    }
}

/// Stack of a CPU in kernel mode, for one start. Some tests make a large target table on it.
pub type KernelStack = Stack<{ 256 << 10 }>;
/// The stacks; the first one is the entry point's.
pub static KERNEL_STACKS: [KernelStack; MAX_STARTS] = [const { Stack::new() }; MAX_STARTS];

static TRAP_STACKS: [[Stack<{ 16 << 10 }>; 3]; MAX_STARTS] =
    [const { [const { Stack::new() }; 3] }; MAX_STARTS];
static TASK_STATES: [Once<TaskStateSegment>; MAX_STARTS] = [const { Once::new() }; MAX_STARTS];
static SEGMENTS: [Once<GlobalDescriptorTable>; MAX_STARTS] = [const { Once::new() }; MAX_STARTS];
static GATES: Once<Gates> = Once::new();
static PML4: Once<PageTable> = Once::new();
static PDPT: PageTable = PageTable::identity();

/// An interrupt descriptor table.
#[repr(C, align(16))]
struct Gates([u128; VECTORS]);

/// Present, writable, user.
const TABLE: u64 = 0b111;

#[repr(C, align(4096))]
struct PageTable([u64; 512]);

impl PageTable {
    /// Returns a PDPT of 1 GiB pages. Accessed and dirty are set already, so that the processor has nothing to write.
    const fn identity() -> Self {
        const PAGE: u64 = TABLE | 1 << 5 | 1 << 6 | 1 << 7;
        let mut entries = [0; 512];
        let mut gib = 0;
        while gib < entries.len() {
            entries[gib] = (gib as u64) << 30 | PAGE;
            gib += 1;
        }
        Self(entries)
    }

    fn address(&self) -> u64 {
        self.0.as_ptr().addr() as u64
    }
}

/// Maps the first 512 GiB one to one with 1 GiB pages, all for user mode too.
pub fn load_paging() {
    PML4.call_once(|| {
        let mut entries = [0; 512];
        entries[0] = PDPT.address() | TABLE;
        PageTable(entries)
    });
    let frame = PhysFrame::containing_address(PhysAddr::new(cr3()));
    // SAFETY: maps everything as the tables before do, which were identical too.
    unsafe { Cr3::write(frame, Cr3Flags::empty()) };
}

/// Returns the address of the page tables.
pub fn cr3() -> u64 {
    PML4.get().map_or(0, PageTable::address)
}

/// Loads segments, task state and gates of the CPU with this index. Each start of a CPU has a number of its own,
/// because the task state of the one before stays busy.
pub fn load_descriptors(start: usize, index: u32) {
    let task_state = TASK_STATES[start].call_once(|| {
        let mut state = TaskStateSegment::new();
        for place in [IST_ORDINARY, IST_NMI, IST_DOUBLE_FAULT] {
            state.interrupt_stack_table[place] = VirtAddr::new(TRAP_STACKS[start][place].top());
        }
        state
    });
    let mut table = GlobalDescriptorTable::new();
    let kernel_code = table.append(Descriptor::kernel_code_segment());
    let kernel_data = table.append(Descriptor::kernel_data_segment());
    let user_data = table.append(Descriptor::user_data_segment());
    let user_code = table.append(Descriptor::user_code_segment());
    let task = table.append(Descriptor::tss_segment(task_state));
    assert_eq!((kernel_code.0, kernel_data.0), (KERNEL_CODE, KERNEL_DATA));
    assert_eq!((user_code.0, user_data.0), (USER_CODE, USER_DATA));
    SEGMENTS[start].call_once(|| table).load();
    // SAFETY: the selectors name flat segments of the table just loaded; the task state lives for ever.
    unsafe {
        CS::set_reg(kernel_code);
        SS::set_reg(kernel_data);
        DS::set_reg(SegmentSelector(0));
        ES::set_reg(SegmentSelector(0));
        load_tss(task);
    }
    cpu::set_index(index);
    load_gates();
}

/// Lets the breakpoint exception take the stack that is in use, wherever that is.
pub fn take_breakpoints_on_any_stack() {
    static OTHER_GATES: Once<Gates> = Once::new();
    const STACK_BITS: u128 = 7 << 32;
    const BREAKPOINT: usize = 3;
    let gates = OTHER_GATES.call_once(|| {
        let mut gates = Gates(GATES.get().map_or([0; VECTORS], |gates| gates.0));
        gates.0[BREAKPOINT] &= !STACK_BITS;
        gates
    });
    load(gates);
}

fn load_gates() {
    const NMI: usize = 2;
    const DOUBLE_FAULT: usize = 8;
    let gates = GATES.call_once(|| {
        let mut gates = Gates([0; VECTORS]);
        for (vector, gate) in gates.0.iter_mut().enumerate() {
            let stack = match vector {
                NMI => IST_NMI,
                DOUBLE_FAULT => IST_DOUBLE_FAULT,
                _ => IST_ORDINARY,
            };
            let privilege = if vector == usize::from(task::CALL_VECTOR) {
                3
            } else {
                0
            };
            *gate = interrupt_gate(trap::stub_address(vector), stack, privilege);
        }
        let leave = (user::leave as *const ()).addr() as u64;
        gates.0[usize::from(user::LEAVE_VECTOR)] = interrupt_gate(leave, IST_ORDINARY, 3);
        gates
    });
    load(gates);
}

fn load(gates: &'static Gates) {
    let pointer = DescriptorTablePointer {
        base: VirtAddr::from_ptr(gates),
        limit: (size_of::<Gates>() - 1) as u16,
    };
    // SAFETY: the table lives for ever and each gate leads to a stub.
    unsafe { lidt(&pointer) };
}

/// Returns a present interrupt gate. (SDM 3A, "64-Bit Mode IDT")
fn interrupt_gate(handler: u64, stack: usize, privilege: u64) -> u128 {
    const PRESENT_INTERRUPT_GATE: u64 = 0x8e << 40;
    let low = handler & 0xffff
        | u64::from(KERNEL_CODE) << 16
        | (stack as u64 + 1) << 32
        | PRESENT_INTERRUPT_GATE
        | privilege << 45
        | (handler >> 16 & 0xffff) << 48;
    u128::from(low) | u128::from(handler >> 32) << 64
}
