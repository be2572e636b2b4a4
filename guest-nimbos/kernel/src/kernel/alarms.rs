// SPDX-License-Identifier: MIT OR Apache-2.0
//! Alarms: a process is interrupted after every so many ticks of its CPU time.
//!
//! In the first form the kernel puts the registers of the interrupted thread aside, all of them, and lets the thread go on in the
//! handler with fresh ones; `sigreturn` puts them back. In the second form the tick is a user interrupt of the thread that asked
//! for it. A tick that finds that thread running with UIF = 0, so in a handler perhaps, leaves the alarm due: raised at once, it
//! would come as soon as the handler ends, and where handlers are slow the code that they interrupt would never run.
#![expect(unsafe_code, reason = "raises a user interrupt")]

use nimbos::abi::{ALARM_USER_INTERRUPT, Errno};
use nimbos::alarm::Countdown;
use nimbos::layout::{USER_END, USER_START};
use nimbos::stack;
use uintr::USER_VECTORS;

use super::{Cpu, Kernel};
use crate::arch::trap::UserContext;
use crate::arch::user_interrupts as state;
use crate::process::ProcessNo;
use crate::thread::ThreadNo;

/// A process's alarm.
#[derive(Debug)]
pub struct Alarm {
    countdown: Countdown,
    form: Form,
    /// The thread in the handler, and what was interrupted.
    interrupted: Option<(ThreadNo, UserContext)>,
    /// Registers for the next handler, so that an alarm need not look for memory.
    spare: Option<UserContext>,
}

/// How an alarm is raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// The thread that runs goes on at this address.
    Handler(u64),
    /// A user interrupt of this thread, with this vector.
    UserInterrupt(ThreadNo, u8),
}

impl Alarm {
    /// There is no alarm.
    pub const OFF: Self = Self {
        countdown: Countdown::OFF,
        form: Form::Handler(0),
        interrupted: None,
        spare: None,
    };
}

impl Kernel {
    /// `sigalarm(ticks, handler, flags)`.
    pub fn set_alarm(
        &mut self,
        thread: ThreadNo,
        [ticks, handler, flags]: [u64; 3],
    ) -> Result<i64, Errno> {
        let form = match flags {
            0 if ticks == 0 => Form::Handler(0),
            0 if !(USER_START..USER_END).contains(&handler) => return Err(Errno::Fault),
            0 => Form::Handler(handler),
            ALARM_USER_INTERRUPT => {
                let vector = u8::try_from(handler).ok().filter(|&v| v < USER_VECTORS);
                let vector = vector.ok_or(Errno::Invalid)?;
                self.threads[thread].receiver.ok_or(Errno::Invalid)?;
                Form::UserInterrupt(thread, vector)
            }
            _ => return Err(Errno::Invalid),
        };
        let process = self.threads[thread].process;
        let alarm = &mut self.processes[process].alarm;
        // A handler that runs may do this, and goes on.
        (alarm.countdown, alarm.form) = (Countdown::new(ticks), form);
        Ok(0)
    }

    /// `sigreturn()`: RAX, too, is what it was.
    pub fn return_from_alarm(&mut self, thread: ThreadNo) -> Result<i64, Errno> {
        let process = self.threads[thread].process;
        let alarm = &mut self.processes[process].alarm;
        let (_, context) = alarm
            .interrupted
            .take_if(|(owner, _)| *owner == thread)
            .ok_or(Errno::Invalid)?;
        let result = context.result();
        alarm.spare = self.threads[thread].context.replace(context);
        Ok(result)
    }

    /// Counts a tick that found a thread running, and raises its process's alarm if that is due.
    pub fn tick_alarm(&mut self, cpu: &mut Cpu, thread: ThreadNo) {
        let process = self.threads[thread].process;
        let alarm = &mut self.processes[process].alarm;
        if !alarm.countdown.tick() {
            return;
        }
        let is_raised = match alarm.form {
            Form::Handler(handler) => self.call_alarm_handler(process, thread, handler),
            Form::UserInterrupt(receiver, vector) => self.post_alarm(cpu, thread, receiver, vector),
        };
        if is_raised {
            self.processes[process].alarm.countdown.restart();
        }
    }

    /// A thread ends: if it was in the handler, nobody returns from there.
    pub fn end_alarm_of(&mut self, thread: ThreadNo) {
        let process = self.threads[thread].process;
        let alarm = &mut self.processes[process].alarm;
        let is_owner = |owner: &ThreadNo| *owner == thread;
        if alarm
            .interrupted
            .as_ref()
            .is_some_and(|(owner, _)| is_owner(owner))
        {
            alarm.interrupted = None;
        }
        if matches!(alarm.form, Form::UserInterrupt(receiver, _) if receiver == thread) {
            alarm.countdown = Countdown::OFF;
        }
    }

    /// Lets a thread, which was interrupted, go on in the handler. If the handler runs already or there is no memory, the alarm
    /// has to wait.
    fn call_alarm_handler(&mut self, process: ProcessNo, thread: ThreadNo, handler: u64) -> bool {
        let alarm = &mut self.processes[process].alarm;
        if alarm.interrupted.is_some() {
            return false;
        }
        let context = &mut self.threads[thread].context;
        let Some(rsp) = context.as_ref().map(UserContext::stack_pointer) else {
            return false;
        };
        let rsp = stack::for_handler(rsp);
        let fresh = match alarm.spare.take() {
            Some(mut spare) => {
                spare.restart(handler, rsp);
                Some(spare)
            }
            None => UserContext::new(handler, rsp),
        };
        let Some(fresh) = fresh else {
            return false;
        };
        if let Some(old) = context.replace(fresh) {
            alarm.interrupted = Some((thread, old));
        }
        true
    }

    /// Posts an alarm to its receiver, unless that has to wait. The thread that was interrupted is the one whose state the CPU
    /// has.
    fn post_alarm(
        &mut self,
        cpu: &mut Cpu,
        running: ThreadNo,
        receiver: ThreadNo,
        vector: u8,
    ) -> bool {
        let Some(number) = self.threads[receiver].receiver else {
            return false;
        };
        let requests = 1 << vector;
        if receiver == running {
            // SAFETY: there are receivers only with user interrupts, and this one's state is loaded.
            return unsafe {
                let is_allowed = state::is_delivery_allowed();
                if is_allowed {
                    state::raise(requests);
                }
                is_allowed
            };
        }
        let entry = &self.user_interrupts.receivers[number];
        if entry.upid.post(requests).is_some() {
            // What the UPID says of vector and destination may be the channel's server's.
            match entry.runs_at {
                Some(ndst) => cpu.interrupts.send_user_interrupt(ndst),
                None if self.waits_for_user_interrupt(receiver) => self.finish_call(receiver, 0),
                None => {}
            }
        }
        true
    }
}
