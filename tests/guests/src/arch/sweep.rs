// SPDX-License-Identifier: MIT OR Apache-2.0
//! MSRs and ports by number, for [`super::probe::raised_with`]: what they raise is a value.

use core::arch::asm;
use core::cell::Cell;

use super::probe::{Raised, raised_with};

/// What a probe works on; only the probe refers to it while it runs.
struct Access {
    number: u32,
    value: Cell<u64>,
}

/// Width of a port access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// 1 byte.
    Byte,
    /// 2 bytes.
    Word,
    /// 4 bytes.
    Dword,
}

impl Width {
    /// All widths.
    pub const ALL: [Self; 3] = [Self::Byte, Self::Word, Self::Dword];

    /// Returns the width in bytes.
    pub fn bytes(self) -> u32 {
        1 << self as u32
    }

    /// Returns what an absent port reads as.
    pub fn absent(self) -> u32 {
        u32::MAX >> (32 - 8 * self.bytes())
    }
}

/// Reads an MSR.
pub fn read_msr(number: u32) -> Result<u64, Raised> {
    reading(rdmsr, number)
}

/// Writes an MSR.
pub fn write_msr(number: u32, value: u64) -> Raised {
    run(wrmsr, &Access::new(number, value))
}

/// Reads XCR `number`; CR4.OSXSAVE is set.
pub fn read_xcr(number: u32) -> Result<u64, Raised> {
    reading(xgetbv, number)
}

/// Writes XCR `number`.
pub fn write_xcr(number: u32, value: u64) -> Raised {
    run(xsetbv, &Access::new(number, value))
}

/// Reads a port.
pub fn read_port(port: u16, width: Width) -> Result<u32, Raised> {
    let probe = match width {
        Width::Byte => in_byte,
        Width::Word => in_word,
        Width::Dword => in_dword,
    };
    reading(probe, u32::from(port)).map(|value| (value & 0xffff_ffff) as u32)
}

/// Writes a port.
pub fn write_port(port: u16, width: Width, value: u32) -> Raised {
    let probe = match width {
        Width::Byte => out_byte,
        Width::Word => out_word,
        Width::Dword => out_dword,
    };
    run(probe, &Access::new(u32::from(port), u64::from(value)))
}

impl Access {
    fn new(number: u32, value: u64) -> Self {
        Self {
            number,
            value: Cell::new(value),
        }
    }
}

fn reading(probe: extern "C" fn(u64), number: u32) -> Result<u64, Raised> {
    let access = Access::new(number, 0);
    match run(probe, &access) {
        Raised::Nothing => Ok(access.value.get()),
        raised => Err(raised),
    }
}

fn run(probe: extern "C" fn(u64), access: &Access) -> Raised {
    raised_with(probe, (&raw const *access).expose_provenance() as u64)
}

/// Returns what a probe was called with.
fn given<'a>(argument: u64) -> &'a Access {
    // SAFETY: `run` passes a reference that outlives the call.
    unsafe { &*core::ptr::with_exposed_provenance(argument as usize) }
}

/// Defines a probe that executes one instruction on ECX or EDX and EDX:EAX.
macro_rules! probe {
    ($name:ident, wide $instruction:literal) => {
        extern "C" fn $name(argument: u64) {
            let access = given(argument);
            let (mut low, mut high) = (access.value.get(), access.value.get() >> 32);
            // SAFETY: what it does to this CPU is what the test wants, which restores what it needs.
            unsafe {
                asm!($instruction, in("ecx") access.number, inout("rax") low, inout("rdx") high,
                    options(nostack));
            }
            access.value.set(high << 32 | low & 0xffff_ffff);
        }
    };
    ($name:ident, port $instruction:literal) => {
        extern "C" fn $name(argument: u64) {
            let access = given(argument);
            let mut value = access.value.get();
            // SAFETY: no port that this cell reaches touches memory.
            unsafe {
                asm!($instruction, in("edx") access.number, inout("rax") value, options(nostack));
            }
            access.value.set(value);
        }
    };
}

probe!(rdmsr, wide "rdmsr");
probe!(wrmsr, wide "wrmsr");
probe!(xgetbv, wide "xgetbv");
probe!(xsetbv, wide "xsetbv");
probe!(in_byte, port "in al, dx");
probe!(in_word, port "in ax, dx");
probe!(in_dword, port "in eax, dx");
probe!(out_byte, port "out dx, al");
probe!(out_word, port "out dx, ax");
probe!(out_dword, port "out dx, eax");
