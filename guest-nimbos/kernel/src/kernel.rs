// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel's state, its start, and the loop that runs a process.

use forward_ring::Call;
use nimbos::clock::Clock;
use nimbos::command_line::{self, Init};

use crate::arch::apic::Apic;
use crate::arch::cpu::{self, Features};
use crate::arch::trap::Trap;
use crate::arch::{descriptors, kernel_space};
use crate::boot::Boot;
use crate::channel::Channel;
use crate::interrupts::{Interrupts, TICKS_PER_SECOND};
use crate::memory;
use crate::process::Process;
use crate::syscall::{self, Outcome};

/// Status of a process that the kernel ended.
pub const KILLED: i32 = -1;
/// Status instead of a program's when it could not be started; the shells' number.
const NOT_STARTED: i32 = 127;
/// Number of the first process.
const INIT_ID: u32 = 1;
/// Frequency of the time-stamp counter when the hypervisor does not know it.
const GUESSED_TSC_KHZ: u32 = 1_000_000;

/// Everything that lasts.
pub struct Kernel {
    /// What the processor offers.
    pub features: Features,
    /// Interrupts, timer, notifications.
    pub interrupts: Interrupts,
    /// Time since the start.
    pub clock: Clock,
    /// The channel whose server does what this kernel cannot.
    pub channel: Option<Channel>,
}

impl Kernel {
    /// Sets the machine up.
    pub fn start(boot: &Boot) -> Self {
        let features = Features::read();
        memory::init(boot);
        kernel_space::init(boot, features);
        descriptors::init();
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
            memory::free_bytes() >> 10
        );
        let mut interrupts = Interrupts::new(apic, command_line::logs_path(boot.command_line()));
        let channel = boot
            .client_channel()
            .and_then(|info| Channel::open(info, features, &mut interrupts));
        Self {
            features,
            interrupts,
            clock,
            channel,
        }
    }

    /// Runs the program that the command line names, and returns its exit status.
    pub fn run_init(&mut self, boot: &Boot) -> i32 {
        let Some(init) = Init::parse(boot.command_line()) else {
            say!("the command line names no program (init=NAME)");
            return NOT_STARTED;
        };
        let Some(archive) = memory::archive(boot) else {
            say!("there is no archive of programs");
            return NOT_STARTED;
        };
        match Process::load(INIT_ID, archive, &init) {
            Ok(mut process) => {
                say!("init is '{}'", init.name);
                self.run(&mut process)
            }
            Err(error) => {
                say!("cannot start '{}': {error}", init.name);
                NOT_STARTED
            }
        }
    }

    /// Tells the channel's server that there is nothing more to do for it.
    pub fn tell_exit(&mut self, status: i32) {
        if let Some(channel) = &mut self.channel {
            if channel.is_connected() {
                // Whatever it answers, this is the end.
                let _ = channel.call(&mut self.interrupts, Call::Exit { status }, 0);
            }
            channel.close();
        }
    }

    /// Runs a process until it ends, and returns its exit status.
    fn run(&mut self, process: &mut Process) -> i32 {
        loop {
            match process.run() {
                Some(Trap::SystemCall { number, arguments }) => {
                    match syscall::dispatch(self, process, number, arguments) {
                        Outcome::Return(result) => process.set_result(result),
                        Outcome::Exit(status) => return status,
                    }
                }
                Some(Trap::Interrupt { vector }) => self.interrupts.handle(vector),
                Some(Trap::Exception(exception)) => {
                    process.report(&exception);
                    return KILLED;
                }
                None => {
                    say!("process {} killed: it left user space", process.id());
                    return KILLED;
                }
            }
        }
    }
}

fn clock(boot: &Boot) -> Clock {
    Clock::new(cpu::tsc(), boot.tsc_khz()).unwrap_or_else(|| {
        say!("the TSC's frequency is not known, 1 GHz is assumed");
        Clock::new(cpu::tsc(), GUESSED_TSC_KHZ).expect("the guess is not 0")
    })
}
