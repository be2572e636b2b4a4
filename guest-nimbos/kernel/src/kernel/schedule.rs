// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which thread runs, and what happens when it is back in the kernel.
//!
//! Threads that can run take turns, first come, first served. A turn ends with a call that waits, with `yield`, and with an
//! interrupt if somebody else can run: the timer's at the latest.
#![expect(unsafe_code, reason = "runs user code")]

use forward_ring::Call;
use spin::mutex::TicketMutexGuard;

use super::start::BOOT_CPU;
use super::{Cpu, Kernel, Outcome, lock};
use crate::arch::cpu;
use crate::arch::trap::Trap;
use crate::fault_report;
use crate::interrupts::{Event, TICKS_PER_SECOND};
use crate::syscall;
use crate::thread::{State, ThreadNo};
use nimbos::abi::{SIGSEGV, STATUS_SIGNAL};

/// Interrupts for which a kernel that ends waits for a session with a new server.
const PATIENCE_AT_END: u32 = TICKS_PER_SECOND;

type Guard = TicketMutexGuard<'static, Kernel>;

/// The loop of a CPU.
pub fn run(mut cpu: Cpu) -> ! {
    let mut kernel = lock();
    loop {
        if kernel.end.is_some() {
            shut_down(kernel, cpu);
        }
        kernel = match kernel.threads.take_ready() {
            Some(thread) => run_thread(kernel, &mut cpu, thread),
            None => idle(kernel, &mut cpu),
        };
    }
}

/// Waits for an interrupt and handles it.
#[inline(always)]
fn idle(mut kernel: Guard, cpu: &mut Cpu) -> Guard {
    kernel.leave_space_to_idle(cpu.number);
    kernel.cpus.set_idle(cpu.number, true);
    kernel.before_leaving(cpu);
    drop(kernel);
    let event = cpu.interrupts.wait();
    let mut kernel = lock();
    kernel.cpus.set_idle(cpu.number, false);
    kernel.on_event(cpu, event, None);
    kernel
}

/// Runs a thread until another one has its turn.
#[inline(always)]
fn run_thread(mut kernel: Guard, cpu: &mut Cpu, thread: ThreadNo) -> Guard {
    let running = State::Running {
        cpu: cpu.number as u8,
    };
    kernel.threads[thread].state = running;
    let process = kernel.threads[thread].process;
    kernel.enter_space(cpu.number, process);
    kernel.load_user_interrupts(cpu, thread);
    let mut kernel = run_loaded(kernel, cpu, thread);
    kernel.unload_user_interrupts(cpu, thread);
    kernel
}

/// Does that, with all loaded that the thread needs.
#[inline(always)]
fn run_loaded(mut kernel: Guard, cpu: &mut Cpu, thread: ThreadNo) -> Guard {
    loop {
        kernel.before_leaving(cpu);
        let context = kernel.threads[thread].context.take();
        let mut context = context.expect("a thread that does not run has its context");
        drop(kernel);
        // SAFETY: the active address space is the process's, which `UserSpace` keeps to its own frames; it is not dropped before
        // this thread has ended or the CPU has another one.
        let trap = unsafe { context.run() };
        kernel = lock();
        kernel.threads[thread].context = Some(context);
        // Before anything else: the local APIC keeps an interrupt in service until it was handled.
        if let Trap::Interrupt { vector } = trap {
            let event = cpu.interrupts.handle(vector);
            kernel.on_event(cpu, event, Some(thread));
        }
        if kernel.threads[thread].is_killed {
            kernel.end_thread(thread);
            return kernel;
        }
        let outcome = match trap {
            Trap::SystemCall => syscall::dispatch(&mut kernel, thread),
            Trap::Interrupt { .. } if kernel.threads.has_ready() => {
                kernel.threads.make_ready(thread);
                return kernel;
            }
            Trap::Interrupt { .. } => continue,
            Trap::Exception if kernel.load_table(cpu, thread) => continue,
            Trap::Exception => kernel.on_exception(thread),
        };
        match outcome {
            Outcome::Return(result) => {
                kernel.threads[thread].context().set_result(result);
                kernel.refresh_user_interrupts(cpu, thread);
            }
            Outcome::Yield => {
                kernel.finish_call(thread, 0);
                return kernel;
            }
            Outcome::Wait => return kernel,
            Outcome::End => {
                kernel.end_thread(thread);
                return kernel;
            }
        }
    }
}

impl Kernel {
    /// Does what an interrupt asks for. `running`: the thread that it interrupted.
    #[inline(always)]
    fn on_event(&mut self, cpu: &mut Cpu, event: Event, running: Option<ThreadNo>) {
        match event {
            Event::Notification => {
                self.received += 1;
                self.drain();
            }
            Event::Timer => self.on_timer(cpu, running),
            Event::Reschedule => {
                self.reload_space();
                self.forgotten_by(cpu.number);
            }
            Event::UserInterrupt => self.wake_receivers(),
            Event::Nothing => {}
        }
    }

    #[inline(never)]
    fn on_timer(&mut self, cpu: &mut Cpu, running: Option<ThreadNo>) {
        let now = cpu::tsc();
        if cpu.interrupts.take_tick(now) {
            if let Some(thread) = running {
                let process = self.threads[thread].process;
                self.processes[process].cpu_ticks += 1;
                self.tick_alarm(cpu, thread);
            }
            if cpu.number == BOOT_CPU {
                self.tick_channel();
                self.poll_keyboard();
            }
        }
        self.wake_sleepers(now);
        cpu.interrupts.rearm(self.first_deadline);
    }

    /// A program did what it may not: its process ends.
    #[cold]
    fn on_exception(&mut self, thread: ThreadNo) -> Outcome {
        let process = &self.processes[self.threads[thread].process];
        fault_report::print(process.id, self.threads[thread].context(), process.space());
        self.end_process_of(thread, STATUS_SIGNAL + SIGSEGV);
        Outcome::End
    }

    /// Waits for a session with a server that has just come and waits for a client, but not for ever.
    #[cold]
    fn await_new_server(&mut self, cpu: &mut Cpu) {
        let is_about_to_connect = |kernel: &Self| matches!(&kernel.channel, Some(channel) if channel.is_about_to_connect());
        let mut ticks = 0;
        while ticks < PATIENCE_AT_END && is_about_to_connect(self) {
            cpu.rearm_after_wait();
            self.tick_channel();
            ticks += 1;
        }
    }

    /// What a CPU does last before it gives up the lock: its timer fires when the next thread wakes, and others learn what they
    /// have to.
    #[inline(always)]
    fn before_leaving(&mut self, cpu: &mut Cpu) {
        cpu.interrupts.fire_by(self.first_deadline);
        if self.cpus.count() > 1 {
            if self.threads.has_ready() {
                self.cpus.call_idle();
            }
            self.cpus.send_calls(cpu.number, &mut cpu.interrupts);
        }
    }
}

/// Init has ended: tells the channel's server that there is nothing more to do for it, and stops. The first CPU to come does it.
#[cold]
fn shut_down(mut kernel: Guard, mut cpu: Cpu) -> ! {
    if let Some(status) = kernel.end.filter(|_| !kernel.is_over) {
        kernel.is_over = true;
        kernel.await_new_server(&mut cpu);
        if let Some(channel) = &mut kernel.channel {
            if channel.is_connected() {
                channel.finish(Call::End { status }, || cpu.rearm_after_wait());
            }
            channel.close();
        }
        say!("init exited with status {status}");
        kernel.cpus.call_others();
        kernel.cpus.send_calls(cpu.number, &mut cpu.interrupts);
    }
    drop(kernel);
    cpu::halt_forever()
}

impl Cpu {
    /// Waits for an interrupt that nobody else has to know of; the timer goes on.
    fn rearm_after_wait(&mut self) {
        if self.interrupts.wait() == Event::Timer {
            self.interrupts.take_tick(cpu::tsc());
            self.interrupts.rearm(u64::MAX);
        }
    }
}
