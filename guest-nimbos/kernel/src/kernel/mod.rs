// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel's state, its start, and the loop of each CPU.
//!
//! ```text
//! run -> next thread -> user mode -> trap -> one handler -> ...
//!     -> none        -> HLT -> interrupt  -> one handler -> ...
//! ```
//!
//! One lock keeps the state. A CPU has it but in user mode and in HLT; no handler waits for anything while it has it.

pub mod exec;
pub mod forward;
mod life;
mod list;
mod memory_calls;
mod schedule;
mod sleep;

pub use schedule::run;

use forward_ring::{Call, SLOTS};
use hv_abi::hypercall::errno;
use nimbos::clock::Clock;
use nimbos::command_line::{self, Init};
use spin::mutex::{TicketMutex, TicketMutexGuard};

use crate::arch::apic::Apic;
use crate::arch::cpu::{self, Features};
use crate::arch::descriptors::BOOT_STACKS;
use crate::arch::{descriptors, hypercall, kernel_space, per_cpu, sender, xstate};
use crate::boot::Boot;
use crate::channel::Channel;
use crate::interrupts::{Interrupts, TICKS_PER_SECOND};
use crate::load::{Image, LoadError};
use crate::memory;
use crate::process::{Process, ProcessNo, Processes};
use crate::thread::{ThreadNo, Threads};
use forward::{Owner, Owners};

/// Status instead of a program's when it could not be started; the shells' number.
const NOT_STARTED: i32 = 127;
/// Frequency of the time-stamp counter when the hypervisor does not know it.
const GUESSED_TSC_KHZ: u32 = 1_000_000;
/// Interrupts for which a kernel that ends waits for a session with a new server.
const PATIENCE_AT_END: u32 = TICKS_PER_SECOND;
/// Number of the CPU on which the cell starts.
const BOOT_CPU: usize = 0;

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
    /// Number of the process or thread that was made last.
    last_id: u32,
    /// The process whose memory the CPU has active.
    loaded: Option<ProcessNo>,
    /// The first reading of the time-stamp counter at which a thread that sleeps wakes.
    first_deadline: u64,
    /// Notifications received.
    received: u64,
    /// APIC ID of the CPU.
    apic_id: u32,
    /// The status of init, once it has ended.
    end: Option<i32>,
}

/// One CPU's own: what only code that runs there uses.
pub struct Cpu {
    interrupts: Interrupts,
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

/// Sets the machine up and starts init; the boot CPU's loop follows.
pub fn start(boot: &Boot) -> Cpu {
    let features = Features::read();
    memory::init(boot);
    kernel_space::init(boot, features);
    per_cpu::init(BOOT_CPU);
    descriptors::init(BOOT_CPU, &BOOT_STACKS);
    xstate::init();
    sender::enable(features);
    let clock = clock(boot);
    assert!(
        features.has_tsc_deadline,
        "the local APIC's timer has no TSC-deadline mode"
    );
    let apic = Apic::start(boot.is_x2apic(), clock.period(TICKS_PER_SECOND));
    let mode = if apic.is_x2apic() { "x2APIC" } else { "xAPIC" };
    say!(
        "APIC ID {} in {mode} mode, TSC {} MHz, {} KiB free",
        apic.id(),
        boot.tsc_khz() / 1000,
        memory::free_frames() * 4
    );
    let apic_id = apic.id();
    let logs_path = command_line::logs_path(boot.command_line());
    let mut interrupts = Interrupts::new(apic, logs_path);
    let channel = boot
        .client_channel()
        .and_then(|info| Channel::open(info, features, logs_path));
    if let Some(channel) = &channel {
        interrupts.set_inbox(channel.inbox(BOOT_CPU));
        channel.announce();
    }
    let mut kernel = lock();
    kernel.features = features;
    kernel.clock = clock;
    kernel.channel = channel;
    kernel.archive = memory::archive(boot);
    kernel.apic_id = apic_id;
    if let Err(status) = kernel.start_init(boot) {
        kernel.end = Some(status);
    }
    Cpu { interrupts }
}

/// Takes the kernel's lock.
fn lock() -> TicketMutexGuard<'static, Kernel> {
    KERNEL.lock()
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
            last_id: 0,
            loaded: None,
            first_deadline: u64::MAX,
            received: 0,
            apic_id: 0,
            end: None,
        }
    }

    /// Loads the program that the command line names, or returns the status of a cell without.
    fn start_init(&mut self, boot: &Boot) -> Result<(), i32> {
        let Some(init) = Init::parse(boot.command_line()) else {
            say!("the command line names no program (init=NAME)");
            return Err(NOT_STARTED);
        };
        let Some(archive) = self.archive else {
            say!("there is no archive of programs");
            return Err(NOT_STARTED);
        };
        let arguments = init.arguments().map(str::as_bytes);
        let image = nimbos::archive::find(archive, init.name)
            .map_err(LoadError::from)
            .and_then(|file| Ok(Image::load(file, arguments)?.with_file(file)));
        match image.and_then(|image| self.add_init(init.name, image)) {
            Ok(()) => {
                say!("init is '{}'", init.name);
                Ok(())
            }
            Err(error) => {
                say!("cannot start '{}': {error}", init.name);
                Err(NOT_STARTED)
            }
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
        1
    }

    /// Returns the VM exits of all CPUs, or a negative errno: -ENOENT where there is no hypervisor.
    pub fn vm_exits(&self) -> i64 {
        if !self.features.has_hypervisor {
            return errno::ENOENT;
        }
        hypercall::vm_exits(self.apic_id)
    }

    /// Sets the result of a thread's system call, for which it has waited, and makes it ready.
    #[inline(always)]
    pub fn finish_call(&mut self, thread: ThreadNo, result: i64) {
        self.threads[thread].context().set_result(result);
        self.threads.make_ready(thread);
    }

    /// Init has ended: tells the channel's server that there is nothing more to do for it, and stops.
    fn shut_down(&mut self, cpu: &mut Cpu, status: i32) -> ! {
        // A server that has just come waits for a client.
        let mut ticks = 0;
        while ticks < PATIENCE_AT_END
            && self
                .channel
                .as_ref()
                .is_some_and(Channel::is_about_to_connect)
        {
            cpu.rearm_after_wait();
            self.tick_channel();
            ticks += 1;
        }
        if let Some(channel) = &mut self.channel {
            if channel.is_connected() {
                channel.finish(Call::End { status }, || {
                    cpu.rearm_after_wait();
                });
            }
            channel.close();
        }
        say!("init exited with status {status}");
        cpu::halt_forever()
    }
}

impl Cpu {
    /// Waits for an interrupt that nobody else has to know of; the timer goes on.
    fn rearm_after_wait(&mut self) {
        use crate::interrupts::Event;
        if self.interrupts.wait() == Event::Timer {
            self.interrupts.take_tick(cpu::tsc());
            self.interrupts.rearm(u64::MAX);
        }
    }
}

fn clock(boot: &Boot) -> Clock {
    Clock::new(cpu::tsc(), boot.tsc_khz()).unwrap_or_else(|| {
        say!("the TSC's frequency is not known, 1 GHz is assumed");
        Clock::new(cpu::tsc(), GUESSED_TSC_KHZ).expect("the guess is not 0")
    })
}
