// SPDX-License-Identifier: MIT OR Apache-2.0
//! Forwarded calls: each blocks one thread, many can be under way.
//!
//! A call takes a token, puts its data into the token's buffer and goes into the ring; where there is no token it queues, first
//! come, first served. The completion finds the thread by the token, copies data out, sets the call's result and makes the thread
//! ready. A thread that ends meanwhile leaves its token to the kernel, which releases it when its completion comes.
//!
//! | module | what |
//! | --- | --- |
//! | `calls` | what programs call, and which of their files are the console of this cell |
//! | `memory` | a program's memory, into a buffer and out of it |
//! | `vector` | readv and writev |
//! | `session` | a server is found and lost; what it is told of processes |

mod calls;
mod memory;
mod session;
mod vector;

use forward_ring::syscall::{self, Prepared, Signature};
use forward_ring::{Call, Message, SLOTS, Token};
use nimbos::abi::Errno;
use nimbos::reply;

use super::rings::RingOpen;
use super::{Kernel, Outcome};
use crate::channel::Channel;
use crate::process::Process;
use crate::thread::{State, ThreadNo, Wait};
pub use session::Note;
use vector::Vector;

/// A call for the channel's server.
#[derive(Clone, Copy, Debug)]
pub enum Request {
    /// One of this kernel's own.
    Own {
        /// The call.
        call: Call,
        /// The largest result that it can have.
        most: i64,
    },
    /// One of Linux's, with the program's arguments.
    Linux {
        /// Its number.
        number: u32,
        /// What its arguments are.
        signature: &'static Signature,
        /// The program's arguments.
        args: [u64; 6],
        /// What becomes of the descriptor that is its result.
        after: After,
    },
    /// Reads or writes memory in many places.
    Vector(Vector),
    /// The next step of the thread's `exec`.
    ExecStep,
    /// The thread's process has become another program.
    Exec,
    /// The thread's process wants a ring of its own.
    RingOpen(RingOpen),
    /// The thread has made a process that waits to be born.
    Fork {
        /// The thread of the new process.
        child: ThreadNo,
        /// Number of the new process.
        id: u32,
    },
}

/// What to do with an answer.
#[derive(Clone, Copy, Debug)]
pub enum Receipt {
    /// It is the call's result, if it is an error or at most this.
    Result {
        /// The largest result that the call can have.
        most: i64,
    },
    /// It belongs to one of Linux's calls.
    Linux {
        /// What the call has to write.
        call: Prepared,
        /// What becomes of the descriptor that is the result.
        after: After,
    },
    /// As many bytes of the buffer, to memory in many places.
    Vector {
        /// The call.
        vector: Vector,
        /// How many bytes it can be.
        most: i64,
    },
    /// On with `exec`.
    ExecStep {
        /// The largest result that the step can have.
        most: i64,
    },
    /// The new program begins, whatever it is.
    Exec,
    /// The process gets the ring if it is 0.
    RingOpen(RingOpen),
    /// The new process begins if it is 0.
    Fork {
        /// The thread of the new process.
        child: ThreadNo,
        /// Number of the new process.
        id: u32,
    },
}

/// What follows when a call is over, whatever its result.
#[derive(Clone, Copy, Debug)]
pub enum Next {
    /// The thread goes on with the result.
    Return,
    /// `exec` goes on.
    ExecStep,
    /// The new program begins.
    Exec,
    /// The process gets its ring, if there was no error.
    RingOpen(RingOpen),
    /// The new process begins.
    Fork {
        /// Its thread.
        child: ThreadNo,
        /// Its number.
        id: u32,
    },
}

/// What becomes of a process's descriptor that a call returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// It is as it was.
    Nothing,
    /// It is the console of this cell from now on, or not any more.
    IsConsole(bool),
}

/// Whose a token in the ring is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The kernel's: of a message of its own, or of a call of a thread that has ended.
    Kernel,
    /// This thread waits for it.
    Thread(ThreadNo),
    /// The kernel's: of the message that this ring is nobody's.
    Ring(usize),
}

/// The owners of all tokens.
pub type Owners = [Owner; SLOTS];

impl Kernel {
    /// Makes a call for a thread that runs, and lets it wait.
    #[inline(always)]
    pub fn forward(&mut self, thread: ThreadNo, request: Request) -> Outcome {
        match self.try_submit(thread, &request) {
            Ok(true) => Outcome::Wait,
            Ok(false) => self.queue(thread, request),
            Err(errno) => Outcome::Return(errno),
        }
    }

    /// Makes a call for a thread that waits already; an error is its result.
    pub fn forward_for_waiting(&mut self, thread: ThreadNo, request: Request) {
        if let Outcome::Return(result) = self.forward(thread, request) {
            self.conclude(thread, request.next(), result);
        }
    }

    /// Takes all completions that are there.
    #[inline(always)]
    pub fn drain(&mut self) {
        while let Some(channel) = &mut self.channel
            && channel.is_connected()
        {
            let Some((token, result)) = channel.take_completion() else {
                break;
            };
            match core::mem::replace(&mut self.owners[token.number() as usize], Owner::Kernel) {
                Owner::Thread(thread) => self.answer(thread, token, result),
                Owner::Kernel => self.release(token),
                Owner::Ring(ring) => {
                    self.rings.settle(ring);
                    self.release(token);
                }
            }
        }
        self.after_session();
    }

    /// Leaves nothing of a call whose thread ends: its token is the kernel's from now on.
    pub fn orphan(&mut self, token: u32) {
        self.owners[token as usize] = Owner::Kernel;
    }

    /// Lets a thread wait for a token.
    #[inline(never)]
    fn queue(&mut self, thread: ThreadNo, request: Request) -> Outcome {
        self.threads.wait_for_token(thread, request);
        self.connect();
        Outcome::Wait
    }

    /// Submits a call, and tells whether there was a token for it.
    #[inline(always)]
    fn try_submit(&mut self, thread: ThreadNo, request: &Request) -> Result<bool, i64> {
        let channel = self.channel.as_mut().ok_or(Errno::Io as i64)?;
        let token = channel.reserve().map_err(|errno| errno as i64)?;
        let Some(token) = token else {
            return Ok(false);
        };
        let number = token.number();
        let (message, receipt) = match *request {
            Request::Own { ref call, most } => (call.encode(), Receipt::Result { most }),
            _ => match self.prepare(thread, &token, request) {
                Ok(prepared) => prepared,
                Err(errno) => {
                    self.put_back(token);
                    return Err(errno);
                }
            },
        };
        self.send(thread, token, message)?;
        self.owners[number as usize] = Owner::Thread(thread);
        self.threads[thread].state = State::Waiting(Wait::Reply {
            token: number,
            receipt,
        });
        Ok(true)
    }

    /// Puts a message about a thread's process into the ring.
    #[inline(always)]
    fn send(&mut self, thread: ThreadNo, token: Token, mut message: Message) -> Result<(), i64> {
        let Some(channel) = &mut self.channel else {
            return Err(Errno::Io as i64);
        };
        message.process = self.processes[self.threads[thread].process].id;
        match channel.submit(token, &message) {
            Ok(()) => Ok(()),
            Err(errno) => {
                self.after_session();
                Err(errno as i64)
            }
        }
    }

    /// Puts what a call needs into its buffer, and returns the message without the process.
    #[inline(never)]
    fn prepare(
        &mut self,
        thread: ThreadNo,
        token: &Token,
        request: &Request,
    ) -> Result<(Message, Receipt), i64> {
        let channel = self.channel.as_ref().ok_or(Errno::Io as i64)?;
        let buffer = channel.buffer(token);
        let session = channel.session();
        let entry = &mut self.threads[thread];
        let process = &mut self.processes[entry.process];
        process.session = session;
        match *request {
            Request::Own { call, most } => Ok((call.encode(), Receipt::Result { most })),
            Request::Linux {
                number,
                signature,
                args,
                after,
            } => {
                let call = syscall::prepare(signature, args, process.space(), &buffer)?;
                let message = Message::new(number, &call.args());
                Ok((message, Receipt::Linux { call, after }))
            }
            Request::Vector(vector) => {
                let (message, most) = vector.gather(process.space(), &buffer)?;
                Ok((message, Receipt::Vector { vector, most }))
            }
            Request::ExecStep => {
                let exec = entry.exec.as_ref().ok_or(Errno::Io as i64)?;
                let (message, most) = exec.step(&buffer)?;
                Ok((message, Receipt::ExecStep { most }))
            }
            Request::Exec => Ok((Call::Exec.encode(), Receipt::Exec)),
            Request::RingOpen(wanted) => Ok((wanted.message(), Receipt::RingOpen(wanted))),
            Request::Fork { child, id } => {
                let child_process = self.threads[child].process;
                if self.is_unborn(child, id) {
                    self.processes[child_process].session = session;
                }
                let call = Call::Fork { child: id };
                Ok((call.encode(), Receipt::Fork { child, id }))
            }
        }
    }

    /// Gives a thread the answer to its call.
    #[inline(always)]
    fn answer(&mut self, thread: ThreadNo, token: Token, result: i64) {
        match &self.threads[thread].state {
            State::Waiting(Wait::Reply {
                receipt: Receipt::Result { most },
                ..
            }) if reply::checked(result, *most).is_ok() => {
                self.release(token);
                self.finish_call(thread, result);
            }
            _ => self.answer_with_data(thread, token, result),
        }
    }

    #[inline(never)]
    fn answer_with_data(&mut self, thread: ThreadNo, token: Token, result: i64) {
        let State::Waiting(Wait::Reply { receipt, .. }) = self.threads[thread].state else {
            unreachable!("a thread that owns a token waits for the answer");
        };
        let Some(channel) = &self.channel else {
            return;
        };
        let buffer = channel.buffer(&token);
        let checked = |most| reply::checked(result, most).unwrap_or(Errno::Io as i64);
        let entry = &mut self.threads[thread];
        let process = &mut self.processes[entry.process];
        match receipt {
            Receipt::Result { most } => {
                let result = checked(most);
                self.release(token);
                self.finish_call(thread, result);
            }
            Receipt::Linux { call, after } => {
                let result = syscall::finish(&call, result, process.space_mut(), &buffer);
                process.take_descriptor(after, result);
                self.release(token);
                self.finish_call(thread, result);
            }
            Receipt::Vector { vector, most } => {
                let result = vector.scatter(checked(most), process.space_mut(), &buffer);
                self.release(token);
                self.finish_call(thread, result);
            }
            Receipt::ExecStep { most } => {
                let mut result = checked(most);
                if let Some(exec) = &mut entry.exec
                    && let Err(errno) = exec.take_answer(result, buffer)
                {
                    result = errno as i64;
                }
                self.release(token);
                self.go_on_with_exec(thread, result);
            }
            Receipt::Exec => {
                self.release(token);
                self.threads.make_ready(thread);
            }
            Receipt::RingOpen(wanted) => {
                self.release(token);
                let result = checked(0);
                self.end_ring_open(thread, wanted, result);
            }
            Receipt::Fork { child, id } => {
                self.release(token);
                let result = checked(0);
                self.end_fork(thread, child, id, result);
            }
        }
    }

    /// Ends a call that has not been made, or whose answer will not come; `error` says why.
    fn conclude(&mut self, thread: ThreadNo, next: Next, error: i64) {
        match next {
            Next::Return => self.finish_call(thread, error),
            Next::ExecStep => self.go_on_with_exec(thread, error),
            Next::Exec => self.threads.make_ready(thread),
            Next::RingOpen(wanted) => self.end_ring_open(thread, wanted, error),
            // A server that has gone has no files that the two could share.
            Next::Fork { child, id } => self.end_fork(thread, child, id, 0),
        }
    }

    /// Gives a token back. Nobody waits for one, or the caller sees to those who do.
    fn put_back(&mut self, token: Token) {
        if let Some(channel) = self.channel.as_mut() {
            channel.release(token);
        }
    }

    /// Gives a token back; whoever waits for one is next.
    #[inline(always)]
    fn release(&mut self, token: Token) {
        if let Some(channel) = self.channel.as_mut() {
            channel.release(token);
        }
        if self.threads.has_token_waiters() || self.notes != 0 {
            self.submit_waiting();
        }
    }

    /// Submits what waits for a token, as far as there are tokens.
    #[inline(never)]
    fn submit_waiting(&mut self) {
        self.send_notes();
        while self.channel.as_ref().is_some_and(Channel::has_token) {
            let Some(thread) = self.threads.take_token_waiter() else {
                return;
            };
            let State::Waiting(Wait::Token(request)) = self.threads[thread].state else {
                unreachable!("a thread in the queue waits for a token");
            };
            self.forward_for_waiting(thread, request);
        }
    }
}

impl Request {
    /// The call that does nothing.
    pub const NULL: Self = Self::Own {
        call: Call::Null,
        most: 0,
    };

    /// Returns what follows.
    pub fn next(&self) -> Next {
        match *self {
            Self::Own { .. } | Self::Linux { .. } | Self::Vector(_) => Next::Return,
            Self::ExecStep => Next::ExecStep,
            Self::Exec => Next::Exec,
            Self::RingOpen(wanted) => Next::RingOpen(wanted),
            Self::Fork { child, id } => Next::Fork { child, id },
        }
    }
}

impl Receipt {
    /// Returns what follows.
    pub fn next(&self) -> Next {
        match *self {
            Self::Result { .. } | Self::Linux { .. } | Self::Vector { .. } => Next::Return,
            Self::ExecStep { .. } => Next::ExecStep,
            Self::Exec => Next::Exec,
            Self::RingOpen(wanted) => Next::RingOpen(wanted),
            Self::Fork { child, id } => Next::Fork { child, id },
        }
    }
}

impl Process {
    /// Notes what the descriptor that a call has returned is.
    fn take_descriptor(&mut self, after: After, result: i64) {
        if let (After::IsConsole(is_console), Ok(fd)) = (after, u64::try_from(result)) {
            self.set_console(fd, is_console);
        }
    }
}
