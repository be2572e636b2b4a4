// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel's state, its start, and the loop of each CPU.
//!
//! ```text
//! run -> next thread -> user mode -> trap -> one handler -> ...
//!     -> none        -> HLT -> interrupt  -> one handler -> ...
//! ```
//!
//! One lock keeps the state. A CPU has it but in user mode and in HLT; no handler waits for anything while it has it.

pub mod alarms;
mod cpus;
pub mod exec;
pub mod forward;
mod keyboard;
mod life;
mod list;
mod memory_calls;
pub mod rings;
mod schedule;
mod sleep;
mod start;
mod user_interrupts;

pub use schedule::run;
pub use start::{join, start};

use forward_ring::SLOTS;
use nimbos::clock::Clock;
use spin::mutex::{TicketMutex, TicketMutexGuard};

use crate::arch::cpu::Features;
use crate::channel::Channel;
use crate::interrupts::Interrupts;
use crate::process::{Process, Processes};
use crate::thread::{ThreadNo, Threads};
use cpus::Cpus;
use forward::{Owner, Owners};
use keyboard::Keyboard;
use rings::Rings;
use user_interrupts::{Loaded, UserInterrupts};

/// Frequency of the time-stamp counter when the hypervisor does not know it.
const GUESSED_TSC_KHZ: u32 = 1_000_000;

static KERNEL: TicketMutex<Kernel> = TicketMutex::new(Kernel::new());

/// What all CPUs share.
pub struct Kernel {
    /// What the processor offers.
    pub features: Features,
    /// Time since the start.
    pub clock: Clock,
    /// The channel whose server does what this kernel cannot.
    pub channel: Option<Channel>,
    /// Whose the tokens in the ring are.
    owners: Owners,
    /// How much the channel's server is yet to be told.
    notes: usize,
    /// How many CPUs' UPID slots it has been told in this session.
    slots_told: usize,
    /// The programs.
    archive: Option<&'static [u8]>,
    /// All processes.
    pub processes: Processes,
    /// All threads.
    pub threads: Threads,
    /// The channel's rings.
    pub rings: Rings,
    /// Receivers and senders of user interrupts.
    pub user_interrupts: UserInterrupts,
    /// Number of the process or thread that was made last.
    last_id: u32,
    /// The CPUs.
    cpus: Cpus,
    /// Threads that wait until CPUs have forgotten memory.
    unmapping: u32,
    /// The first reading of the time-stamp counter at which a thread that sleeps wakes.
    first_deadline: u64,
    /// Notifications received.
    received: u64,
    /// What is typed on the console.
    keyboard: Keyboard,
    /// The status of init, once it has ended.
    end: Option<i32>,
    /// Nothing runs any more.
    is_over: bool,
    /// How a CPU's local APIC is started.
    timing: Timing,
}

/// How a CPU's local APIC is started.
#[derive(Clone, Copy, Debug)]
struct Timing {
    is_x2apic: bool,
    logs_path: bool,
}

/// One CPU's own: what only code that runs there uses.
pub struct Cpu {
    number: usize,
    interrupts: Interrupts,
    user_interrupts: Loaded,
}

/// What becomes of a thread that made a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It goes on with this result.
    Return(i64),
    /// It goes on with result 0 when the others had their turn.
    Yield,
    /// It does not run for now: it waits, or is ready already.
    Wait,
    /// It ends.
    End,
}

/// Takes the kernel's lock.
fn lock() -> TicketMutexGuard<'static, Kernel> {
    KERNEL.lock()
}

/// Keeps other CPUs out of the kernel for good.
pub fn freeze() {
    core::mem::forget(KERNEL.try_lock());
}

impl Kernel {
    /// Returns a kernel without anything; it is too large to be made on a stack.
    const fn new() -> Self {
        Self {
            features: Features::NONE,
            clock: Clock::new(0, GUESSED_TSC_KHZ).expect("the guess is not 0"),
            channel: None,
            owners: [Owner::Kernel; SLOTS],
            notes: 0,
            slots_told: 0,
            archive: None,
            processes: Processes::new(),
            threads: Threads::new(),
            rings: Rings::new(),
            user_interrupts: UserInterrupts::new(),
            last_id: 0,
            cpus: Cpus::new(),
            unmapping: 0,
            first_deadline: u64::MAX,
            received: 0,
            keyboard: Keyboard::new(),
            end: None,
            is_over: false,
            timing: Timing {
                is_x2apic: false,
                logs_path: false,
            },
        }
    }

    /// Returns the process of a thread.
    pub fn process_of(&self, thread: ThreadNo) -> &Process {
        &self.processes[self.threads[thread].process]
    }

    /// Returns the notifications received.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Returns how many CPUs run.
    pub fn cpu_count(&self) -> usize {
        self.cpus.count()
    }

    /// Sets the result of a thread's system call, for which it has waited, and makes it ready.
    #[inline(always)]
    pub fn finish_call(&mut self, thread: ThreadNo, result: i64) {
        self.threads[thread].context().set_result(result);
        self.threads.make_ready(thread);
    }
}
