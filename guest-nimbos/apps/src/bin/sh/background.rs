// SPDX-License-Identifier: MIT OR Apache-2.0
//! Processes that the shell has started in the background, and the children that it gets as the cell's first process: those of
//! processes that have ended.

use arrayvec::ArrayVec;
use nimbos_apps::Error;
use nimbos_apps::process;

/// Most processes of which something is remembered.
const MAX_PROCESSES: usize = 32;

/// A process in the background.
struct Process {
    number: u32,
    /// Its status, if it has ended.
    status: Option<i32>,
}

/// The processes in the background, in the order in which they were started.
#[derive(Default)]
pub struct Background {
    processes: ArrayVec<Process, MAX_PROCESSES>,
}

impl Background {
    /// Takes note of children that have ended. Of those that others have left nobody asks for the status.
    pub fn take_ended(&mut self) {
        while let Ok(Some((number, status))) = process::try_wait_any() {
            if let Some(process) = self.find(number) {
                process.status = Some(status.0);
            }
        }
    }

    /// Makes room for one more process; returns whether there is. The oldest that has ended is forgotten.
    pub fn make_room(&mut self) -> bool {
        if self.processes.is_full() {
            let mut processes = self.processes.iter();
            if let Some(ended) = processes.position(|process| process.status.is_some()) {
                self.processes.remove(ended);
            }
        }
        !self.processes.is_full()
    }

    /// Adds a process, for which there must be room.
    pub fn add(&mut self, number: u32) {
        let status = None;
        self.processes.push(Process { number, status });
    }

    /// Waits for a child, and forgets it; returns its status.
    pub fn wait_for(&mut self, number: u32) -> Result<i32, Error> {
        let status = match self.find(number).and_then(|process| process.status) {
            Some(status) => Ok(status),
            None => process::wait(number).map(|status| status.0),
        };
        self.processes.retain(|process| process.number != number);
        status
    }

    /// Waits for all processes in the background. Children that others have left are none of them.
    pub fn wait_for_all(&mut self) -> Result<(), Error> {
        while let Some(process) = self.processes.first() {
            self.wait_for(process.number)?;
        }
        Ok(())
    }

    fn find(&mut self, number: u32) -> Option<&mut Process> {
        let mut processes = self.processes.iter_mut();
        processes.find(|process| process.number == number)
    }
}
