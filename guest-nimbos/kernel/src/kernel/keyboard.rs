// SPDX-License-Identifier: MIT OR Apache-2.0
//! Programs that read the cell's own console: `console=own` on the command line.
//!
//! The cell gets no interrupt of its UART (the I/O APIC belongs to the cell with the devices), so the timer's tick looks
//! for keys, 100 times a second. The UART holds 16 bytes meanwhile; nobody types faster, and whoever has a machine type
//! waits for the echo.

use nimbos::abi::{Errno, SIGINT, STATUS_SIGNAL};
use nimbos::line_discipline::{Action, LineDiscipline};
use nimbos::reply::clipped;
use nimbos::user_memory::Access;

use super::{Kernel, Outcome};
use crate::console;
use crate::process::{INIT_ID, Life, ProcessNo};
use crate::thread::{State, ThreadNo, Wait};

/// Most bytes that one call reads: a line is not longer.
const MAX_READ: usize = nimbos::line_discipline::MAX_LINE;

/// The console's input.
pub struct Keyboard {
    input: LineDiscipline,
    /// Whether programs read it. Otherwise nobody looks for keys.
    pub is_used: bool,
}

impl Keyboard {
    /// Returns one that nobody uses.
    pub const fn new() -> Self {
        Self {
            input: LineDiscipline::new(),
            is_used: false,
        }
    }
}

impl Kernel {
    /// `read` of a descriptor that is the console: waits for a line.
    pub fn read_console(
        &mut self,
        thread: ThreadNo,
        address: u64,
        len: u64,
    ) -> Result<Outcome, Errno> {
        if !self.keyboard.is_used {
            return Err(Errno::BadFile);
        }
        let len = clipped(len, MAX_READ);
        let process = self.threads[thread].process;
        let space = self.processes[process].space();
        space.check(address, len, Access::Write)?;
        if len == 0 {
            return Ok(Outcome::Return(0));
        }
        if !self.keyboard.input.is_readable() {
            self.threads[thread].state = State::Waiting(Wait::Console { address, len });
            return Ok(Outcome::Wait);
        }
        Ok(Outcome::Return(self.take_line(process, address, len)))
    }

    /// Takes the keys that have been typed.
    pub fn poll_keyboard(&mut self) {
        if !self.keyboard.is_used {
            return;
        }
        while self.keyboard.input.has_room()
            && let Some(key) = console::read_byte()
        {
            match self.keyboard.input.press(key, console::write) {
                Action::None => {}
                Action::Wake => self.wake_readers(),
                Action::Interrupt => self.interrupt(),
            }
        }
    }

    /// Gives the threads that wait for a line what there is.
    fn wake_readers(&mut self) {
        for number in self.threads.numbers() {
            if !self.keyboard.input.is_readable() {
                return;
            }
            if let State::Waiting(Wait::Console { address, len }) = self.threads[number].state {
                let process = self.threads[number].process;
                let result = self.take_line(process, address, len);
                self.finish_call(number, result);
            }
        }
    }

    /// Copies a line, or a part of it, to a program; returns the result of the call.
    fn take_line(&mut self, process: ProcessNo, address: u64, len: usize) -> i64 {
        let mut line = [0; MAX_READ];
        let count = self.keyboard.input.read(&mut line[..len]);
        match self.processes[process]
            .space_mut()
            .write(address, &line[..count])
        {
            Ok(()) => count as i64,
            Err(errno) => errno as i64,
        }
    }

    /// ^C: what runs in the foreground ends. That is what init waits for, or what that waits for, and so on, with all
    /// that they have started. Init itself goes on; if it is the one that reads, it gets an empty line.
    fn interrupt(&mut self) {
        let init = self.processes.find_id(INIT_ID);
        let Some(mut foreground) = init else {
            return;
        };
        while let Some(child) = self.awaited_child(foreground) {
            foreground = child;
        }
        if Some(foreground) == init {
            if self.children_are_awaited(foreground) {
                self.kill_descendants(foreground);
            }
            self.keyboard.input.end_line();
            self.wake_readers();
        } else {
            self.kill_descendants(foreground);
            self.kill_process(foreground);
        }
    }

    /// Returns the child that a thread of a process waits for.
    fn awaited_child(&self, process: ProcessNo) -> Option<ProcessNo> {
        let awaited =
            self.threads
                .of(process)
                .find_map(|thread| match self.threads[thread].state {
                    State::Waiting(Wait::Child { pid, .. }) => u32::try_from(pid).ok(),
                    _ => None,
                })?;
        let child = self.processes.find_id(awaited)?;
        (self.processes[child].life == Life::Alive).then_some(child)
    }

    /// Tells whether a thread of a process waits for any child.
    fn children_are_awaited(&self, process: ProcessNo) -> bool {
        let waits = |thread| {
            let state = &self.threads[thread].state;
            matches!(state, State::Waiting(Wait::Child { pid: ..0, .. }))
        };
        self.threads.of(process).any(waits)
    }

    fn kill_descendants(&mut self, ancestor: ProcessNo) {
        let id = self.processes[ancestor].id;
        // The numbers first: whoever ends leaves its children to init.
        let mut doomed = [false; crate::process::MAX_PROCESSES];
        for (number, process) in self.processes.all() {
            doomed[number.index()] = process.life == Life::Alive && self.descends(number, id);
        }
        for number in ProcessNo::all() {
            if doomed[number.index()] {
                self.kill_process(number);
            }
        }
    }

    /// Tells whether a process was started by the one with the number `ancestor`, or by one that was.
    fn descends(&self, process: ProcessNo, ancestor: u32) -> bool {
        let mut parent = self.processes[process].parent;
        // Parents are older than their children, and so end with init, which has none.
        while parent != 0 {
            if parent == ancestor {
                return true;
            }
            let Some(number) = self.processes.find_id(parent) else {
                return false;
            };
            parent = self.processes[number].parent;
        }
        false
    }

    fn kill_process(&mut self, process: ProcessNo) {
        self.processes[process]
            .ending
            .get_or_insert(STATUS_SIGNAL + SIGINT);
        self.kill_threads(process, None);
    }
}
