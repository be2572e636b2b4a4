//! What a program without an operating system must bring along on plain stable Rust: the memory functions that
//! the compiler calls, and the unwinder's symbols that the precompiled `core` names.
//!
//! Only freestanding *binaries* may link this (`use freestanding as _;`): its symbols would clash with libc's.
#![no_std]
#![expect(
    unsafe_code,
    reason = "the compiler calls these functions with raw pointers"
)]

use core::arch::asm;

/// Copies `n` bytes from `src` to `dst`. (C11 7.24.2.1)
///
/// # Safety
/// Both ranges are valid for `n` bytes and do not overlap.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memcpy(dst: *mut u8, src: *const u8, n: usize) -> *mut u8 {
    // SAFETY: the caller vouches for both ranges; the ABI keeps DF clear. In assembly, because the compiler
    // would turn a loop into a call of this very function.
    unsafe {
        asm!("rep movsb", inout("rdi") dst => _, inout("rsi") src => _, inout("rcx") n => _,
            options(nostack, preserves_flags));
    }
    dst
}

/// Copies `n` bytes between ranges that may overlap. (C11 7.24.2.2)
///
/// # Safety
/// Both ranges are valid for `n` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memmove(dst: *mut u8, src: *const u8, n: usize) -> *mut u8 {
    if dst.addr().wrapping_sub(src.addr()) >= n {
        // SAFETY: `dst` does not start inside the source, so an ascending copy reads each byte before it writes it.
        return unsafe { memcpy(dst, src, n) };
    }
    // SAFETY: the caller vouches for both ranges; `dst` starts inside the source, so the copy descends. DF is
    // cleared again before the block ends.
    unsafe {
        asm!("std", "rep movsb", "cld",
            inout("rdi") dst.wrapping_add(n).wrapping_sub(1) => _,
            inout("rsi") src.wrapping_add(n).wrapping_sub(1) => _,
            inout("rcx") n => _, options(nostack));
    }
    dst
}

/// Fills `n` bytes with `c`. (C11 7.24.6.1)
///
/// # Safety
/// The range is valid for `n` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memset(dst: *mut u8, c: i32, n: usize) -> *mut u8 {
    // SAFETY: the caller vouches for the range; the ABI keeps DF clear.
    unsafe {
        asm!("rep stosb", inout("rdi") dst => _, in("al") c.to_le_bytes()[0], inout("rcx") n => _,
            options(nostack, preserves_flags));
    }
    dst
}

/// Compares `n` bytes. (C11 7.24.4.1)
///
/// # Safety
/// Both ranges are valid for `n` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, n: usize) -> i32 {
    for i in 0..n {
        // SAFETY: `i < n`, and the caller vouches for both ranges. Volatile, so that the loop stays a loop.
        let (x, y) = unsafe { (a.add(i).read_volatile(), b.add(i).read_volatile()) };
        if x != y {
            return i32::from(x) - i32::from(y);
        }
    }
    0
}

/// Tells whether `n` bytes differ; the compiler prefers it to [`memcmp`].
///
/// # Safety
/// Both ranges are valid for `n` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, n: usize) -> i32 {
    // SAFETY: the same contract.
    unsafe { memcmp(a, b, n) }
}

/// The precompiled `core` names it; with `panic = "abort"` nothing calls it.
#[unsafe(no_mangle)]
pub extern "C" fn rust_eh_personality() {}

/// The precompiled `alloc` names it; with `panic = "abort"` nothing calls it.
#[allow(non_snake_case)]
#[unsafe(no_mangle)]
pub extern "C" fn _Unwind_Resume() -> ! {
    loop {
        core::hint::spin_loop();
    }
}
