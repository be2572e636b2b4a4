//! Backtraces of the hypervisor: its code, its stacks, and the names that the boot loader brought along.
//!
//! Everything is filled in at start-up and read when the hypervisor has failed, perhaps on several CPUs at once:
//! atomics, and values that are set once. Nothing is locked.
#![expect(unsafe_code, reason = "reads stacks")]

use core::arch::asm;

use ::backtrace::{Memory, Stacks, Start, Symbols};
use log::error;
use spin::{Mutex, MutexGuard, Once};

use crate::cpu::MAX_CPUS;
use crate::loader::Range;

/// Bytes for symbol table and names. Those of today's hypervisor take half of it.
const SYMBOL_BYTES: usize = 256 << 10;
/// Stacks of a CPU: ordinary, NMI, exception. The boot CPU has early ones besides.
const MAX_STACKS: usize = 3 * (MAX_CPUS + 1);

static CODE: Once<Range> = Once::new();
static SYMBOLS: Once<Symbols<'static>> = Once::new();
/// What [`SYMBOLS`] refers to: the loader's copy lies in memory that will be a cell's.
static SYMBOL_MEMORY: Mutex<[u8; SYMBOL_BYTES]> = Mutex::new([0; SYMBOL_BYTES]);
static STACKS: Stacks<MAX_STACKS> = Stacks::new();

/// What a stack is for. A chain leads from each one only to those before it, whose code was interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum StackUse {
    /// A CPU's ordinary code.
    Ordinary = 0,
    /// Its NMI handler.
    Nmi = 1,
    /// Its handler of exceptions.
    Exception = 2,
}

/// Says where the hypervisor's code is; once.
pub fn set_code(code: Range) {
    CODE.call_once(|| code);
}

/// Says where a stack is. Beyond the number that all CPUs can have, it is forgotten.
///
/// # Safety
/// The range is readable memory from now on, for good.
pub unsafe fn add_stack(purpose: StackUse, range: Range) {
    STACKS.add(purpose as u8, range.base, range.end());
}

/// Returns memory for a symbol table and its names, or `None` if there is not so much, or if it was taken before.
pub fn symbol_memory(
    table_len: u64,
    names_len: u64,
) -> Option<(&'static mut [u8], &'static mut [u8])> {
    let (table_len, names_len) = (
        usize::try_from(table_len).ok()?,
        usize::try_from(names_len).ok()?,
    );
    let memory = MutexGuard::leak(SYMBOL_MEMORY.try_lock()?);
    let (table, rest) = memory.split_at_mut_checked(table_len)?;
    Some((table, rest.get_mut(..names_len)?))
}

/// Takes a symbol table and its names for all backtraces from now on; once.
pub fn set_symbols(table: &'static [u8], names: &'static [u8]) {
    SYMBOLS.call_once(|| Symbols::from_sections(table, names));
}

/// Prints the functions that led here to the log, innermost first.
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

/// Prints the functions that led to an instruction.
#[inline(never)]
pub fn backtrace_from(start: Start) {
    let symbols = SYMBOLS.get().copied().unwrap_or(Symbols::NONE);
    ::backtrace::print(start, &OwnMemory, symbols, |line| error!("{line}"));
}

/// The hypervisor's own code and stacks.
struct OwnMemory;

impl Memory for OwnMemory {
    fn rank(&self, address: u64) -> Option<u8> {
        STACKS.rank(address)
    }

    fn read(&self, address: u64) -> Option<u64> {
        let word = core::ptr::with_exposed_provenance::<u64>(usize::try_from(address).ok()?);
        if self.rank(address).is_none() || !word.is_aligned() {
            return None;
        }
        // SAFETY: `add_stack`'s callers vouched for the memory. It may be in use: volatile, and any value will do.
        Some(unsafe { word.read_volatile() })
    }

    fn is_code(&self, address: u64) -> bool {
        CODE.get().is_some_and(|code| code.holds(address))
    }
}
