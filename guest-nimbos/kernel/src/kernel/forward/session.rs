// SPDX-License-Identifier: MIT OR Apache-2.0
//! A server is found and lost, and what it is told of processes.
//!
//! A server knows a process from the first call of it in a session on. Of a process that it knows it is told that it has forked
//! (the call waits for the answer, because it may be a refusal), become another program (which waits too) or ended (which
//! nobody waits for). What is sent when a process that the server knows has ended is noted in the process's entry, which is not
//! used again before it is sent.

use forward_ring::{Call, Message, SLOTS};
use nimbos::abi::Errno;

use super::{Kernel, Owner};
use crate::channel::{Channel, Failure};
use crate::process::{Life, Process, ProcessNo};
use crate::thread::{State, ThreadNo, Wait};

/// What the server is to be told of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// Nothing.
    Nothing,
    /// It has ended.
    Ended {
        /// With this status.
        status: i32,
    },
}

impl Kernel {
    /// What the timer has to do with the channel: connect, and see whether the server is gone.
    pub fn tick_channel(&mut self) {
        let is_wanted = self.threads.has_token_waiters();
        let Some(channel) = self.channel.as_mut() else {
            return;
        };
        if channel.is_connected() {
            if !channel.is_server_there() {
                self.drain();
                self.lose_calls();
            }
            return;
        }
        let has_waited_enough = channel.tick(is_wanted);
        self.after_connecting();
        if has_waited_enough {
            self.fail_waiting();
        }
    }

    /// Tries to connect, if there is no session.
    pub(super) fn connect(&mut self) {
        if let Some(channel) = &mut self.channel
            && !channel.is_connected()
        {
            channel.connect();
            self.after_connecting();
        }
    }

    fn after_connecting(&mut self) {
        let Some(channel) = &self.channel else {
            return;
        };
        if channel.is_closed() {
            self.fail_waiting();
        } else if channel.has_lost_session() {
            self.end_session();
        } else if channel.is_connected() {
            // The boot CPU's slot is known already.
            self.slots_told = 1;
            self.notes += self.cpu_count() - self.slots_told;
            self.submit_waiting();
        }
    }

    /// The server is gone, or another one has come, and what it has completed before is taken: ends the session.
    fn lose_calls(&mut self) {
        if let Some(channel) = self.channel.as_mut() {
            channel.drop_session(Failure::ServerGone);
        }
        self.after_session();
    }

    /// If the session is over, gives all its calls their error.
    #[inline(always)]
    pub(super) fn after_session(&mut self) {
        if self.channel.as_ref().is_some_and(Channel::has_lost_session) {
            self.end_session();
        }
    }

    #[cold]
    fn end_session(&mut self) {
        if let Some(channel) = &mut self.channel {
            channel.acknowledge_loss();
        }
        self.forget_notes();
        self.lose_rings();
        let owners = core::mem::replace(&mut self.owners, [Owner::Kernel; SLOTS]);
        for owner in owners {
            if let Owner::Thread(thread) = owner
                && let State::Waiting(Wait::Reply { receipt, .. }) = &self.threads[thread].state
            {
                let next = receipt.next();
                self.conclude(thread, next, Errno::Io as i64);
            }
        }
        self.fail_waiting();
    }

    /// Gives the calls that wait for a token an error.
    fn fail_waiting(&mut self) {
        while let Some(thread) = self.threads.take_token_waiter() {
            if let State::Waiting(Wait::Token(request)) = &self.threads[thread].state {
                let next = request.next();
                self.conclude(thread, next, Errno::Io as i64);
            }
        }
    }

    /// Tells whether there is a session.
    pub fn is_connected(&self) -> bool {
        self.channel.as_ref().is_some_and(Channel::is_connected)
    }

    /// Tells whether the server knows a process.
    pub fn is_known(&self, process: ProcessNo) -> bool {
        let session = self.channel.as_ref().map(Channel::session);
        self.is_connected() && session == Some(self.processes[process].session)
    }

    /// Has the server told that a process has ended, if it knows it.
    pub fn tell_end(&mut self, process: ProcessNo, status: i32) {
        if self.is_known(process) {
            self.processes[process].note = Note::Ended { status };
            self.tell();
        }
    }

    /// Sends what the server is to be told, as far as there are tokens.
    pub(super) fn send_notes(&mut self) {
        while self.notes != 0
            && let Some(channel) = &mut self.channel
            && let Some(token) = channel.reserve_for_kernel()
        {
            self.notes -= 1;
            let (message, owner) = match self.next_note() {
                Some(note) => note,
                None => {
                    self.put_back(token);
                    break;
                }
            };
            self.owners[token.number() as usize] = owner;
            if let Some(channel) = &mut self.channel
                && channel.submit(token, &message).is_err()
            {
                break;
            }
        }
        self.after_session();
    }

    /// Has the server told what has been noted down.
    pub fn tell(&mut self) {
        self.notes += 1;
        self.send_notes();
    }

    /// Returns the next message for the server, and whose its token is.
    fn next_note(&mut self) -> Option<(Message, Owner)> {
        if self.slots_told < self.cpu_count() {
            let call = Channel::uintr_init(self.slots_told);
            self.slots_told += 1;
            return Some((call.encode(), Owner::Kernel));
        }
        if let Some(ring) = self.rings.take_untold() {
            let call = Call::RingClose { ring: ring as u32 };
            return Some((call.encode(), Owner::Ring(ring)));
        }
        let process = self.processes.find(|process| process.note != Note::Nothing);
        let process = &mut self.processes[process?];
        let Note::Ended { status } = process.note else {
            return None;
        };
        let message = Message {
            process: process.id,
            ..Call::Exit { status }.encode()
        };
        process.forget_note();
        Some((message, Owner::Kernel))
    }

    fn forget_notes(&mut self) {
        self.notes = 0;
        for process in self.processes.all_mut() {
            process.forget_note();
        }
    }

    /// Ends a fork: the new process begins, or goes because the server does not take it.
    pub(super) fn end_fork(&mut self, parent: ThreadNo, child: ThreadNo, id: u32, result: i64) {
        if self.is_unborn(child, id) {
            if result == 0 {
                self.threads.make_ready(child);
            } else {
                self.remove_unborn(child);
            }
        }
        let result = if result == 0 { id.into() } else { result };
        self.finish_call(parent, result);
    }

    /// Tells whether this is the thread of process `id`, which waits to be born.
    pub fn is_unborn(&self, child: ThreadNo, id: u32) -> bool {
        let child = &self.threads[child];
        child.id == id && matches!(child.state, State::Waiting(Wait::Birth))
    }

    fn remove_unborn(&mut self, child: ThreadNo) {
        let process = self.threads[child].process;
        self.threads[child].clear();
        self.processes[process].clear();
    }
}

impl Process {
    fn forget_note(&mut self) {
        self.note = Note::Nothing;
        if self.life == Life::Departed {
            self.clear();
        }
    }
}
