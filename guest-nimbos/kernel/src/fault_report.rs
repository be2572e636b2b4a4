// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is said of a program that the kernel ended for a fault: its registers, and the functions that led there.

use backtrace::{Memory, Start, Symbols};

use crate::arch::trap::{Exception, UserContext};
use crate::interrupts;
use crate::user_space::UserSpace;

/// Registers on a line.
const ON_A_LINE: usize = 4;

/// Prints why the process `id` ends. `program`: its file, if the kernel has it.
pub fn print(
    id: u32,
    exception: &Exception,
    context: &UserContext,
    space: &UserSpace,
    program: Option<&[u8]>,
) {
    let Exception {
        vector,
        error_code,
        rip,
        rsp,
        address,
    } = exception;
    let name = interrupts::exception_name(*vector);
    match address {
        Some(address) => say!(
            "process {id} killed: {name} at {address:#x}, error code {error_code:#x}, rip {rip:#x}, rsp {rsp:#x}"
        ),
        None => say!(
            "process {id} killed: {name}, error code {error_code:#x}, rip {rip:#x}, rsp {rsp:#x}"
        ),
    }
    let registers = context.named_registers();
    for line in registers.chunks_exact(ON_A_LINE) {
        let [(a, w), (b, x), (c, y), (d, z)] = *line else {
            unreachable!("lines have four registers");
        };
        say!("{a:>6} {w:016x} {b:>6} {x:016x} {c:>6} {y:016x} {d:>6} {z:016x}");
    }
    let start = Start {
        rip: *rip,
        rsp: *rsp,
        rbp: context.frame_pointer(),
    };
    let symbols = program.and_then(Symbols::from_elf).unwrap_or(Symbols::NONE);
    backtrace::print(start, &ProgramMemory(space), symbols, |line| say!("{line}"));
}

/// A program's memory: all that it may read may be its stack.
struct ProgramMemory<'a>(&'a UserSpace);

impl Memory for ProgramMemory<'_> {
    fn rank(&self, address: u64) -> Option<u8> {
        self.0.word(address).map(|_| 0)
    }

    fn read(&self, address: u64) -> Option<u64> {
        self.0.word(address)
    }

    fn is_code(&self, address: u64) -> bool {
        self.0.is_code(address)
    }
}
