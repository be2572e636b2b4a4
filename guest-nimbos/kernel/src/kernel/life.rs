// SPDX-License-Identifier: MIT OR Apache-2.0
//! How processes and threads begin and end.

use nimbos::abi::{Errno, MAX_SIGNAL, STATUS_SIGNAL, STDIN, STDOUT, WNOHANG};
use nimbos::layout::{USER_END, USER_START};
use nimbos::user_memory::Access;

use super::alarms::Alarm;
use super::forward::{Next, Request};
use super::{Kernel, Outcome};
use crate::arch::trap::UserContext;
use crate::load::{Image, LoadError};
use crate::memory::PageBox;
use crate::process::{INIT_ID, Life, Process, ProcessNo, program_name};
use crate::thread::{State, Thread, ThreadNo, Wait};

/// Largest number of a process or thread; then they begin anew, as far as they are free.
const LAST_ID: u32 = 99_999;
/// Any child: argument of `waitpid`.
const ANY_CHILD: i32 = -1;

/// What a look for a child that has ended gives.
enum Child {
    /// One has, with this status; it is gone now.
    Ended { id: u32, status: i32 },
    /// None has.
    Alive,
    /// There is no such child.
    Missing,
}

impl Kernel {
    /// Makes the first process.
    pub fn add_init(&mut self, name: &str, image: Image) -> Result<(), LoadError> {
        let context = UserContext::new(image.entry, image.stack_pointer);
        let context = context.ok_or(LoadError::OutOfMemory)?;
        let mut process = Process::new(INIT_ID, 0, program_name(name.as_bytes()));
        process.space = Some(image.space);
        for fd in [STDIN, STDOUT] {
            process.set_console(fd as u64, self.keyboard.is_used);
        }
        self.last_id = INIT_ID;
        self.processes[ProcessNo::FIRST] = process;
        let thread = self.threads.find_free().ok_or(LoadError::OutOfMemory)?;
        self.add_thread(thread, INIT_ID, ProcessNo::FIRST, context);
        Ok(())
    }

    /// `fork()`: a process with a copy of the memory and of the thread that calls. It begins when the channel's server has
    /// shared the files with it.
    pub fn fork(&mut self, thread: ThreadNo) -> Result<Outcome, Errno> {
        let new_process = self.processes.find_free().ok_or(Errno::Again)?;
        let new_thread = self.threads.find_free().ok_or(Errno::Again)?;
        let parent_process = self.threads[thread].process;
        let parent = &self.processes[parent_process];
        let space = parent.space().duplicate().map_err(|_| Errno::NoMemory)?;
        let space = PageBox::new(space).ok_or(Errno::NoMemory)?;
        let mut context = self.threads[thread]
            .context()
            .duplicate()
            .ok_or(Errno::NoMemory)?;
        context.set_result(0);
        let id = self.new_id();
        let mut child = self.processes[parent_process].child(id);
        child.space = Some(space);
        self.processes[new_process] = child;
        if !self.is_known(parent_process) {
            self.add_thread(new_thread, id, new_process, context);
            return Ok(Outcome::Return(id.into()));
        }
        self.put_thread(new_thread, id, new_process, context);
        self.threads[new_thread].state = State::Waiting(Wait::Birth);
        let child = new_thread;
        Ok(match self.forward(thread, Request::Fork { child, id }) {
            // The server is gone, and all files with it.
            Outcome::Return(_) => {
                self.threads.make_ready(child);
                Outcome::Return(id.into())
            }
            outcome => outcome,
        })
    }

    /// `clone(stack)`: a thread of the same process.
    pub fn clone_thread(&mut self, thread: ThreadNo, [stack]: [u64; 1]) -> Result<i64, Errno> {
        if !(USER_START..=USER_END).contains(&stack) {
            return Err(Errno::Fault);
        }
        let new_thread = self.threads.find_free().ok_or(Errno::Again)?;
        let context = self.threads[thread].context().duplicate();
        let mut context = context.ok_or(Errno::NoMemory)?;
        context.set_result(0);
        context.set_stack(stack);
        let id = self.new_id();
        let process = self.threads[thread].process;
        self.add_thread(new_thread, id, process, context);
        Ok(id.into())
    }

    /// `exit(status)`.
    pub fn exit(&mut self, thread: ThreadNo, [status]: [u64; 1]) -> Outcome {
        let process = &mut self.processes[self.threads[thread].process];
        if process.threads == 1 {
            process.ending.get_or_insert(exit_status(status));
        }
        Outcome::End
    }

    /// `exit_group(status)`.
    pub fn exit_group(&mut self, thread: ThreadNo, [status]: [u64; 1]) -> Outcome {
        self.end_process_of(thread, exit_status(status));
        Outcome::End
    }

    /// `kill(pid, signal)`: signal 0 only asks whether there is such a process.
    pub fn kill(&mut self, thread: ThreadNo, [pid, signal]: [u64; 2]) -> Result<Outcome, Errno> {
        if signal > MAX_SIGNAL {
            return Err(Errno::Invalid);
        }
        let id = u32::try_from(pid as i32).map_err(|_| Errno::NoProcess)?;
        let process = self.processes.find_id(id).ok_or(Errno::NoProcess)?;
        if self.processes[process].life == Life::Departed {
            return Err(Errno::NoProcess);
        }
        if signal == 0 {
            return Ok(Outcome::Return(0));
        }
        if id == INIT_ID {
            return Err(Errno::NotPermitted);
        }
        let status = STATUS_SIGNAL + signal as i32;
        if process == self.threads[thread].process {
            self.end_process_of(thread, status);
            return Ok(Outcome::End);
        }
        if self.processes[process].life == Life::Alive {
            self.processes[process].ending.get_or_insert(status);
            self.kill_threads(process, None);
        }
        Ok(Outcome::Return(0))
    }

    /// `waitpid(pid, *status, options)`.
    pub fn waitpid(
        &mut self,
        thread: ThreadNo,
        [pid, status, options]: [u64; 3],
    ) -> Result<Outcome, Errno> {
        if options & !WNOHANG != 0 {
            return Err(Errno::Invalid);
        }
        let process = self.threads[thread].process;
        if status != 0 {
            let space = self.processes[process].space();
            space.check(status, size_of::<i32>(), Access::Write)?;
        }
        // There are no groups of processes: 0, all of the own group, is all.
        let pid = match pid as i32 {
            0 => ANY_CHILD,
            pid => pid,
        };
        match self.look_for_child(process, pid) {
            Child::Ended { id, status: value } => {
                Ok(Outcome::Return(self.put_status(process, id, status, value)))
            }
            Child::Missing => Err(Errno::NoChild),
            Child::Alive if options & WNOHANG != 0 => Ok(Outcome::Return(0)),
            Child::Alive => {
                self.threads[thread].state = State::Waiting(Wait::Child { pid, status });
                Ok(Outcome::Wait)
            }
        }
    }

    /// Lets the process of a thread, which runs here, end with `status`: all its other threads end.
    pub fn end_process_of(&mut self, thread: ThreadNo, status: i32) {
        let process = self.threads[thread].process;
        self.processes[process].ending.get_or_insert(status);
        self.kill_threads(process, Some(thread));
    }

    /// Lets all threads of a process end, but one.
    pub fn kill_threads(&mut self, process: ProcessNo, but: Option<ThreadNo>) {
        for number in self.threads.numbers() {
            let thread = &self.threads[number];
            let is_of_process = thread.process == process && !matches!(thread.state, State::Free);
            if is_of_process && Some(number) != but {
                self.kill_thread(number);
            }
        }
    }

    /// Ends a thread as soon as possible: at once, unless it runs or CPUs use memory that hangs on it.
    fn kill_thread(&mut self, thread: ThreadNo) {
        match self.threads[thread].state {
            State::Free => return,
            State::Running { cpu } => {
                self.threads[thread].is_killed = true;
                return self.cpus.call(cpu.into());
            }
            State::Waiting(Wait::Unmap { .. }) => {
                self.threads[thread].is_killed = true;
                return;
            }
            State::Ready => self.threads.remove_ready(thread),
            State::Waiting(Wait::Token(request)) => {
                self.threads.remove_token_waiter(thread);
                self.end_unborn(request.next());
            }
            State::Waiting(Wait::Reply { token, receipt }) => {
                self.orphan(token);
                self.end_unborn(receipt.next());
            }
            State::Waiting(
                Wait::Child { .. }
                | Wait::Sleep { .. }
                | Wait::UserInterrupt { .. }
                | Wait::Console { .. }
                | Wait::Alone
                | Wait::Birth,
            ) => {}
        }
        self.end_thread(thread);
    }

    /// Ends a process that waits to be born, because the one that forked it ends.
    fn end_unborn(&mut self, next: Next) {
        if let Next::Fork { child, id } = next
            && self.is_unborn(child, id)
        {
            self.end_thread(child);
        }
    }

    /// Ends a thread that does not run and is in no queue.
    pub fn end_thread(&mut self, thread: ThreadNo) {
        let process = self.threads[thread].process;
        self.end_receiver(thread);
        self.end_alarm_of(thread);
        self.threads[thread].clear();
        self.processes[process].threads -= 1;
        match self.processes[process].threads {
            0 => self.end_process(process),
            1 => {
                let last = self.threads.of(process).next();
                if let Some(last) = last
                    && matches!(self.threads[last].state, State::Waiting(Wait::Alone))
                {
                    self.replace_if_alone(last);
                }
            }
            _ => {}
        }
    }

    /// The last thread of a process has ended.
    fn end_process(&mut self, number: ProcessNo) {
        self.leave_space(number);
        self.end_senders(number);
        let process = &mut self.processes[number];
        let status = process.ending.unwrap_or(0);
        process.space = None;
        process.alarm = Alarm::OFF;
        process.life = Life::Zombie { status };
        let (id, parent) = (process.id, process.parent);
        if id == INIT_ID {
            self.end = Some(status);
            return;
        }
        self.tell_end(number, status);
        let mut has_left_zombies = false;
        for child in self.processes.all_mut() {
            if child.parent == id {
                child.parent = INIT_ID;
                has_left_zombies |= matches!(child.life, Life::Zombie { .. });
            }
        }
        self.wake_parent(parent);
        if has_left_zombies {
            self.wake_parent(INIT_ID);
        }
    }

    /// Lets the threads of a process look again that wait for a child.
    fn wake_parent(&mut self, id: u32) {
        let Some(process) = self.processes.find_id(id) else {
            return;
        };
        for number in self.threads.numbers() {
            if self.threads[number].process != process {
                continue;
            }
            let State::Waiting(Wait::Child { pid, status }) = self.threads[number].state else {
                continue;
            };
            let result = match self.look_for_child(process, pid) {
                Child::Ended { id, status: value } => self.put_status(process, id, status, value),
                Child::Missing => Errno::NoChild as i64,
                Child::Alive => continue,
            };
            self.finish_call(number, result);
        }
    }

    /// Looks for a child that has ended, and removes it.
    fn look_for_child(&mut self, process: ProcessNo, pid: i32) -> Child {
        let parent = self.processes[process].id;
        let is_wanted = |child: &Process| {
            !matches!(child.life, Life::Free | Life::Departed)
                && child.parent == parent
                && (pid == ANY_CHILD || i64::from(child.id) == i64::from(pid))
        };
        let ended = self
            .processes
            .find(|child| is_wanted(child) && matches!(child.life, Life::Zombie { .. }));
        match ended {
            Some(number) => {
                let child = &mut self.processes[number];
                let Life::Zombie { status } = child.life else {
                    unreachable!("it was looked for");
                };
                let id = child.id;
                child.depart();
                Child::Ended { id, status }
            }
            None if self.processes.find(is_wanted).is_some() => Child::Alive,
            None => Child::Missing,
        }
    }

    /// Stores a child's status at `address`, unless that is 0, and returns the result of the call.
    fn put_status(&mut self, process: ProcessNo, id: u32, address: u64, status: i32) -> i64 {
        let space = self.processes[process].space_mut();
        match address {
            0 => id.into(),
            address => match space.write(address, &status.to_le_bytes()) {
                Ok(()) => id.into(),
                Err(errno) => errno as i64,
            },
        }
    }

    fn add_thread(&mut self, number: ThreadNo, id: u32, process: ProcessNo, context: UserContext) {
        self.put_thread(number, id, process, context);
        self.threads.make_ready(number);
    }

    /// Adds a thread that is not ready yet.
    fn put_thread(&mut self, number: ThreadNo, id: u32, process: ProcessNo, context: UserContext) {
        self.threads[number] = Thread::new(id, process, context);
        self.processes[process].threads += 1;
    }

    /// Returns a number that no process and no thread has.
    fn new_id(&mut self) -> u32 {
        loop {
            self.last_id = if self.last_id < LAST_ID {
                self.last_id + 1
            } else {
                INIT_ID + 1
            };
            let id = self.last_id;
            if self.processes.find_id(id).is_none() && !self.threads.has_id(id) {
                return id;
            }
        }
    }
}

/// Returns the status of a process that passed `status` to `exit`: its low byte, as on Linux.
fn exit_status(status: u64) -> i32 {
    (status & 0xff) as i32
}
