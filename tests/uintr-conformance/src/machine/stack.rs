// SPDX-License-Identifier: MIT OR Apache-2.0
//! Stacks.

use core::cell::UnsafeCell;

/// Length of a stack of CPL 0 in bytes.
pub const KERNEL_STACK_LEN: usize = 256 << 10;

/// A stack that no Rust code refers to: only the stack pointer does.
#[repr(C, align(4096))]
pub struct Stack<const N: usize>(UnsafeCell<[u8; N]>);

// SAFETY: nothing accesses the content through the static.
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
