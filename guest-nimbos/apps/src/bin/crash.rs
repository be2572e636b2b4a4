// SPDX-License-Identifier: MIT OR Apache-2.0
//! Faults in a way that its argument names, at the end of a chain of calls that is known: [`main`], [`outer`], [`middle`],
//! [`inner`].
#![no_std]
#![no_main]
#![expect(unsafe_code, reason = "does what a program must not do")]

use core::arch::asm;
use core::hint::black_box;

use freestanding as _;
use nimbos_apps::{Arguments, entry, eprint};

entry!(main);

/// Where programs have no memory, and the kernel has.
const FOREIGN: u64 = 0x4210_0000;

#[inline(never)]
fn main(arguments: Arguments) -> i32 {
    let way = arguments.get(1).unwrap_or("");
    eprint!("crash: {way}\n");
    outer(way)
}

#[inline(never)]
fn outer(way: &str) -> i32 {
    black_box(middle(way)) + 1
}

#[inline(never)]
fn middle(way: &str) -> i32 {
    black_box(inner(way)) + 1
}

#[inline(never)]
fn inner(way: &str) -> i32 {
    // SAFETY: whatever happens, the program ends here: there is nothing that could be unsound afterwards. RBX, a register
    // that is looked for in the report, is not restored.
    unsafe {
        match way {
            "read" => {
                asm!("mov rbx, {mark}", "mov rax, [0x10]", "ud2", mark = const 0x1234_5678, options(noreturn))
            }
            "call" => asm!("xor eax, eax", "call rax", "ud2", options(noreturn)),
            "circle" => asm!("mov [rbp], rbp", "ud2", options(noreturn)),
            "foreign" => asm!("mov rbp, {}", "ud2", in(reg) FOREIGN, options(noreturn)),
            "unaligned" => asm!("inc rbp", "ud2", options(noreturn)),
            _ => eprint!("crash: there is no such way\n"),
        }
    }
    1
}
