// SPDX-License-Identifier: MIT OR Apache-2.0
//! Segments, the task state with its stacks, and the interrupt gates.
//!
//! Every gate has a stack of its own (IST): compiled code has a red zone below its stack pointer, which an interrupt
//! on the same stack would overwrite. (System V ABI, "The Stack Frame")

use core::cell::UnsafeCell;

use spin::Once;
use x86_64::VirtAddr;
use x86_64::instructions::segmentation::{CS, DS, ES, SS, Segment};
use x86_64::instructions::tables::{lidt, load_tss};
use x86_64::registers::control::{Efer, EferFlags};
use x86_64::registers::model_specific::{LStar, SFMask, Star};
use x86_64::registers::rflags::RFlags;
use x86_64::structures::DescriptorTablePointer;
use x86_64::structures::gdt::{Descriptor, GlobalDescriptorTable, SegmentSelector};
use x86_64::structures::tss::TaskStateSegment;

use super::trap;
use crate::backtrace;
use nimbos::layout::PAGE_LEN;

/// Code segment of programs.
pub const USER_CODE: u16 = 0x23;
/// Stack and data segment of programs.
pub const USER_DATA: u16 = 0x1b;

const STACK_LEN: usize = 32 << 10;
const VECTORS: usize = 256;
const DOUBLE_FAULT: usize = 8;
const NMI: usize = 2;

/// Places in the interrupt stack table: one for each kind that may interrupt another.
const IST_ORDINARY: usize = 0;
const IST_NMI: usize = 1;
const IST_DOUBLE_FAULT: usize = 2;

/// What a program cannot hand to the kernel's code by SYSCALL.
const CLEARED_BY_SYSCALL: RFlags = RFlags::INTERRUPT_FLAG
    .union(RFlags::DIRECTION_FLAG)
    .union(RFlags::TRAP_FLAG)
    .union(RFlags::ALIGNMENT_CHECK)
    .union(RFlags::NESTED_TASK)
    .union(RFlags::IOPL_LOW)
    .union(RFlags::IOPL_HIGH);

/// A stack that no Rust code refers to: only the stack pointer does.
#[repr(C, align(4096))]
pub struct Stack<const N: usize>(UnsafeCell<[u8; N]>);

// SAFETY: nothing accesses the cell's content through the static.
unsafe impl<const N: usize> Sync for Stack<N> {}

impl<const N: usize> Stack<N> {
    const fn new() -> Self {
        Self(UnsafeCell::new([0; N]))
    }

    fn top(&self) -> VirtAddr {
        VirtAddr::from_ptr(self) + N as u64
    }

    /// Lets backtraces read the stack but for its lowest bytes, which are not mapped.
    fn announce(&'static self, rank: u8, unmapped: u64) {
        let start = VirtAddr::from_ptr(self).as_u64() + unmapped;
        // SAFETY: the stack is part of the image, which stays mapped.
        unsafe { backtrace::add_stack(rank, start, self.top().as_u64()) };
    }
}

/// The kernel's stack.
pub type KernelStack = Stack<{ 64 << 10 }>;
/// The kernel's stack; its lowest page is not mapped, see [`guard_page`].
pub static KERNEL_STACK: KernelStack = Stack::new();

static TRAP_STACKS: [Stack<STACK_LEN>; 3] = [const { Stack::new() }; 3];

static TASK_STATE: Once<TaskStateSegment> = Once::new();
static SEGMENTS: Once<GlobalDescriptorTable> = Once::new();
static GATES: Once<Gates> = Once::new();

/// An interrupt descriptor table.
#[repr(C, align(16))]
struct Gates([u128; VECTORS]);

/// Returns the address of the lowest page of the kernel's stack, which stays without mapping.
pub fn guard_page() -> u64 {
    VirtAddr::from_ptr(&KERNEL_STACK).as_u64()
}

/// Loads all tables and sets SYSCALL up.
pub fn init() {
    KERNEL_STACK.announce(backtrace::ORDINARY, PAGE_LEN);
    for (stack, rank) in TRAP_STACKS.iter().zip(backtrace::ORDINARY + 1..) {
        stack.announce(rank, 0);
    }
    let task_state = TASK_STATE.call_once(|| {
        let mut state = TaskStateSegment::new();
        for place in [IST_ORDINARY, IST_NMI, IST_DOUBLE_FAULT] {
            state.interrupt_stack_table[place] = TRAP_STACKS[place].top();
        }
        state
    });
    let mut table = GlobalDescriptorTable::new();
    let kernel_code = table.append(Descriptor::kernel_code_segment());
    let kernel_data = table.append(Descriptor::kernel_data_segment());
    let user_data = table.append(Descriptor::user_data_segment());
    let user_code = table.append(Descriptor::user_code_segment());
    let task = table.append(Descriptor::tss_segment(task_state));
    assert_eq!((user_code.0, user_data.0), (USER_CODE, USER_DATA));
    SEGMENTS.call_once(|| table).load();
    // SAFETY: the selectors name flat segments of the table just loaded; the task state lives for ever.
    unsafe {
        CS::set_reg(kernel_code);
        SS::set_reg(kernel_data);
        DS::set_reg(SegmentSelector(0));
        ES::set_reg(SegmentSelector(0));
        load_tss(task);
    }
    load_gates(kernel_code);
    Star::write(user_code, user_data, kernel_code, kernel_data)
        .expect("the segments are in the order of SYSCALL");
    // SAFETY: SYSCALL's registers are set before a program can execute it.
    unsafe { Efer::update(|flags| flags.insert(EferFlags::SYSTEM_CALL_EXTENSIONS)) };
    LStar::write(VirtAddr::new(trap::syscall_address()));
    SFMask::write(CLEARED_BY_SYSCALL);
}

fn load_gates(code: SegmentSelector) {
    let gates = GATES.call_once(|| {
        let mut gates = Gates([0; VECTORS]);
        for (vector, gate) in gates.0.iter_mut().enumerate() {
            let stack = match vector {
                NMI => IST_NMI,
                DOUBLE_FAULT => IST_DOUBLE_FAULT,
                _ => IST_ORDINARY,
            };
            *gate = interrupt_gate(code, trap::stub_address(vector), stack);
        }
        gates
    });
    let pointer = DescriptorTablePointer {
        base: VirtAddr::from_ptr(gates),
        limit: (size_of::<Gates>() - 1) as u16,
    };
    // SAFETY: the table lives for ever and each gate leads to a stub.
    unsafe { lidt(&pointer) };
}

/// Returns a present interrupt gate of DPL 0. (SDM 3A, "64-Bit Mode IDT")
fn interrupt_gate(code: SegmentSelector, stub: u64, stack: usize) -> u128 {
    const PRESENT_INTERRUPT_GATE: u64 = 0x8e << 40;
    let low = stub & 0xffff
        | u64::from(code.0) << 16
        | (stack as u64 + 1) << 32
        | PRESENT_INTERRUPT_GATE
        | (stub >> 16 & 0xffff) << 48;
    u128::from(low) | u128::from(stub >> 32) << 64
}
