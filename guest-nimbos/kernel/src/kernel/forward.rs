// SPDX-License-Identifier: MIT OR Apache-2.0
//! Forwarded calls: each blocks one thread, many can be under way.
//!
//! A call takes a token, puts its data into the token's buffer and goes into the ring; where there is no token it queues, first
//! come, first served. The completion finds the thread by the token, copies data out, sets the call's result and makes the thread
//! ready. A thread that ends meanwhile leaves its token to nobody: an orphan, released when its completion comes.

use forward_ring::{Call, SLOTS, Token, WaitError};
use nimbos::abi::Errno;
use nimbos::reply;

use super::{Kernel, Outcome};
use crate::channel::{Channel, Failure};
use crate::process::Process;
use crate::thread::{State, ThreadNo, Wait};

/// Longest path, with its NUL; Linux's PATH_MAX. No buffer is smaller.
const MAX_PATH: usize = 4096;

/// A call for the channel's server.
#[derive(Clone, Copy, Debug)]
pub struct Forwarded {
    /// The call. `path_len` of one with a path is filled in when the path is read.
    pub call: Call,
    /// What goes into the buffer before.
    pub input: Input,
    /// What to do with the answer.
    pub receipt: Receipt,
}

/// What goes into a call's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Nothing.
    Nothing,
    /// Bytes of the program, no more than a buffer has.
    Bytes {
        /// Where they are.
        address: u64,
        /// How many.
        len: u32,
    },
    /// A path: a string of the program.
    Path {
        /// Where it is.
        address: u64,
    },
    /// The path of the program that the thread is about to become.
    ExecPath,
}

/// What to do with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The largest result that the call can have; a larger one closes the channel.
    pub most: i64,
    /// Where the result goes.
    pub output: Output,
}

/// Where an answer goes, beside the call's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Nowhere.
    Nothing,
    /// The result is a new file, which has to be closed if nobody wants it any more.
    File,
    /// As many bytes of the buffer as the result says, to the program.
    Bytes {
        /// Where they go.
        address: u64,
    },
    /// On with `exec`.
    Exec,
}

/// Whose a token in the ring is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// No call of a thread has it.
    Nobody,
    /// This thread waits for it.
    Thread(ThreadNo),
    /// Whoever waited has ended.
    Orphan(Leftover),
}

/// What an orphan leaves to be closed in the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leftover {
    /// Nothing.
    Nothing,
    /// The file that the call opens.
    Result,
    /// This file.
    File(i32),
}

/// The owners of all tokens.
pub type Owners = [Owner; SLOTS];

impl Forwarded {
    /// Returns a call without data whose result is at most `most`.
    pub const fn plain(call: Call, most: i64) -> Self {
        Self {
            call,
            input: Input::Nothing,
            receipt: Receipt {
                most,
                output: Output::Nothing,
            },
        }
    }
}

impl Kernel {
    /// Makes a call for a thread that runs, and lets it wait.
    #[inline(always)]
    pub fn forward(&mut self, thread: ThreadNo, forwarded: Forwarded) -> Outcome {
        match self.try_submit(thread, &forwarded) {
            Ok(true) => Outcome::Wait,
            Ok(false) => self.queue(thread, forwarded),
            Err(errno) => {
                self.after_channel();
                Outcome::Return(errno as i64)
            }
        }
    }

    /// Lets a thread wait for a token.
    #[inline(never)]
    fn queue(&mut self, thread: ThreadNo, forwarded: Forwarded) -> Outcome {
        self.threads.wait_for_token(thread, forwarded);
        self.connect();
        Outcome::Wait
    }

    /// Makes a call for a thread that waits already; an error is its result.
    pub fn forward_for_waiting(&mut self, thread: ThreadNo, forwarded: Forwarded) {
        if let Outcome::Return(result) = self.forward(thread, forwarded) {
            self.take_result(thread, forwarded.receipt.output, result);
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
            let owner = &mut self.owners[token.number() as usize];
            match core::mem::replace(owner, Owner::Nobody) {
                Owner::Thread(thread) => self.answer(thread, token, result),
                Owner::Orphan(leftover) => self.bury(token, leftover, result),
                // A token is in the ring for a thread only.
                Owner::Nobody => self.release(token),
            }
        }
        self.after_channel();
    }

    /// What the timer has to do with the channel: connect, and see whether the server is gone.
    pub fn tick_channel(&mut self) {
        let has_waiters = self.threads.has_token_waiters();
        let Some(channel) = self.channel.as_mut() else {
            return;
        };
        if channel.is_connected() {
            if !channel.is_server_there() {
                self.drain();
                self.lose_calls();
            }
        } else if has_waiters && !channel.is_closed() {
            channel.count_waiting();
            self.connect();
        }
    }

    /// Leaves nothing of a call whose thread ends: its token is an orphan from now on.
    pub fn orphan(&mut self, token: u32, leftover: Leftover) {
        self.owners[token as usize] = Owner::Orphan(leftover);
    }

    /// Submits a call, and tells whether there was a token for it.
    #[inline(always)]
    fn try_submit(&mut self, thread: ThreadNo, forwarded: &Forwarded) -> Result<bool, Errno> {
        let channel = self.channel.as_mut().ok_or(Errno::Io)?;
        let Some(token) = channel.reserve()? else {
            return Ok(false);
        };
        let number = token.number();
        let process = &self.processes[self.threads[thread].process];
        let call = match forwarded.input {
            Input::Nothing => forwarded.call,
            input => {
                let exec = self.threads[thread].exec.as_deref();
                match put(input, forwarded.call, process, channel, &token, exec) {
                    Ok(call) => call,
                    Err(errno) => {
                        channel.release(token);
                        return Err(errno);
                    }
                }
            }
        };
        channel.submit(token, call)?;
        self.owners[number as usize] = Owner::Thread(thread);
        self.threads[thread].state = State::Waiting(Wait::Reply {
            token: number,
            receipt: forwarded.receipt,
        });
        Ok(true)
    }

    /// Gives a thread the answer to its call.
    #[inline(always)]
    fn answer(&mut self, thread: ThreadNo, token: Token, result: i64) {
        let State::Waiting(Wait::Reply { receipt, .. }) = self.threads[thread].state else {
            unreachable!("a thread that owns a token waits for the answer");
        };
        if receipt.output == Output::Nothing && reply::checked(result, receipt.most).is_ok() {
            self.release(token);
            self.finish_call(thread, result);
        } else {
            self.answer_with_data(thread, token, receipt, result);
        }
    }

    #[inline(never)]
    fn answer_with_data(
        &mut self,
        thread: ThreadNo,
        token: Token,
        receipt: Receipt,
        mut result: i64,
    ) {
        let Some(channel) = self.channel.as_mut() else {
            return;
        };
        if let Err(error) = reply::checked(result, receipt.most) {
            result = channel.fail(Failure::BadResult(error)) as i64;
        } else if result > 0 {
            let buffer = channel.buffer(&token);
            let taken = match receipt.output {
                Output::Nothing | Output::File => Ok(()),
                Output::Bytes { address } => {
                    let process = self.threads[thread].process;
                    let space = self.processes[process].space_mut();
                    space.write_from_buffer(address, result as usize, buffer)
                }
                Output::Exec => match &mut self.threads[thread].exec {
                    Some(exec) => exec.take_bytes(result, buffer),
                    None => Ok(()),
                },
            };
            if let Err(errno) = taken {
                result = errno as i64;
            }
        }
        self.release(token);
        self.take_result(thread, receipt.output, result);
    }

    fn take_result(&mut self, thread: ThreadNo, output: Output, result: i64) {
        if output == Output::Exec {
            self.go_on_with_exec(thread, result);
        } else {
            self.finish_call(thread, result);
        }
    }

    /// Closes what an orphan has left in the server, and releases its token.
    #[inline(never)]
    fn bury(&mut self, token: Token, leftover: Leftover, result: i64) {
        let fd = match leftover {
            Leftover::Nothing => None,
            Leftover::Result => i32::try_from(result).ok().filter(|&fd| fd >= 0),
            Leftover::File(fd) => Some(fd),
        };
        match (fd, self.channel.as_mut()) {
            (Some(fd), Some(channel)) => {
                self.owners[token.number() as usize] = Owner::Orphan(Leftover::Nothing);
                // If it cannot be sent, the channel is closed, and the server with it.
                let _ = channel.submit(token, Call::Close { fd });
            }
            _ => self.release(token),
        }
    }

    /// Gives a token back; whoever waits for one is next.
    #[inline(always)]
    fn release(&mut self, token: Token) {
        if let Some(channel) = self.channel.as_mut() {
            channel.release(token);
        }
        if self.threads.has_token_waiters() {
            self.submit_waiting();
        }
    }

    /// Submits the calls that wait for a token, as far as there are tokens.
    #[inline(never)]
    fn submit_waiting(&mut self) {
        while self.channel.as_ref().is_some_and(Channel::has_token) {
            let Some(thread) = self.threads.take_token_waiter() else {
                return;
            };
            let State::Waiting(Wait::Token(forwarded)) = self.threads[thread].state else {
                unreachable!("a thread in the queue waits for a token");
            };
            self.forward_for_waiting(thread, forwarded);
        }
    }

    fn connect(&mut self) {
        if let Some(channel) = self.channel.as_mut() {
            channel.connect();
            if channel.is_connected() {
                self.submit_waiting();
            }
        }
        self.after_channel();
    }

    /// The server is gone, and what it has completed before is taken: closes the channel if that is not all.
    fn lose_calls(&mut self) {
        let channel = self.channel.as_mut();
        if let Some(channel) = channel.filter(|channel| channel.has_calls()) {
            channel.fail(Failure::NoCompletion(WaitError::ServerGone));
        }
        self.after_channel();
    }

    /// Gives all calls their error, if the channel is closed.
    #[inline(always)]
    fn after_channel(&mut self) {
        if self.channel.as_ref().is_some_and(Channel::is_closed) {
            self.fail_calls();
        }
    }

    #[cold]
    fn fail_calls(&mut self) {
        while let Some(thread) = self.threads.take_token_waiter() {
            if let State::Waiting(Wait::Token(forwarded)) = self.threads[thread].state {
                self.take_result(thread, forwarded.receipt.output, Errno::Io as i64);
            }
        }
        for number in 0..SLOTS {
            let owner = core::mem::replace(&mut self.owners[number], Owner::Nobody);
            if let Owner::Thread(thread) = owner
                && let State::Waiting(Wait::Reply { receipt, .. }) = self.threads[thread].state
            {
                self.take_result(thread, receipt.output, Errno::Io as i64);
            }
        }
    }
}

/// Fills a call's buffer, and returns the call with what is known only now.
fn put(
    input: Input,
    mut call: Call,
    process: &Process,
    channel: &Channel,
    token: &Token,
    exec: Option<&super::exec::Exec>,
) -> Result<Call, Errno> {
    let buffer = channel.buffer(token);
    let put_piece = |offset: usize, piece: &[u8]| {
        buffer
            .write(offset, piece)
            .expect("a path fits into a buffer");
    };
    let len = match input {
        Input::Nothing => return Ok(call),
        Input::Bytes { address, len } => {
            process
                .space()
                .read_to_buffer(address, len as usize, buffer)?;
            return Ok(call);
        }
        Input::Path { address } => process.space().read_string(address, MAX_PATH, put_piece)?,
        Input::ExecPath => {
            let path = exec.map_or(&[][..], |exec| exec.path());
            put_piece(0, path);
            path.len()
        }
    };
    if let Call::Open { path_len, .. } = &mut call {
        *path_len = len as u32;
    }
    Ok(call)
}
