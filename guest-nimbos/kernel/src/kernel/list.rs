// SPDX-License-Identifier: MIT OR Apache-2.0
//! The list of processes.

use nimbos::abi::{Activity, Errno, ProcessInfo};

use super::Kernel;
use crate::process::{Life, MAX_PROCESSES, Process, ProcessNo};
use crate::thread::{State, ThreadNo};

impl Kernel {
    /// `process_list(*array, count)`.
    pub fn process_list(
        &mut self,
        thread: ThreadNo,
        [address, room]: [u64; 2],
    ) -> Result<i64, Errno> {
        let mut count = 0;
        let mut entries = [[0; ProcessInfo::LEN]; MAX_PROCESSES];
        for ((number, process), entry) in self.processes.all().zip(&mut entries) {
            *entry = self.process_info(number, process).to_bytes();
            count += 1;
        }
        let wanted = usize::try_from(room).unwrap_or(usize::MAX).min(count);
        let owner = self.threads[thread].process;
        self.processes[owner]
            .space_mut()
            .write(address, entries[..wanted].as_flattened())?;
        Ok(count as i64)
    }

    fn process_info(&self, number: ProcessNo, process: &Process) -> ProcessInfo {
        let is_running = || {
            self.threads.of(number).any(|thread| {
                let state = &self.threads[thread].state;
                matches!(state, State::Ready | State::Running { .. })
            })
        };
        let activity = match process.life {
            Life::Zombie { .. } => Activity::Zombie,
            _ if is_running() => Activity::Running,
            _ => Activity::Waiting,
        };
        ProcessInfo {
            pid: process.id,
            parent: process.parent,
            activity: activity as u32,
            threads: process.threads,
            cpu_ticks: process.cpu_ticks,
            name: process.name,
        }
    }
}
