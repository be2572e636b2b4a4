//! Backtraces of the hypervisor: its code, its stacks, and the names that the boot loader brought along.
//!
//! Everything is filled in at start-up and read when the hypervisor has failed, perhaps on several CPUs at once:
//! atomics, and values that are set once. Nothing is locked.
#![expect(unsafe_code, reason = "reads stacks")]

use core::arch::asm;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use ::backtrace::{Memory, Start, Symbols};
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
static STACKS: [Stack; MAX_STACKS] = [const { Stack::new() }; MAX_STACKS];
static STACK_COUNT: AtomicUsize = AtomicUsize::new(0);

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

/// A stack: its use and first address, and the address behind it, 0 before it is known.
struct Stack {
    rank: AtomicU64,
    start: AtomicU64,
    end: AtomicU64,
}

impl Stack {
    const fn new() -> Self {
        Self {
            rank: AtomicU64::new(0),
            start: AtomicU64::new(0),
            end: AtomicU64::new(0),
        }
    }

    fn holds_word(&self, address: u64) -> bool {
        // The end is written last.
        let end = self.end.load(Ordering::Acquire);
        let start = self.start.load(Ordering::Relaxed);
        start <= address && address.checked_add(8).is_some_and(|behind| behind <= end)
    }
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
    if let Some(stack) = STACKS.get(STACK_COUNT.fetch_add(1, Ordering::Relaxed)) {
        stack.rank.store(purpose as u64, Ordering::Relaxed);
        stack.start.store(range.base, Ordering::Relaxed);
        stack.end.store(range.end(), Ordering::Release);
    }
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
        let stack = STACKS.iter().find(|stack| stack.holds_word(address))?;
        u8::try_from(stack.rank.load(Ordering::Relaxed)).ok()
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
