// SPDX-License-Identifier: MIT OR Apache-2.0
//! Threads that sleep.

use nimbos::abi::{Errno, TIMER_ABSTIME, TimeSpec};

use super::{Kernel, Outcome};
use crate::arch::cpu;
use crate::thread::{State, ThreadNo, Wait};

impl Kernel {
    /// `nanosleep(*time)`.
    pub fn nanosleep(&mut self, thread: ThreadNo, [time]: [u64; 1]) -> Result<Outcome, Errno> {
        let time = self.read_time(thread, time)?;
        Ok(self.sleep(thread, self.clock.after(cpu::tsc(), time)))
    }

    /// `clock_nanosleep(clock, flags, *time)`.
    pub fn clock_nanosleep(
        &mut self,
        thread: ThreadNo,
        [_, flags, time]: [u64; 3],
    ) -> Result<Outcome, Errno> {
        let deadline = match flags {
            0 => self.clock.after(cpu::tsc(), self.read_time(thread, time)?),
            TIMER_ABSTIME => self.clock.at(self.read_time(thread, time)?),
            _ => return Err(Errno::Invalid),
        };
        Ok(self.sleep(thread, deadline))
    }

    /// Makes all threads ready whose deadline is not after the reading `now`.
    pub fn wake_sleepers(&mut self, now: u64) {
        if now < self.first_deadline {
            return;
        }
        self.first_deadline = u64::MAX;
        for number in self.threads.numbers() {
            let (deadline, result) = match self.threads[number].state {
                State::Waiting(Wait::Sleep { deadline }) => (deadline, 0),
                State::Waiting(Wait::UserInterrupt { deadline }) => {
                    (deadline, Errno::TimedOut as i64)
                }
                _ => continue,
            };
            if deadline <= now {
                self.finish_call(number, result);
            } else {
                self.first_deadline = self.first_deadline.min(deadline);
            }
        }
    }

    fn sleep(&mut self, thread: ThreadNo, deadline: u64) -> Outcome {
        if deadline <= cpu::tsc() {
            return Outcome::Yield;
        }
        self.threads[thread].state = State::Waiting(Wait::Sleep { deadline });
        self.first_deadline = self.first_deadline.min(deadline);
        Outcome::Wait
    }

    fn read_time(&self, thread: ThreadNo, address: u64) -> Result<TimeSpec, Errno> {
        let process = self.threads[thread].process;
        let mut bytes = [0; TimeSpec::LEN];
        self.processes[process].space().read(address, &mut bytes)?;
        TimeSpec::from_bytes(bytes).ok_or(Errno::Invalid)
    }
}
