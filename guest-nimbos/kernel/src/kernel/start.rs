// SPDX-License-Identifier: MIT OR Apache-2.0
//! The start of the kernel: the boot CPU first, then the others, one after the other.

use nimbos::clock::Clock;
use nimbos::command_line::{self, Init};

use super::user_interrupts::Loaded;
use super::{Cpu, GUESSED_TSC_KHZ, Kernel, Timing, lock, run};
use crate::arch::apic::Apic;
use crate::arch::cpu::{self, Features};
use crate::arch::descriptors::{BOOT_STACKS, CpuStacks};
use crate::arch::per_cpu::MAX_CPUS;
use crate::arch::{descriptors, kernel_space, per_cpu, start_code, user_interrupts, xstate};
use crate::boot::Boot;
use crate::channel::Channel;
use crate::interrupts::{Interrupts, TICKS_PER_SECOND};
use crate::load::{Image, LoadError};
use crate::{memory, panic};

/// Number of the CPU on which the cell starts.
pub const BOOT_CPU: usize = 0;
/// Status instead of a program's when it could not be started; the shells' number.
const NOT_STARTED: i32 = 127;
/// Fractions of a second: between INIT and SIPI, and between two SIPIs. (SDM 3A, "Typical BSP Initialization Sequence")
const AFTER_INIT: u32 = 100;
const AFTER_STARTUP: u32 = 5_000;

/// The stacks of the CPUs that are to run, the boot CPU's first.
struct Stacks {
    all: [&'static CpuStacks; MAX_CPUS],
    count: usize,
}

/// Sets the machine up and starts init; the boot CPU's loop follows.
pub fn start(boot: &Boot) -> Cpu {
    let features = Features::read();
    memory::init(boot);
    let stacks = Stacks::for_cpus(boot);
    kernel_space::init(
        boot,
        features,
        &stacks.all[..stacks.count],
        boot.start_page(),
    );
    per_cpu::init(BOOT_CPU);
    descriptors::init(BOOT_CPU, &BOOT_STACKS);
    assert!(
        features.has_tsc_deadline,
        "the local APIC's timer has no TSC-deadline mode"
    );
    let logs_path = command_line::logs_path(boot.command_line());
    panic::set_restarts(command_line::restarts_after_panic(boot.command_line()));
    let mut kernel = lock();
    kernel.features = features;
    kernel.clock = clock(boot);
    kernel.timing = Timing {
        is_x2apic: boot.is_x2apic(),
        logs_path,
    };
    kernel.archive = memory::archive(boot);
    kernel.keyboard.is_used = command_line::owns_console(boot.command_line());
    kernel.channel = boot
        .client_channel()
        .and_then(|info| Channel::open(info, features, logs_path));
    let mut cpu = kernel.add_cpu(BOOT_CPU);
    drop(kernel);
    start_others(boot, &stacks, &mut cpu);

    let mut kernel = lock();
    let mode = if boot.is_x2apic() { "x2APIC" } else { "xAPIC" };
    say!(
        "APIC ID {} in {mode} mode, {} CPU(s), TSC {} MHz, {} KiB free",
        cpu.interrupts.apic().id(),
        kernel.cpus.count(),
        boot.tsc_khz() / 1000,
        memory::free_frames() * 4
    );
    if let Some(channel) = &mut kernel.channel {
        channel.announce();
    }
    if let Err(status) = kernel.start_init(boot) {
        kernel.end = Some(status);
    }
    cpu
}

/// Where a CPU that the boot CPU has started comes from [`start_code`].
pub fn join(number: usize, stacks: &'static CpuStacks) -> ! {
    per_cpu::init(number);
    descriptors::init(number, stacks);
    let mut kernel = lock();
    // SAFETY: the CPU has begun with the kernel's mappings.
    #[expect(unsafe_code, reason = "changes how the processor treats mappings")]
    unsafe {
        cpu::enable_protection(kernel.features);
    }
    let cpu = kernel.add_cpu(number);
    drop(kernel);
    run(cpu)
}

impl Stacks {
    /// Makes stacks for all CPUs that can be started.
    fn for_cpus(boot: &Boot) -> Self {
        let mut stacks = Self {
            all: [&BOOT_STACKS; MAX_CPUS],
            count: 1,
        };
        let others = boot.cpus().len().saturating_sub(1);
        if boot.start_page().is_none() {
            if others != 0 {
                say!("no memory below 1 MiB to start in: {others} CPU(s) are not used");
            }
            return stacks;
        }
        for place in stacks.all.iter_mut().skip(1).take(others) {
            let Some(made) = CpuStacks::allocate() else {
                say!(
                    "no memory for the stacks of more than {} CPU(s)",
                    stacks.count
                );
                break;
            };
            *place = made;
            stacks.count += 1;
        }
        stacks
    }
}

/// Starts the other CPUs. One that does not come is told of, and no further one is started.
fn start_others(boot: &Boot, stacks: &Stacks, cpu: &mut Cpu) {
    let Some(page) = boot.start_page() else {
        return;
    };
    let page = (page / nimbos::layout::PAGE_LEN) as u8;
    for number in 1..stacks.count {
        let apic_id = boot.cpus()[number];
        start_code::prepare(number, stacks.all[number]);
        let clock = lock().clock;
        let apic = cpu.interrupts.apic();
        apic.send_init(apic_id);
        wait(clock.period(AFTER_INIT));
        for _ in 0..2 {
            apic.send_startup(apic_id, page);
            wait(clock.period(AFTER_STARTUP));
        }
        let end = cpu::tsc() + clock.period(1);
        while lock().cpus.count() <= number {
            if cpu::tsc() > end {
                say!("the CPU with APIC ID {apic_id} does not start");
                return;
            }
        }
    }
}

fn wait(ticks: u64) {
    let end = cpu::tsc() + ticks;
    while cpu::tsc() < end {
        core::hint::spin_loop();
    }
}

impl Kernel {
    /// Sets up what each CPU has of its own, on that CPU.
    fn add_cpu(&mut self, number: usize) -> Cpu {
        xstate::init();
        if self.features.has_uintr {
            user_interrupts::enable();
        }
        let Timing {
            is_x2apic,
            logs_path,
        } = self.timing;
        let apic = Apic::start(is_x2apic, self.clock.period(TICKS_PER_SECOND));
        self.cpus.add(apic.id());
        let mut interrupts = Interrupts::new(apic, logs_path);
        if let Some(channel) = &self.channel {
            interrupts.set_inbox(channel.inbox(number));
        }
        Cpu {
            number,
            user_interrupts: Loaded::nothing(interrupts.ndst()),
            interrupts,
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
}

fn clock(boot: &Boot) -> Clock {
    Clock::new(cpu::tsc(), boot.tsc_khz()).unwrap_or_else(|| {
        say!("the TSC's frequency is not known, 1 GHz is assumed");
        Clock::new(cpu::tsc(), GUESSED_TSC_KHZ).expect("the guess is not 0")
    })
}
