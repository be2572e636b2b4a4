// SPDX-License-Identifier: MIT OR Apache-2.0
//! Serving: takes requests from the ring, executes them, completes them, notifies.
//!
//! Runs in the user-interrupt handler as well as in the main thread, so nothing here allocates or takes locks.

use forward_ring::syscall::{self, Signature};
use forward_ring::{Call, Request, RingError, Server, UintrReply, opcode};
use hv_abi::channel::UPID_SLOTS;

use crate::counters::{self, Counters};
use crate::files::Files;

/// User vector at which this process takes notifications.
pub const OWN_VECTOR: u8 = 0;

/// What the service needs of the machine.
pub trait Machine {
    /// Registers the client's UPID slot as a target; returns the operand of SENDUIPI, or a negative errno.
    fn register_sender(&mut self, slot: u32, vector: u32) -> Result<u64, i64>;
    /// Posts to a registered target.
    fn notify(&mut self, index: u64);
    /// Returns the VM exits of this cell, or a negative errno.
    fn vm_exits(&mut self) -> Result<u64, i64>;
}

/// How the service ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The client's program ended with this status.
    Exit(i32),
    /// The client broke the ring.
    Broken(RingError),
}

/// The client's notification target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Target {
    slot: u32,
    vector: u32,
    index: u64,
}

/// A channel's service.
#[derive(Debug)]
pub struct Service<M> {
    ring: Server,
    machine: M,
    files: Files,
    own_slot: u8,
    target: Option<Target>,
    counters: Counters,
    outcome: Option<Outcome>,
}

impl<M: Machine> Service<M> {
    /// Serves `ring`; the client will be told to post to `own_slot`.
    pub fn new(ring: Server, machine: M, files: Files, own_slot: u8) -> Self {
        Self {
            ring,
            machine,
            files,
            own_slot,
            target: None,
            counters: Counters::default(),
            outcome: None,
        }
    }

    /// Serves what a notification announced.
    pub fn on_notification(&mut self) {
        self.counters.received += 1;
        self.drain(counters::Server::Handler);
    }

    /// Serves all requests in the ring; returns how many.
    pub fn drain(&mut self, server: counters::Server) -> usize {
        let mut served = 0;
        while self.outcome.is_none() {
            match self.ring.next() {
                Ok(Some(request)) => {
                    self.counters.count(request.message.opcode, server);
                    self.serve(request);
                    served += 1;
                }
                Ok(None) => break,
                Err(error) => self.on_ring_error(error),
            }
        }
        served
    }

    /// Tells whether the client has said where to post: from then on it notifies.
    pub fn is_connected(&self) -> bool {
        self.target.is_some()
    }

    /// Returns how the service ended, if it did.
    pub fn outcome(&self) -> Option<Outcome> {
        self.outcome
    }

    /// Returns what happened.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    fn serve(&mut self, request: Request) {
        let target = self.target;
        let result = match syscall::signature(request.message.opcode) {
            Some(signature) => self.system_call(signature, &request),
            None => match request.call() {
                Ok(call) => self.execute(call),
                Err(error) => error.errno(),
            },
        };
        let notify = match self.ring.complete(request.token, result) {
            Ok(notify) => notify,
            Err(error) => {
                self.on_ring_error(error);
                // Whatever is out of order, the client shall look.
                true
            }
        };
        // The answer to the first UintrInit is not notified: the client polls for it.
        if let Some(target) = target
            && notify
        {
            self.counters.sent += 1;
            self.machine.notify(target.index);
        }
    }

    fn system_call(&mut self, signature: &Signature, request: &Request) -> i64 {
        let buffer = self.ring.buffer(&request.token);
        let args = &request.message.args;
        if let Err(error) = signature.check(args, buffer.len()) {
            return error.errno();
        }
        let fd = args[0] as i32;
        let at = |index: usize| args[index] as usize;
        match request.message.opcode {
            opcode::READ => self.files.read(fd, buffer, at(1), at(2)),
            opcode::WRITE => self.files.write(fd, buffer, at(1), at(2)),
            opcode::OPEN => self
                .files
                .open(buffer, at(0), args[1] as i32, args[2] as u32),
            opcode::CLOSE => self.files.close(fd),
            _ => forward_ring::errno::ENOSYS,
        }
    }

    fn execute(&mut self, call: Call) -> i64 {
        match call {
            Call::End { status } => self.exit(status),
            Call::UintrInit { slot, vector } => self.connect(slot, vector),
            Call::Null => 0,
            Call::Counters { index } => self.counter(index),
            _ => forward_ring::errno::ENOSYS,
        }
    }

    /// Takes the last reading of the exit counter, if the client's end has not taken it.
    pub fn finish(&mut self) {
        if self.counters.exits_at_end.is_none() {
            self.counters.exits_at_end = self.machine.vm_exits().ok();
        }
    }

    fn exit(&mut self, status: i32) -> i64 {
        self.finish();
        self.outcome = Some(Outcome::Exit(status));
        0
    }

    fn connect(&mut self, slot: u32, vector: u32) -> i64 {
        if slot as usize >= UPID_SLOTS || vector >= u32::from(uintr::USER_VECTORS) {
            return forward_ring::errno::EINVAL;
        }
        let known = self
            .target
            .filter(|target| (target.slot, target.vector) == (slot, vector));
        if known.is_none() {
            match self.machine.register_sender(slot, vector) {
                Ok(index) => {
                    self.target = Some(Target {
                        slot,
                        vector,
                        index,
                    })
                }
                Err(errno) => return errno,
            }
        }
        self.counters.exits_at_start = self.machine.vm_exits().ok();
        self.counters.exit_reads = 0;
        UintrReply {
            slot: self.own_slot,
            vector: OWN_VECTOR,
        }
        .encode()
    }

    fn counter(&mut self, index: u64) -> i64 {
        let value = match index {
            0 => {
                self.counters.exit_reads += 1;
                match self.machine.vm_exits() {
                    Ok(exits) => exits,
                    Err(errno) => return errno,
                }
            }
            1 => self.counters.received,
            2 => self.counters.sent,
            _ => return forward_ring::errno::EINVAL,
        };
        // Not negative: that would be an error.
        (value & i64::MAX as u64) as i64
    }

    fn on_ring_error(&mut self, error: RingError) {
        match error {
            RingError::Corrupt { .. } => self.outcome = Some(Outcome::Broken(error)),
            RingError::UnknownToken { .. } | RingError::CompletionsFull => {
                self.counters.dropped += 1
            }
        }
    }
}
