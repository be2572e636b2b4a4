// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls that are not done when the handler returns: with a worker, or waiting for other calls to leave theirs.

use arrayvec::ArrayVec;
use forward_ring::syscall::POLL_MAX;
use forward_ring::{SLOTS, Token};

use super::session::Phase;
use super::{Machine, Outcome, Service, Use};
use crate::files::{Closing, Id, Place, Reserved};
use crate::syscall::error;
use crate::work::{self, Job};

/// What has become of a request so far.
pub enum Step {
    /// It has this result. (Files may have to be closed first.)
    Done(i64),
    /// A worker has it, for a process.
    Working { place: Place, then: Then },
    /// It is done when the ended process has no more calls.
    WaitForProcess(Place),
    /// It is done when the ring has no more calls.
    WaitForRing(usize),
    /// The client ends.
    End(Outcome),
}

/// What is to be done with a worker's result.
#[derive(Clone, Copy)]
pub enum Then {
    /// It is the call's.
    Return,
    /// The file gets a number, which is the call's result.
    Number(Reserved),
    /// Two files get numbers, which go to this offset of the buffer.
    Numbers { ends: [Reserved; 2], offset: usize },
    /// The file becomes the working directory.
    Directory(Id),
    /// The ring is open.
    OpenRing { number: usize, target: u64 },
}

/// Where a call is.
enum Stage {
    Working {
        place: Place,
        then: Then,
    },
    /// A worker closes files; then this is the result.
    Closing(i64),
    WaitForProcess(Place),
    WaitForRing(usize),
}

struct Active {
    token: Token,
    reply_slot: u32,
    stage: Stage,
    is_interrupted: bool,
}

/// The call of a token, if it is under way.
#[derive(Default)]
pub struct Slot {
    active: Option<Active>,
    closing: Closing,
    /// Open files that the worker uses.
    held: ArrayVec<Id, { POLL_MAX + 1 }>,
}

impl<M: Machine> Service<M> {
    /// Lets a call keep an open file until it is done.
    pub(super) fn hold(&mut self, ring: usize, token: u32, id: Id) {
        self.files.hold(id);
        self.rings[ring].slots[token as usize].held.push(id);
    }

    /// Ends what [`Self::hold`] began, for a call that has not come to a worker.
    pub(super) fn let_go(&mut self, ring: usize, token: u32, closing: &mut Closing) {
        for id in self.rings[ring].slots[token as usize].held.take() {
            self.files.let_go(id, closing);
        }
    }

    /// Keeps a call that is not done.
    pub(super) fn park(
        &mut self,
        ring: usize,
        token: Token,
        reply_slot: u32,
        step: Step,
        closing: Closing,
    ) {
        let number = token.number();
        let stage = match step {
            Step::Done(result) => Stage::Closing(result),
            Step::Working { place, then } => Stage::Working { place, then },
            Step::WaitForProcess(place) => Stage::WaitForProcess(place),
            Step::WaitForRing(ring) => Stage::WaitForRing(ring),
            Step::End(outcome) => {
                let is_notified = self.targets.are_known();
                self.complete(ring, token, reply_slot, 0, is_notified);
                self.finish_with(outcome);
                return;
            }
        };
        let is_closing = matches!(stage, Stage::Closing(_));
        let slot = &mut self.rings[ring].slots[number as usize];
        slot.closing = closing;
        slot.active = Some(Active {
            token,
            reply_slot,
            stage,
            is_interrupted: false,
        });
        self.rings[ring].calls += 1;
        self.under_way += 1;
        if is_closing {
            self.close_files(ring, number);
        }
    }

    /// Takes the results of workers; returns how many.
    pub(super) fn take_results(&mut self) -> usize {
        let mut taken = 0;
        for ring in 0..self.rings.len() {
            let mut done = self.workers.take_done(ring);
            while done != 0 {
                let token = done.trailing_zeros();
                done &= done - 1;
                self.take_result(ring, token);
                taken += 1;
            }
        }
        taken
    }

    fn take_result(&mut self, ring: usize, token: u32) {
        let outcome = self.workers.outcome(ring, token);
        let slot = &mut self.rings[ring].slots[token as usize];
        let Some(active) = &mut slot.active else {
            return;
        };
        let (place, then) = match active.stage {
            Stage::Working { place, then } => (place, then),
            Stage::Closing(result) => return self.go_on(ring, token, result),
            Stage::WaitForProcess(_) | Stage::WaitForRing(_) => return,
        };
        if std::mem::take(&mut active.is_interrupted) {
            self.interrupted -= 1;
        }
        let mut closing = std::mem::take(&mut slot.closing);
        let result = self.conclude(ring, token, place, then, outcome, &mut closing);
        self.let_go(ring, token, &mut closing);
        self.rings[ring].slots[token as usize].closing = closing;
        let is_process_over = self.files.leave(place);
        self.go_on(ring, token, result);
        if is_process_over {
            self.release_waiting(
                |stage| matches!(stage, Stage::WaitForProcess(ended) if *ended == place),
            );
        }
    }

    /// Does with a worker's result what is to be done with it; returns the call's.
    fn conclude(
        &mut self,
        ring: usize,
        token: u32,
        place: Place,
        then: Then,
        outcome: work::Outcome,
        closing: &mut Closing,
    ) -> i64 {
        let is_wanted = self.phase == Phase::Serving
            && self.files.lives(place)
            && self.rings[ring].usage != Use::Closing;
        let work::Outcome { result, opened } = outcome;
        match then {
            Then::Return => {}
            Then::Number(reserved) => match opened[0] {
                Some((fd, kind)) if is_wanted => {
                    self.files.settle(place, reserved, fd, kind);
                    return reserved.number.into();
                }
                opened => {
                    let fd = opened.map(|(fd, _)| fd);
                    self.files.abandon(place, reserved, fd, closing);
                }
            },
            Then::Numbers { ends, offset } => {
                let numbers = ends.map(|end| end.number.to_ne_bytes());
                let slot = &self.rings[ring].slots[token as usize];
                let is_told = is_wanted
                    && opened[0].is_some()
                    && slot.active.as_ref().is_some_and(|active| {
                        let buffer = self.rings[ring].server.buffer(&active.token);
                        buffer.write(offset, numbers.as_flattened()).is_ok()
                    });
                for (end, opened) in ends.into_iter().zip(opened) {
                    match opened {
                        Some((fd, kind)) if is_told => self.files.settle(place, end, fd, kind),
                        opened => {
                            let fd = opened.map(|(fd, _)| fd);
                            self.files.abandon(place, end, fd, closing);
                        }
                    }
                }
            }
            Then::Directory(id) => {
                if let Some((fd, kind)) = opened[0] {
                    self.files.fill(id, fd, kind);
                }
                if opened[0].is_some() && is_wanted {
                    self.files.set_directory(place, id, closing);
                } else {
                    self.files.let_go(id, closing);
                }
            }
            Then::OpenRing { number, target } => {
                let is_wanted = is_wanted && self.rings[number].usage == Use::Opening;
                let result = if is_wanted {
                    result
                } else {
                    error(libc::EINTR)
                };
                self.ring_is_open(number, place, target, result);
                return result;
            }
        }
        if is_wanted {
            result
        } else {
            error(libc::EINTR)
        }
    }

    /// Closes files that a call has left over, or completes it.
    fn go_on(&mut self, ring: usize, token: u32, result: i64) {
        let slot = &mut self.rings[ring].slots[token as usize];
        if slot.closing.is_empty() {
            return self.retire(ring, token, result);
        }
        if let Some(active) = &mut slot.active {
            active.stage = Stage::Closing(result);
        }
        self.close_files(ring, token);
    }

    fn close_files(&mut self, ring: usize, token: u32) {
        let closing = &mut self.rings[ring].slots[token as usize].closing;
        let files = work::Files::take(|| self.files.next_to_close(closing));
        self.workers.give(ring, token, Job::Close(files));
    }

    /// Completes a call that was under way, if there is anybody to learn of it.
    fn retire(&mut self, number: usize, token: u32, result: i64) {
        let ring = &mut self.rings[number];
        let Some(active) = ring.slots[token as usize].active.take() else {
            return;
        };
        ring.calls -= 1;
        self.under_way -= 1;
        if self.may_drain(number) {
            let is_notified = self.targets.are_known();
            let Active {
                token, reply_slot, ..
            } = active;
            self.complete(number, token, reply_slot, result, is_notified);
        }
        let ring = &mut self.rings[number];
        if ring.calls == 0 && ring.usage == Use::Closing {
            ring.usage = Use::Closed;
            self.release_waiting_for_ring(number);
        }
    }

    /// Goes on with calls that have waited for a ring to be closed.
    pub(super) fn release_waiting_for_ring(&mut self, number: usize) {
        self.release_waiting(|stage| matches!(stage, Stage::WaitForRing(ring) if *ring == number));
    }

    /// Goes on with calls of the kernel that have waited for others.
    fn release_waiting(&mut self, is_over: impl Fn(&Stage) -> bool) {
        for token in 0..SLOTS {
            let active = &self.rings[0].slots[token].active;
            if active.as_ref().is_some_and(|active| is_over(&active.stage)) {
                self.go_on(0, token as u32, 0);
            }
        }
    }

    /// Interrupts the calls in a ring that are with workers, for processes that `is_meant` names.
    pub(super) fn interrupt_if(&mut self, ring: usize, is_meant: impl Fn(Place) -> bool) {
        for (token, slot) in self.rings[ring].slots.iter_mut().enumerate() {
            let Some(active) = &mut slot.active else {
                continue;
            };
            match active.stage {
                Stage::Working { place, .. } if !active.is_interrupted && is_meant(place) => {}
                _ => continue,
            }
            active.is_interrupted = true;
            self.interrupted += 1;
            self.workers.interrupt(ring, token as u32);
        }
    }

    /// Interrupts once more what is still under way though it was interrupted: the signal may have come too early.
    pub(super) fn interrupt_again(&mut self) {
        if self.interrupted == 0 {
            return;
        }
        for (number, ring) in self.rings.iter().enumerate() {
            for (token, slot) in ring.slots.iter().enumerate() {
                if slot
                    .active
                    .as_ref()
                    .is_some_and(|active| active.is_interrupted)
                {
                    self.workers.interrupt(number, token as u32);
                }
            }
        }
    }
}
