// SPDX-License-Identifier: MIT OR Apache-2.0
//! The other CPUs: started once, then they call functions for the first CPU, one at a time, interrupts disabled.
//! (SDM 3A, "MP Initialization Protocol Algorithm")

use core::sync::atomic::{AtomicU32, Ordering};

use spin::Mutex;
use uintr_conformance::Text;

use super::apic::{self, INIT, STARTUP};
use super::cpu::{self, MAX_CPUS};
use super::place::Place;
use super::trap::Trap;
use super::{BUDGET, entry, paging, run, set_up_cpu};

/// Ticks between INIT and SIPI, and between the SIPIs.
const START_DELAY: u64 = 100_000;
/// Ticks in which all CPUs come up.
const START_LIMIT: u64 = 40_000_000;
const PAGE_SHIFT: u64 = 12;

/// A function that another CPU calls, with its argument and its result.
pub type Work = fn(u64) -> u64;

/// How work on another CPU ended.
#[derive(Clone, Copy, Debug)]
pub enum Failed {
    /// By a trap.
    Trap(Trap),
    /// Not at all; the CPU was taken out of it.
    TooLong,
}

/// What a CPU has been asked, and what it answered.
struct Mailbox {
    /// One of the states below: says whose turn it is, so that the locks are always free and nobody polls them.
    state: AtomicU32,
    work: Mutex<Option<(Work, u64)>>,
    answer: Mutex<Result<u64, Trap>>,
}

const IDLE: u32 = 0;
const POSTED: u32 = 1;
const DONE: u32 = 2;

static MAILBOXES: [Mailbox; MAX_CPUS] = [const {
    Mailbox {
        state: AtomicU32::new(IDLE),
        work: Mutex::new(None),
        answer: Mutex::new(Ok(0)),
    }
}; MAX_CPUS];
/// CPUs that are up.
static UP: AtomicU32 = AtomicU32::new(1);
static APIC_IDS: [AtomicU32; MAX_CPUS] = [const { AtomicU32::new(0) }; MAX_CPUS];

/// Returns how many CPUs can be used.
pub fn count() -> usize {
    UP.load(Ordering::SeqCst) as usize
}

/// Returns the APIC ID of a CPU that is up.
pub fn apic_id(index: usize) -> u32 {
    APIC_IDS[index].load(Ordering::SeqCst)
}

/// Remembers this CPU's APIC ID.
pub fn note_apic_id() {
    APIC_IDS[cpu::index()].store(apic::id(), Ordering::SeqCst);
}

/// Starts the other CPUs of the place, as far as there is room for them.
pub fn start(place: Place) {
    let Some(page) = place.start_page() else {
        return;
    };
    let wanted = expected(place);
    write_start_code(page);
    let send = |command: u32| match place.cpus() {
        Some(ids) => ids
            .iter()
            .filter(|&&id| id != apic::id())
            .for_each(|&id| apic::send(id, command)),
        None => apic::send_to_others(command),
    };
    send(INIT);
    cpu::delay(START_DELAY);
    for _ in 0..2 {
        send(STARTUP | (page >> PAGE_SHIFT) as u32);
        cpu::delay(START_DELAY);
    }
    cpu::wait_until(START_LIMIT, || count() >= wanted);
}

/// Returns how many CPUs the place says that it has, at most as many as there is room for.
fn expected(place: Place) -> usize {
    const TOPOLOGY: u32 = 0xb;
    let known = match place.cpus() {
        Some(ids) => ids.len(),
        // Logical processors of the package. (SDM 2A, "CPUID", leaf 0BH)
        None => (0..4)
            .map(|level| cpu::cpuid(TOPOLOGY, level).ebx as usize & 0xffff)
            .max()
            .unwrap_or(1),
    };
    known.clamp(1, MAX_CPUS)
}

/// Copies the code to `page` and fills in what it cannot know.
fn write_start_code(page: u64) {
    let begin = &raw const entry::entry_smp;
    let offset = |symbol: *const u8| (symbol.addr() - begin.addr()) as u64;
    let to: *mut u8 = core::ptr::with_exposed_provenance_mut(page as usize);
    // SAFETY: the code lies between the two symbols, the page is free memory below 1 MiB that nobody else uses, and the
    // fields lie inside the copy.
    unsafe {
        let len = offset(&raw const entry::entry_smp_end) as usize;
        core::ptr::copy_nonoverlapping(begin, to, len);
        let put = |symbol: *const u8, value: u64| {
            let at = to.add(offset(symbol) as usize);
            core::ptr::copy_nonoverlapping((value as u32).to_le_bytes().as_ptr(), at, 4);
        };
        put(
            &raw const entry::entry_smp_far,
            page + offset(&raw const entry::entry_smp_64),
        );
        put(
            &raw const entry::entry_smp_gdt_base,
            page + offset(&raw const entry::entry_smp_gdt),
        );
        put(&raw const entry::entry_smp_cr3, paging::root());
    }
}

/// Does what the first CPU wants, for good.
pub fn serve(index: u32) -> ! {
    set_up_cpu(index);
    let index = index as usize;
    UP.fetch_add(1, Ordering::SeqCst);
    let mailbox = &MAILBOXES[index];
    loop {
        if mailbox.state.load(Ordering::SeqCst) != POSTED {
            core::hint::spin_loop();
            continue;
        }
        let mut answer = Ok(0);
        let posted = mailbox.work.lock().take();
        if let Some((work, argument)) = posted {
            let mut result = 0;
            answer = run::catch(&mut || result = work(argument)).map(|()| result);
        }
        *mailbox.answer.lock() = answer;
        mailbox.state.store(DONE, Ordering::SeqCst);
    }
}

/// Lets the CPU `index` call `work(argument)`; it must be idle. [`finish`] waits for the end.
pub fn begin(index: usize, work: Work, argument: u64) {
    *MAILBOXES[index].work.lock() = Some((work, argument));
    MAILBOXES[index].state.store(POSTED, Ordering::SeqCst);
}

/// Tells whether the CPU `index` has something to do.
pub fn is_busy(index: usize) -> bool {
    MAILBOXES[index].state.load(Ordering::SeqCst) == POSTED
}

/// Waits for the CPU `index` to end its work and returns the result. A CPU that takes too long is taken out of it.
pub fn finish(index: usize) -> Result<u64, Failed> {
    let is_done = || !is_busy(index);
    if !cpu::wait_until(BUDGET, is_done) {
        apic::send(apic_id(index), apic::NMI);
        cpu::wait_until(BUDGET, is_done);
        return Err(Failed::TooLong);
    }
    let mailbox = &MAILBOXES[index];
    if mailbox.state.swap(IDLE, Ordering::SeqCst) != DONE {
        return Ok(0);
    }
    let answer = *mailbox.answer.lock();
    answer.map_err(Failed::Trap)
}

/// Lets the CPU `index` call `work(argument)` and waits for the result; on this CPU calls it.
pub fn call(index: usize, work: Work, argument: u64) -> Result<u64, Failed> {
    if index == cpu::index() {
        return Ok(work(argument));
    }
    begin(index, work, argument);
    finish(index)
}

impl Failed {
    /// Returns it in words.
    pub fn text(&self, index: usize) -> Text {
        match self {
            Self::Trap(trap) => Text::new(format_args!("CPU {index} trapped: {trap}")),
            Self::TooLong => Text::new(format_args!("CPU {index} did not end its work in time")),
        }
    }
}
