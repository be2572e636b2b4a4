// SPDX-License-Identifier: MIT OR Apache-2.0
//! Segments, the task state with its stacks, and the interrupt gates.
//!
//! Every gate has a stack of its own (IST): compiled code has a red zone below its stack pointer, which an interrupt
//! on the same stack would overwrite. (System V ABI, "The Stack Frame")

use core::cell::UnsafeCell;

use nimbos::layout::PAGE_LEN;
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

use super::per_cpu::MAX_CPUS;
use super::trap;
use crate::backtrace;
use crate::memory::Pages;

/// Code segment of programs.
pub const USER_CODE: u16 = 0x23;
/// Stack and data segment of programs.
pub const USER_DATA: u16 = 0x1b;

const VECTORS: usize = 256;
const DOUBLE_FAULT: usize = 8;
const NMI: usize = 2;

/// Places in the interrupt stack table: one for each kind that may interrupt another.
const IST_ORDINARY: usize = 0;
const IST_NMI: usize = 1;
const IST_DOUBLE_FAULT: usize = 2;
const TRAP_STACKS: usize = 3;

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
        // SAFETY: the stack is there for ever, and mapped but for those bytes.
        unsafe { backtrace::add_stack(rank, start, self.top().as_u64()) };
    }
}

/// The stacks of one CPU, in an order in which running over the end of the kernel's hits the page without mapping.
#[repr(C)]
pub struct CpuStacks {
    kernel: Stack<KERNEL_STACK_LEN>,
    traps: [Stack<{ 16 << 10 }>; TRAP_STACKS],
}

/// The boot CPU's stacks; those of the others are made when they start.
pub static BOOT_STACKS: CpuStacks = CpuStacks::new();
/// Distance from the address of a CPU's stacks to the top of the kernel's.
pub const KERNEL_STACK_LEN: usize = 64 << 10;

static TASK_STATES: [Once<TaskStateSegment>; MAX_CPUS] = [const { Once::new() }; MAX_CPUS];
static SEGMENTS: [Once<GlobalDescriptorTable>; MAX_CPUS] = [const { Once::new() }; MAX_CPUS];
static GATES: Once<Gates> = Once::new();

impl CpuStacks {
    /// Returns stacks on which nothing is.
    pub const fn new() -> Self {
        Self {
            kernel: Stack::new(),
            traps: [const { Stack::new() }; TRAP_STACKS],
        }
    }

    /// Lets backtraces read the stacks: those of traps lead to the kernel's, not the other way.
    fn announce(&'static self) {
        self.kernel.announce(backtrace::ORDINARY, PAGE_LEN);
        for (stack, rank) in self.traps.iter().zip(backtrace::ORDINARY + 1..) {
            stack.announce(rank, 0);
        }
    }

    /// Makes stacks of memory that is never given back, or returns `None` if there is none.
    pub fn allocate() -> Option<&'static Self> {
        let pages = Pages::allocate(size_of::<Self>() / PAGE_LEN as usize)?;
        let address = pages.pointer();
        pages.leak();
        // SAFETY: the pages are large enough, aligned and nobody's any more; every content is a stack.
        Some(unsafe { &*address.cast() })
    }

    /// Returns the address of the lowest page of the kernel's stack, which stays without mapping.
    pub fn guard_page(&self) -> u64 {
        VirtAddr::from_ptr(&self.kernel).as_u64()
    }

    /// Returns the top of the kernel's stack.
    pub fn kernel_top(&self) -> u64 {
        self.kernel.top().as_u64()
    }
}

/// An interrupt descriptor table.
#[repr(C, align(16))]
struct Gates([u128; VECTORS]);

/// Loads all tables of the CPU `cpu`, once, and sets SYSCALL up.
///
/// # Panics
/// If `cpu` is not below [`MAX_CPUS`].
pub fn init(cpu: usize, stacks: &'static CpuStacks) {
    stacks.announce();
    let task_state = TASK_STATES[cpu].call_once(|| {
        let mut state = TaskStateSegment::new();
        for place in [IST_ORDINARY, IST_NMI, IST_DOUBLE_FAULT] {
            state.interrupt_stack_table[place] = stacks.traps[place].top();
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
    SEGMENTS[cpu].call_once(|| table).load();
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
