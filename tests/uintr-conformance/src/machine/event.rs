// SPDX-License-Identifier: MIT OR Apache-2.0
//! What happened to all CPUs, in order: interrupts that went through the IDT, and runs of the user-interrupt handler.

use core::arch::naked_asm;
use core::sync::atomic::{AtomicU64, Ordering};

/// Events that are kept; later ones overwrite earlier ones.
const KEPT: usize = 256;
const SLOT_LEN: usize = 64;
const USER_VECTORS: usize = uintr::USER_VECTORS as usize;

/// Kind of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Taken through the IDT.
    Interrupt,
    /// A user interrupt was delivered.
    UserInterrupt,
}

/// An event. RIP, RFLAGS and RSP are those of the interrupted code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Kind.
    pub kind: Kind,
    /// Index of the CPU.
    pub cpu: usize,
    /// Vector, or user vector.
    pub vector: u64,
    /// RIP.
    pub rip: u64,
    /// RFLAGS.
    pub rflags: u64,
    /// RSP.
    pub rsp: u64,
    /// RSP at the entry of the handler (user interrupts only).
    pub handler_rsp: u64,
    /// UIF in the handler (user interrupts only).
    pub uif: bool,
}

/// Kind, CPU, vector, RIP, RFLAGS, RSP, RSP of the handler, UIF.
#[repr(C, align(64))]
struct Slot([AtomicU64; 8]);

const KIND_INTERRUPT: u64 = 1;
const KIND_USER_INTERRUPT: u64 = 2;

static SLOTS: [Slot; KEPT] =
    [const { Slot([const { AtomicU64::new(0) }; SLOT_LEN / size_of::<u64>()]) }; KEPT];
static COUNT: AtomicU64 = AtomicU64::new(0);
/// Runs of the handler, for each user vector.
static DELIVERED: [AtomicU64; USER_VECTORS] = [const { AtomicU64::new(0) }; USER_VECTORS];

/// Forgets all events.
pub fn clear() {
    for slot in &SLOTS {
        slot.0[0].store(0, Ordering::SeqCst);
    }
    COUNT.store(0, Ordering::SeqCst);
    for count in &DELIVERED {
        count.store(0, Ordering::SeqCst);
    }
}

/// Returns how often the handler ran for a user vector, on all CPUs, whether kept or not.
pub fn delivered(vector: u8) -> u64 {
    DELIVERED[usize::from(vector) % USER_VECTORS].load(Ordering::SeqCst)
}

/// Returns how many events there were.
pub fn count() -> usize {
    COUNT.load(Ordering::SeqCst) as usize
}

/// Returns event number `index`, counted from 0, if there was one and it is complete and still kept.
pub fn get(index: usize) -> Option<Event> {
    let count = count();
    if index >= count || count - index > KEPT {
        return None;
    }
    let word = |at: usize| SLOTS[index % KEPT].0[at].load(Ordering::SeqCst);
    let kind = match word(0) {
        KIND_INTERRUPT => Kind::Interrupt,
        KIND_USER_INTERRUPT => Kind::UserInterrupt,
        _ => return None,
    };
    Some(Event {
        kind,
        cpu: word(1) as usize,
        vector: word(2),
        rip: word(3),
        rflags: word(4),
        rsp: word(5),
        handler_rsp: word(6),
        uif: word(7) & 1 != 0,
    })
}

/// Returns all events that are kept.
pub fn all() -> impl Iterator<Item = Event> {
    let count = count();
    (count.saturating_sub(KEPT)..count).filter_map(get)
}

/// Returns how many events of this kind, CPU and vector are kept.
pub fn count_of(kind: Kind, cpu: usize, vector: u8) -> usize {
    all()
        .filter(|event| (event.kind, event.cpu, event.vector) == (kind, cpu, u64::from(vector)))
        .count()
}

/// Keeps an interrupt.
pub fn add_interrupt(cpu: usize, vector: u64, rip: u64, rflags: u64, rsp: u64) {
    let slot = &SLOTS[COUNT.fetch_add(1, Ordering::SeqCst) as usize % KEPT].0;
    for (word, value) in slot[1..]
        .iter()
        .zip([cpu as u64, vector, rip, rflags, rsp, 0, 0])
    {
        word.store(value, Ordering::SeqCst);
    }
    slot[0].store(KIND_INTERRUPT, Ordering::SeqCst);
}

/// Returns the address of the user-interrupt handler that keeps events.
pub fn handler_address() -> u64 {
    (handler as *const ()).addr() as u64
}

/// Keeps a user interrupt and returns. On its stack: vector, RIP, RFLAGS, RSP. It begins with a NOP, so that its own
/// first instruction is never one that faults or exits.
#[unsafe(naked)]
unsafe extern "C" fn handler() -> ! {
    naked_asm!(
        "nop",
        "push rax",
        "push rbx",
        "push rcx",
        "push rdx",
        "mov ebx, 1",
        "lock xadd [rip + {count}], rbx",
        "and ebx, {mask}",
        "shl ebx, 6",
        "lea rax, [rip + {slots}]",
        "add rbx, rax",
        "testui",
        "setc al",
        "movzx eax, al",
        "mov [rbx + 56], rax",
        "rdtscp",
        "mov [rbx + 8], rcx",
        "mov rax, [rsp + 32]",
        "mov [rbx + 16], rax",
        "and eax, {last_vector}",
        "lea rcx, [rip + {delivered}]",
        "lock inc qword ptr [rcx + 8 * rax]",
        "mov rax, [rsp + 40]",
        "mov [rbx + 24], rax",
        "mov rax, [rsp + 48]",
        "mov [rbx + 32], rax",
        "mov rax, [rsp + 56]",
        "mov [rbx + 40], rax",
        "lea rax, [rsp + 32]",
        "mov [rbx + 48], rax",
        "mov qword ptr [rbx], {user_interrupt}",
        "pop rdx",
        "pop rcx",
        "pop rbx",
        "pop rax",
        "add rsp, 8",
        "uiret",
        count = sym COUNT,
        mask = const KEPT - 1,
        slots = sym SLOTS,
        last_vector = const USER_VECTORS - 1,
        delivered = sym DELIVERED,
        user_interrupt = const KIND_USER_INTERRUPT,
    )
}

const _: () = assert!(size_of::<Slot>() == SLOT_LEN && SLOT_LEN == 1 << 6);
