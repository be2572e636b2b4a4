// SPDX-License-Identifier: MIT OR Apache-2.0
//! User-interrupt handlers of tasks ([`super::task`]), and what they write down.
//!
//! Two kinds: [`TALLIES`] count what came, one handler for each task, and fault when they run in another task or while
//! user interrupts are disabled, by the task or because one of them runs already; [`log`] keeps the frames.

use core::arch::naked_asm;
use core::sync::atomic::{AtomicU64, Ordering};

use super::task::{CALL_VECTOR, CURRENT, MAX_TASKS};

/// User vectors.
const VECTORS: u64 = 64;
/// Rounds that a handler stays, so that it is interrupted now and then.
const LINGER: u64 = 16;
/// Frames that the log keeps.
const LOG_LEN: u64 = 64;
/// Words of a frame in the log.
const LOG_WORDS: usize = 5;
/// The number with which [`log`] calls the kernel.
pub const IN_HANDLER: u64 = 0x1f;

/// Address of the counters: a row of [`VECTORS`] for each task.
static COUNTERS: AtomicU64 = AtomicU64::new(0);
/// Whether user interrupts are disabled, for each task.
static CLOSED: [AtomicU64; MAX_TASKS] = [const { AtomicU64::new(0) }; MAX_TASKS];

static LOG: [[AtomicU64; LOG_WORDS]; LOG_LEN as usize] =
    [const { [const { AtomicU64::new(0) }; LOG_WORDS] }; LOG_LEN as usize];
static LOGGED: AtomicU64 = AtomicU64::new(0);
static LOG_CALLS: AtomicU64 = AtomicU64::new(0);

/// The handlers that count, by task.
pub const TALLIES: [unsafe extern "C" fn() -> !; MAX_TASKS] =
    [tally::<0>, tally::<1>, tally::<2>, tally::<3>];

/// What the processor pushed for a handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// RSP in the handler's first instruction.
    pub rsp: u64,
    /// User vector.
    pub vector: u64,
    /// RIP of what was interrupted.
    pub rip: u64,
    /// Its RFLAGS.
    pub rflags: u64,
    /// Its RSP.
    pub old_rsp: u64,
}

/// Says where [`TALLIES`] count: word `64 * task + vector` for each.
pub fn count_in(counters: &'static [AtomicU64]) {
    assert!(
        counters.len() >= MAX_TASKS * VECTORS as usize,
        "too few counters"
    );
    COUNTERS.store(counters.as_ptr().addr() as u64, Ordering::SeqCst);
}

/// Says that a task takes no user interrupts from now on, or takes them again. Called while UIF is 0.
pub fn set_closed(task: usize, closed: bool) {
    CLOSED[task].store(closed.into(), Ordering::SeqCst);
}

/// Returns how many frames [`log`] has kept.
pub fn logged() -> u64 {
    LOGGED.load(Ordering::SeqCst)
}

/// Returns frame number `index`, of the last [`LOG_LEN`].
pub fn delivery(index: u64) -> Delivery {
    let words = &LOG[(index % LOG_LEN) as usize];
    let [rsp, vector, rip, rflags, old_rsp] =
        core::array::from_fn(|word| words[word].load(Ordering::SeqCst));
    Delivery {
        rsp,
        vector,
        rip,
        rflags,
        old_rsp,
    }
}

/// Lets [`log`] call the kernel before it returns, with [`IN_HANDLER`], or not.
pub fn call_in_handler(calls: bool) {
    LOG_CALLS.store(calls.into(), Ordering::SeqCst);
}

/// Counts the vector for task `TASK`.
#[unsafe(naked)]
unsafe extern "C" fn tally<const TASK: usize>() -> ! {
    naked_asm!(
        "push rax",
        "push rcx",
        "push rdx",
        "cmp qword ptr [rip + {current}], {task}",
        "jne 3f",
        "cmp qword ptr [rip + {closed} + 8 * {task}], 0",
        "jne 3f",
        "mov qword ptr [rip + {closed} + 8 * {task}], 1",
        "mov rax, [rsp + 24]",
        "cmp rax, {vectors}",
        "jae 3f",
        "mov rdx, [rip + {counters}]",
        "inc qword ptr [rdx + 8 * rax + 8 * {vectors} * {task}]",
        "mov ecx, {linger}",
        "2:",
        "dec ecx",
        "jnz 2b",
        "mov qword ptr [rip + {closed} + 8 * {task}], 0",
        "pop rdx",
        "pop rcx",
        "pop rax",
        "add rsp, 8",
        "uiret",
        // Not this task's, or not now.
        "3:",
        "ud2",
        current = sym CURRENT,
        task = const TASK,
        closed = sym CLOSED,
        vectors = const VECTORS,
        counters = sym COUNTERS,
        linger = const LINGER,
    )
}

/// Keeps the frame.
#[unsafe(naked)]
pub unsafe extern "C" fn log() -> ! {
    naked_asm!(
        "inc qword ptr [rip + {logged}]",
        "push rax",
        "push rcx",
        "push rdx",
        "mov rcx, [rip + {logged}]",
        "dec ecx",
        "and ecx, {mask}",
        "imul ecx, ecx, {frame_len}",
        "lea rdx, [rip + {log}]",
        "add rdx, rcx",
        "lea rax, [rsp + 24]",
        "mov [rdx], rax",
        "mov rax, [rsp + 24]",
        "mov [rdx + 8], rax",
        "mov rax, [rsp + 32]",
        "mov [rdx + 16], rax",
        "mov rax, [rsp + 40]",
        "mov [rdx + 24], rax",
        "mov rax, [rsp + 48]",
        "mov [rdx + 32], rax",
        "cmp qword ptr [rip + {calls}], 0",
        "je 2f",
        "mov eax, {in_handler}",
        "int {call_vector}",
        "2:",
        "pop rdx",
        "pop rcx",
        "pop rax",
        "add rsp, 8",
        "uiret",
        logged = sym LOGGED,
        mask = const LOG_LEN - 1,
        frame_len = const 8 * LOG_WORDS,
        log = sym LOG,
        calls = sym LOG_CALLS,
        in_handler = const IN_HANDLER,
        call_vector = const CALL_VECTOR,
    )
}
