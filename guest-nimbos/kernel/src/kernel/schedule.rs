// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which thread runs, and what happens when it is back in the kernel.
//!
//! Threads that can run take turns, first come, first served. A turn ends with a call that waits, with `yield`, and with an
//! interrupt if somebody else can run: the timer's at the latest.
#![expect(unsafe_code, reason = "runs user code")]

use spin::mutex::TicketMutexGuard;

use super::{Cpu, Kernel, Outcome, lock};
use crate::arch::cpu;
use crate::arch::paging;
use crate::arch::trap::Trap;
use crate::fault_report;
use crate::interrupts::Event;
use crate::process::ProcessNo;
use crate::syscall;
use crate::thread::{State, ThreadNo};
use nimbos::abi::{SIGSEGV, STATUS_SIGNAL};

type Guard = TicketMutexGuard<'static, Kernel>;

/// The loop of a CPU.
pub fn run(mut cpu: Cpu) -> ! {
    let mut kernel = lock();
    loop {
        if let Some(status) = kernel.end {
            kernel.shut_down(&mut cpu, status);
        }
        kernel = match kernel.threads.take_ready() {
            Some(thread) => run_thread(kernel, &mut cpu, thread),
            None => idle(kernel, &mut cpu),
        };
    }
}

/// Waits for an interrupt and handles it.
#[inline(always)]
fn idle(kernel: Guard, cpu: &mut Cpu) -> Guard {
    cpu.interrupts.fire_by(kernel.first_deadline);
    drop(kernel);
    let event = cpu.interrupts.wait();
    let mut kernel = lock();
    kernel.on_event(cpu, event, None);
    kernel
}

/// Runs a thread until another one has its turn.
#[inline(always)]
fn run_thread(mut kernel: Guard, cpu: &mut Cpu, thread: ThreadNo) -> Guard {
    kernel.threads[thread].state = State::Running;
    kernel.enter_space(thread);
    cpu.interrupts.fire_by(kernel.first_deadline);
    loop {
        let context = kernel.threads[thread].context.take();
        let mut context = context.expect("a thread that does not run has its context");
        drop(kernel);
        // SAFETY: the active address space is the process's, which `UserSpace` keeps to its own frames; it is not dropped before
        // this thread has ended or the CPU has another one.
        let trap = unsafe { context.run() };
        kernel = lock();
        kernel.threads[thread].context = Some(context);
        if kernel.threads[thread].is_killed {
            kernel.end_thread(thread);
            return kernel;
        }
        let outcome = match trap {
            Trap::SystemCall => syscall::dispatch(&mut kernel, thread),
            Trap::Interrupt { vector } => {
                let event = cpu.interrupts.handle(vector);
                kernel.on_event(cpu, event, Some(thread));
                if kernel.threads.has_ready() {
                    kernel.threads.make_ready(thread);
                    return kernel;
                }
                continue;
            }
            Trap::Exception => kernel.on_exception(thread),
        };
        match outcome {
            Outcome::Return(result) => kernel.threads[thread].context().set_result(result),
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
            }
            self.tick_channel();
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

    /// Gives the CPU the memory of a thread's process.
    #[inline(always)]
    fn enter_space(&mut self, thread: ThreadNo) {
        let process = self.threads[thread].process;
        if self.loaded != Some(process) {
            // SAFETY: `leave_space` comes before it is dropped.
            unsafe { self.processes[process].space().activate() };
            self.loaded = Some(process);
        }
    }

    /// Lets the CPU forget mappings of a process that were taken away.
    pub fn forget_mappings(&mut self, process: ProcessNo) {
        if self.loaded == Some(process) {
            // SAFETY: as in `enter_space`.
            unsafe { self.processes[process].space().activate() };
        }
    }

    /// Sees to it that no CPU has the memory of a process active, which no thread of it uses any more.
    pub fn leave_space(&mut self, process: ProcessNo) {
        if self.loaded == Some(process) {
            paging::activate_kernel();
            self.loaded = None;
        }
    }
}
