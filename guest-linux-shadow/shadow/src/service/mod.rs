// SPDX-License-Identifier: MIT OR Apache-2.0
//! Serving: takes requests from the rings, executes them or gives them to workers, completes them, notifies.
//!
//! Runs in the user-interrupt handler as well as in the main thread, so nothing here allocates, takes locks or waits.
//! What may wait is done by workers; what has to allocate, at the beginning.
//!
//! | module | what |
//! | --- | --- |
//! | `session` | clients come and go |
//! | `own_calls` | the client's own calls: processes, rings, counters |
//! | `linux_calls` | Linux's calls: which file, at once or by a worker |
//! | `under_way` | calls that are with workers, or wait for others |
//! | `targets` | where completions are announced |

mod linux_calls;
mod own_calls;
mod session;
mod targets;
mod under_way;

use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context, Result};
use forward_ring::{MAX_RINGS, Mapping, Message, Request, RingError, SLOTS, Server, Token, opcode};

use crate::area::Area;
use crate::counters::{self, Counters};
use crate::files::{Closing, Files, Place};
use crate::work::Workers;
use session::Phase;
use targets::Targets;
use under_way::{Slot, Step};

/// User vector at which this process takes the notifications of the first ring; those of ring n come with vector n.
pub const OWN_VECTOR: u8 = 0;
/// User vector by which workers say that they have results.
pub const DONE_VECTOR: u8 = 63;

const _: () = assert!(MAX_RINGS <= DONE_VECTOR as usize);

/// What the service needs of the machine.
pub trait Machine {
    /// Registers the client's UPID slot as a target; returns the operand of SENDUIPI, or a negative errno.
    fn register_sender(&mut self, slot: u32, vector: u32) -> Result<u64, i64>;
    /// Takes all targets away.
    fn unregister_senders(&mut self);
    /// Posts to a registered target.
    fn notify(&mut self, index: u64);
    /// Returns the VM exits of this cell, or a negative errno.
    fn vm_exits(&mut self) -> Result<u64, i64>;
    /// Tells whether the client's side of the channel says that it is there.
    fn is_client_ready(&mut self) -> bool;
}

/// How the service ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The client's program ended with this status.
    Exit(i32),
    /// The client broke the ring.
    Broken(RingError),
}

/// Who uses a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// Nobody.
    Closed,
    /// Its workers are being started.
    Opening,
    /// The client's kernel, for all its processes.
    Kernel,
    /// A process, whose completions go to this target.
    Process { place: Place, target: u64 },
    /// Calls are yet to leave their workers.
    Closing,
}

/// One of the channel's rings.
struct Ring {
    server: Server,
    usage: Use,
    slots: Box<[Slot]>,
    /// Calls that are not completed yet.
    calls: u32,
}

/// A channel's service.
pub struct Service<M: Machine> {
    rings: Vec<Ring>,
    workers: Workers,
    machine: M,
    files: Files,
    /// Every process begins there.
    _root: OwnedFd,
    own_slot: u8,
    targets: Targets,
    phase: Phase,
    /// Whether the session ends by the server's will.
    has_dropped_client: bool,
    /// Whether the client's state word said that it is there, when it was last looked at.
    was_ready: bool,
    /// Whether it goes on after a client has ended or broken the ring.
    stays: bool,
    /// Calls of all rings that are not completed yet.
    under_way: u32,
    /// Calls whose workers are to be interrupted, again and again.
    interrupted: u32,
    counters: Counters,
    outcome: Option<Outcome>,
}

/// What a service is made of.
pub struct Parts<M> {
    /// The channel's rings, mapped for as long as the service lives.
    pub rings: Vec<Mapping>,
    /// The machine.
    pub machine: M,
    /// Directory that the client sees as the root.
    pub root: OwnedFd,
    /// UPID slot that the client is told to post to.
    pub own_slot: u8,
    /// Whether to serve one client after the other.
    pub stays: bool,
}

impl<M: Machine> Service<M> {
    /// Makes the service and starts its workers, which call `wake` when there are results for
    /// [`Self::on_notification`] with [`DONE_VECTOR`].
    pub fn new(parts: Parts<M>, wake: impl Fn() + Send + Sync + 'static) -> Result<Self> {
        let root = parts
            .root
            .try_clone()
            .context("cannot duplicate the root")?;
        let workers =
            Workers::start(parts.rings.len(), root, wake).context("cannot start workers")?;
        let ring = |mapping| Ring {
            server: Server::new(mapping),
            usage: Use::Closed,
            slots: (0..SLOTS).map(|_| Slot::default()).collect(),
            calls: 0,
        };
        let mut service = Self {
            rings: parts.rings.into_iter().map(ring).collect(),
            workers,
            machine: parts.machine,
            files: Files::new(parts.root.as_fd()),
            _root: parts.root,
            own_slot: parts.own_slot,
            targets: Targets::default(),
            phase: Phase::Unserved,
            has_dropped_client: false,
            was_ready: false,
            stays: parts.stays,
            under_way: 0,
            interrupted: 0,
            counters: Counters::default(),
            outcome: None,
        };
        service.rings[0].server.announce();
        Ok(service)
    }

    /// Serves what a notification with this user vector announced.
    #[inline]
    pub fn on_notification(&mut self, vector: u64) {
        if vector == u64::from(DONE_VECTOR) {
            self.take_results();
        } else {
            self.counters.received += 1;
            self.drain(vector as usize, counters::Server::Handler);
        }
    }

    /// Serves all requests in a ring; returns how many.
    #[inline]
    fn drain(&mut self, number: usize, server: counters::Server) -> usize {
        let mut served = 0;
        while self.may_drain(number) {
            match self.rings[number].server.next() {
                Ok(Some(request)) => {
                    self.counters.count(request.message.opcode, server);
                    self.serve(number, request);
                    served += 1;
                }
                Ok(None) => break,
                Err(error) => self.on_ring_error(number, error),
            }
        }
        served
    }

    #[inline(always)]
    fn may_drain(&self, number: usize) -> bool {
        let is_used = |ring: &Ring| matches!(ring.usage, Use::Kernel | Use::Process { .. });
        self.phase == Phase::Serving && self.rings.get(number).is_some_and(is_used)
    }

    #[inline(always)]
    fn serve(&mut self, number: usize, request: Request) {
        let Request { token, message } = request;
        match message.opcode {
            opcode::NULL => {
                let is_notified = self.targets.are_known();
                self.complete(number, token, message.reply_slot, 0, is_notified);
            }
            _ => self.serve_call(number, token, &message),
        }
    }

    /// Serves a request that has something to do. A function of its own, so that the way of every notification does not carry
    /// what it needs.
    #[inline(never)]
    fn serve_call(&mut self, number: usize, token: Token, message: &Message) {
        // The answer to the first UintrInit is not notified: the client polls for it.
        let is_notified = self.targets.are_known();
        let mut closing = Closing::default();
        match self.execute(number, &token, message, &mut closing) {
            Step::Done(result) if closing.is_empty() => {
                self.complete(number, token, message.reply_slot, result, is_notified);
            }
            step => self.park(number, token, message.reply_slot, step, closing),
        }
    }

    fn execute(
        &mut self,
        ring: usize,
        token: &Token,
        message: &Message,
        closing: &mut Closing,
    ) -> Step {
        match forward_ring::syscall::signature(message.opcode) {
            Some(signature) => {
                let buffer = self.rings[ring].server.buffer(token);
                #[expect(unsafe_code, reason = "workers keep the address")]
                // SAFETY: the mapping stays as long as the service, whose end waits for the workers.
                let area = unsafe { Area::new(&buffer) };
                self.linux_call(ring, token.number(), message, signature, area, closing)
            }
            None => self.own_call(ring, token.number(), message, closing),
        }
    }

    /// Returns the process that a request is about.
    fn process(&mut self, ring: usize, message: &Message) -> Result<Place, i64> {
        match self.rings[ring].usage {
            Use::Process { place, .. } => Ok(place),
            _ => self.files.process(message.process),
        }
    }

    #[inline(always)]
    fn complete(&mut self, number: usize, token: Token, slot: u32, result: i64, notify: bool) {
        let ring = &mut self.rings[number];
        let is_wanted = match ring.server.complete(token, result) {
            Ok(is_wanted) => is_wanted,
            Err(error) => {
                self.on_ring_error(number, error);
                // Whatever is out of order, the client shall look.
                true
            }
        };
        if !(is_wanted && notify) {
            return;
        }
        let target = match self.rings[number].usage {
            Use::Process { target, .. } => Some(target),
            _ => self.targets.of_slot(slot),
        };
        if let Some(target) = target {
            self.counters.sent += 1;
            self.machine.notify(target);
        }
    }

    #[cold]
    fn on_ring_error(&mut self, number: usize, error: RingError) {
        self.counters.dropped += 1;
        if !matches!(error, RingError::Corrupt { .. }) {
            return;
        }
        if number != 0 {
            // A process has spoilt its own ring; the others go on.
            self.close_ring(number);
        } else if self.rings[0].server.is_client_gone() {
            self.end_session();
        } else {
            self.counters.broken += 1;
            self.finish_with(Outcome::Broken(error));
        }
    }

    /// Ends the session; and the service, unless it stays.
    fn finish_with(&mut self, outcome: Outcome) {
        self.end_session();
        self.has_dropped_client = true;
        if !self.stays {
            self.outcome = Some(outcome);
        }
    }

    /// Returns how the service ended, if it did.
    pub fn outcome(&self) -> Option<Outcome> {
        self.outcome
    }

    /// Returns what happened.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}
