// SPDX-License-Identifier: MIT OR Apache-2.0
//! Copying and clearing memory that others may change meanwhile, and whole pages.
//!
//! A program's memory can be written by its threads on other CPUs, a channel's by the other cell, at any time. What Rust's own
//! copies presume does not hold there; an instruction presumes nothing.

use core::arch::asm;

const WORD: usize = 8;

/// Copies `len` bytes.
///
/// # Safety
/// Both ranges are mapped, `to` may be written, and no Rust reference to either says that it does not change. They do not
/// overlap.
pub unsafe fn copy(to: *mut u8, from: *const u8, len: usize) {
    // SAFETY: the caller vouches for the ranges; DF is clear in Rust code.
    unsafe {
        asm!(
            "rep movsq",
            "mov ecx, {rest:e}",
            "rep movsb",
            rest = in(reg) len % WORD,
            inout("rcx") len / WORD => _,
            inout("rdi") to => _,
            inout("rsi") from => _,
            options(nostack, preserves_flags),
        );
    }
}

/// Fills `words` words with zeroes.
///
/// # Safety
/// As for the destination of [`copy`].
pub unsafe fn clear(to: *mut u8, words: usize) {
    // SAFETY: the caller vouches for the range; DF is clear in Rust code.
    unsafe {
        asm!("rep stosq", inout("rcx") words => _, inout("rdi") to => _, in("rax") 0,
            options(nostack, preserves_flags));
    }
}
