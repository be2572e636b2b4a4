// SPDX-License-Identifier: MIT OR Apache-2.0
//! The user-interrupt handler: counts its vector, and faults where it may not run.
#![expect(unsafe_code, reason = "user interrupts")]

use std::arch::naked_asm;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use uintr::instructions;

/// Rounds that it stays, so that it is interrupted now and then.
const LINGER: u64 = 64;

static COUNTERS: AtomicU64 = AtomicU64::new(0);
/// Whether the handler may not run.
static CLOSED: AtomicU64 = AtomicU64::new(1);
/// Whether it kills its process.
static DIES: AtomicU64 = AtomicU64::new(0);

/// The handler. `ud2` ends the process with SIGILL, which the test sees. 39 is getpid, 62 kill, 9 SIGKILL.
#[unsafe(naked)]
unsafe extern "C" fn on_user_interrupt() -> ! {
    naked_asm!(
        "endbr64",
        "push rax",
        "push rcx",
        "push rdx",
        "cmp qword ptr [rip + {closed}], 0",
        "jne 3f",
        "mov rax, [rsp + 24]",
        "cmp rax, 64",
        "jae 3f",
        "mov qword ptr [rip + {closed}], 1",
        "mov rdx, [rip + {counters}]",
        "inc qword ptr [rdx + 8 * rax]",
        "cmp qword ptr [rip + {dies}], 0",
        "jne 4f",
        "mov ecx, {linger}",
        "2:",
        "dec ecx",
        "jnz 2b",
        "mov qword ptr [rip + {closed}], 0",
        "pop rdx",
        "pop rcx",
        "pop rax",
        "add rsp, 8",
        "uiret",
        "3:",
        "ud2",
        "4:",
        "mov eax, 39",
        "syscall",
        "mov edi, eax",
        "mov esi, 9",
        "mov eax, 62",
        "syscall",
        "jmp 4b",
        closed = sym CLOSED,
        counters = sym COUNTERS,
        dies = sym DIES,
        linger = const LINGER,
    )
}

/// Returns the handler's address.
pub fn address() -> u64 {
    let handler: unsafe extern "C" fn() -> ! = on_user_interrupt;
    handler as usize as u64
}

/// Says where it counts, by vector.
pub fn count_in(counters: &'static [AtomicU64]) {
    COUNTERS.store(counters.as_ptr() as u64, Ordering::SeqCst);
}

/// Lets it kill the process when it runs next.
pub fn die_next_time(dies: bool) {
    DIES.store(dies.into(), Ordering::SeqCst);
}

/// Returns UIF.
pub fn is_enabled() -> bool {
    // SAFETY: the driver has set CR4.UINTR on all CPUs.
    unsafe { instructions::testui() }
}

/// STUI.
pub fn open() {
    CLOSED.store(0, Ordering::SeqCst);
    // SAFETY: the handler is registered and keeps all registers.
    unsafe { instructions::stui() };
}

/// CLUI.
pub fn close() {
    // SAFETY: CR4.UINTR is set.
    unsafe { instructions::clui() };
    CLOSED.store(1, Ordering::SeqCst);
}

/// Does something with UIF clear.
pub fn stay_closed(work: impl FnOnce() -> Result<()>) -> Result<()> {
    close();
    let result = work();
    open();
    result
}
