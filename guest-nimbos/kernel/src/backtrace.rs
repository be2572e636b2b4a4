// SPDX-License-Identifier: MIT OR Apache-2.0
//! Backtraces of the kernel: its code, its stacks, its names.
#![expect(unsafe_code, reason = "reads stacks")]

use core::arch::asm;

use backtrace::{Memory, Stacks, Start, Symbols};
use nimbos::symbols;
use spin::Once;

use crate::arch::image;
use crate::boot::Boot;
use crate::memory;

/// Rank of a CPU's ordinary stack.
pub const ORDINARY: u8 = 0;
/// Most stacks of all CPUs.
const MAX_STACKS: usize = 4 * 32;

static STACKS: Stacks<MAX_STACKS> = Stacks::new();
static ARCHIVE: Once<&'static [u8]> = Once::new();

/// Remembers where the names are.
pub fn init(boot: &Boot) {
    if let Some(archive) = memory::archive(boot) {
        ARCHIVE.call_once(|| archive);
    }
}

/// Says where a stack is. A chain leads from a stack of a higher rank only to those of lower ranks, whose code was
/// interrupted.
///
/// # Safety
/// `start..end` is readable memory from now on, for ever.
pub unsafe fn add_stack(rank: u8, start: u64, end: u64) {
    STACKS.add(rank, start, end);
}

/// Prints the functions that led here, innermost first.
#[inline(always)]
pub fn backtrace() {
    let (rip, rsp, rbp);
    // SAFETY: reads registers only.
    unsafe {
        asm!("lea {}, [rip]", "mov {}, rsp", "mov {}, rbp", out(reg) rip, out(reg) rsp, out(reg) rbp,
            options(nomem, nostack, preserves_flags));
    }
    backtrace_from(Start { rip, rsp, rbp });
}

/// Prints the functions that led to an instruction of the kernel.
#[inline(never)]
pub fn backtrace_from(start: Start) {
    let symbols = ARCHIVE
        .get()
        .and_then(|archive| symbols::of_kernel(archive, image::start(), image::code()));
    backtrace::print(
        start,
        &OwnMemory,
        symbols.unwrap_or(Symbols::NONE),
        |line| say!("{line}"),
    );
}

/// The kernel's own code and stacks.
struct OwnMemory;

impl Memory for OwnMemory {
    fn rank(&self, address: u64) -> Option<u8> {
        STACKS.rank(address)
    }

    fn read(&self, address: u64) -> Option<u64> {
        let word = core::ptr::with_exposed_provenance::<u64>(address as usize);
        if self.rank(address).is_none() || !word.is_aligned() {
            return None;
        }
        // SAFETY: `add_stack`'s callers vouched for the memory. It may be in use: volatile, and any value will do.
        Some(unsafe { word.read_volatile() })
    }

    fn is_code(&self, address: u64) -> bool {
        (image::start()..image::constants()).contains(&address)
    }
}
