// SPDX-License-Identifier: MIT OR Apache-2.0
//! The client's own calls: about its processes, its rings and this server.

use forward_ring::{Call, Message, UintrReply, errno};
use hv_abi::channel::UPID_SLOTS;

use super::under_way::{Step, Then};
use super::{Machine, OWN_VECTOR, Outcome, Service, Use};
use crate::files::Closing;
use crate::syscall::error;
use crate::work::Job;

impl<M: Machine> Service<M> {
    pub(super) fn own_call(
        &mut self,
        ring: usize,
        token: u32,
        message: &Message,
        closing: &mut Closing,
    ) -> Step {
        let call = match Call::decode(message) {
            Ok(call) => call,
            Err(error) => return Step::Done(error.errno()),
        };
        match call {
            Call::Null => return Step::Done(0),
            Call::Counters { index } => return Step::Done(self.counter(index)),
            // The rest is the kernel's affair.
            _ if ring != 0 => return Step::Done(error(libc::EPERM)),
            _ => {}
        }
        match call {
            Call::Fork { child } => self.fork(message.process, child, closing),
            Call::Exec => match self.files.exec(message.process, closing) {
                Ok(()) => Step::Done(0),
                Err(errno) => Step::Done(errno),
            },
            Call::Exit { .. } => self.exit(message.process, closing),
            Call::UintrInit { slot, vector } => Step::Done(self.connect(slot, vector)),
            Call::RingOpen { ring, slot, vector } => {
                self.open_ring(token, message.process, ring, slot, vector)
            }
            Call::RingClose { ring } => self.close_ring_of(ring),
            Call::End { status } => self.end(status),
            Call::Null | Call::Counters { .. } => unreachable!("answered above"),
        }
    }

    fn fork(&mut self, parent: u32, child: u32, closing: &mut Closing) -> Step {
        if parent == child {
            return Step::Done(errno::EINVAL);
        }
        // A process of the child's number is over, whatever it has under way.
        self.end_process(child, closing);
        match self.files.fork(parent, child, closing) {
            Ok(()) => Step::Done(0),
            Err(errno) => Step::Done(errno),
        }
    }

    fn exit(&mut self, process: u32, closing: &mut Closing) -> Step {
        match self.end_process(process, closing) {
            None => Step::Done(0),
            Some(place) => Step::WaitForProcess(place),
        }
    }

    /// Ends a process; returns its place if calls of it are still under way.
    fn end_process(&mut self, number: u32, closing: &mut Closing) -> Option<crate::files::Place> {
        let known = self.files.known(number)?;
        for ring in 1..self.rings.len() {
            if matches!(self.rings[ring].usage, Use::Process { place, .. } if place == known) {
                self.close_ring(ring);
            }
        }
        let place = self.files.end(number, closing)?;
        for ring in 0..self.rings.len() {
            self.interrupt_if(ring, |of| of == place);
        }
        Some(place)
    }

    /// Takes the last reading of the exit counter, if the client's end has not taken it.
    pub fn finish(&mut self) {
        if self.counters.exits_at_end.is_none() {
            self.counters.exits_at_end = self.machine.vm_exits().ok();
        }
    }

    fn end(&mut self, status: i32) -> Step {
        self.counters.exits_at_end = self.machine.vm_exits().ok();
        Step::End(Outcome::Exit(status))
    }

    fn connect(&mut self, slot: u32, vector: u32) -> i64 {
        if let Err(errno) = check_target(slot, vector) {
            return errno;
        }
        if !self.targets.has(slot, vector) {
            match self.machine.register_sender(slot, vector) {
                Ok(index) => self.targets.set(slot, vector, index),
                Err(errno) => return errno,
            }
        }
        self.counters.exits_at_start = self.machine.vm_exits().ok();
        self.counters.exits_at_end = None;
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
            3 => self.files.open_count(),
            4 => self.files.process_count(),
            5 => self.under_way().into(),
            6 => self.targets.count(),
            _ => return errno::EINVAL,
        };
        // Not negative: that would be an error.
        (value & i64::MAX as u64) as i64
    }

    fn open_ring(&mut self, token: u32, process: u32, ring: u32, slot: u32, vector: u32) -> Step {
        if let Err(errno) = check_target(slot, vector) {
            return Step::Done(errno);
        }
        let number = ring as usize;
        if number == 0 || number >= self.rings.len() {
            return Step::Done(errno::EINVAL);
        }
        if self.rings[number].usage != Use::Closed {
            return Step::Done(error(libc::EBUSY));
        }
        let opened = self.files.process(process).and_then(|place| {
            let target = self.machine.register_sender(slot, vector)?;
            Ok((place, target))
        });
        let (place, target) = match opened {
            Ok(opened) => opened,
            Err(errno) => return Step::Done(errno),
        };
        self.rings[number].usage = Use::Opening;
        self.files.enter(place);
        self.workers.give(0, token, Job::StartRing(number));
        let then = Then::OpenRing { number, target };
        Step::Working { place, then }
    }

    /// The workers of a ring are there, or could not be started.
    pub(super) fn ring_is_open(
        &mut self,
        number: usize,
        place: crate::files::Place,
        target: u64,
        result: i64,
    ) {
        let ring = &mut self.rings[number];
        if ring.usage == Use::Closing {
            ring.usage = Use::Closed;
            return self.release_waiting_for_ring(number);
        }
        if result != 0 {
            ring.usage = Use::Closed;
            return;
        }
        ring.server.reset();
        ring.usage = Use::Process { place, target };
        self.targets.count_ring(1);
    }

    fn close_ring_of(&mut self, ring: u32) -> Step {
        let number = ring as usize;
        match self.rings.get(number).map(|ring| ring.usage) {
            Some(Use::Process { .. }) => self.close_ring(number),
            // The call that opens it has not come back from its worker.
            Some(Use::Opening) => self.rings[number].usage = Use::Closing,
            Some(Use::Closing) => {}
            _ => return Step::Done(errno::EINVAL),
        }
        match self.rings[number].usage {
            Use::Closing => Step::WaitForRing(number),
            _ => Step::Done(0),
        }
    }

    /// Serves a process's ring no more. What is under way there is interrupted and gets no completion.
    pub(super) fn close_ring(&mut self, number: usize) {
        if !matches!(self.rings[number].usage, Use::Process { .. }) {
            return;
        }
        self.targets.count_ring(-1);
        self.rings[number].usage = match self.rings[number].calls {
            0 => Use::Closed,
            _ => Use::Closing,
        };
        self.interrupt_if(number, |_| true);
    }
}

fn check_target(slot: u32, vector: u32) -> Result<(), i64> {
    if slot as usize >= UPID_SLOTS || vector >= u32::from(uintr::USER_VECTORS) {
        return Err(errno::EINVAL);
    }
    Ok(())
}
