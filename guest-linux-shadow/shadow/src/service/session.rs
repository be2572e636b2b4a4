// SPDX-License-Identifier: MIT OR Apache-2.0
//! Clients come and go; nothing of one is left when the next comes.

use super::{Machine, Service, Targets, Use};
use crate::counters;
use crate::files::Closing;
use crate::work;

/// What the service does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nobody has greeted, or whoever did was served.
    Unserved,
    /// A client is served.
    Serving,
    /// The client is gone; calls are yet to leave their workers.
    Ending,
}

impl<M: Machine> Service<M> {
    /// The main thread, with user interrupts masked: does everything that may be due. Returns whether there was
    /// anything.
    pub fn attend(&mut self) -> bool {
        if self.outcome.is_some() {
            return true;
        }
        let mut work = self.take_results();
        self.interrupt_again();
        match self.phase {
            Phase::Unserved => {
                if self.rings[0].server.is_greeted() {
                    self.begin_session();
                    work += 1;
                }
            }
            Phase::Serving => {
                if self.is_client_gone() {
                    self.end_session();
                    return true;
                }
                for ring in 0..self.rings.len() {
                    work += self.drain(ring, counters::Server::MainThread);
                }
            }
            Phase::Ending => {
                self.clear_session();
                work += usize::from(self.phase != Phase::Ending);
            }
        }
        work != 0
    }

    /// Tells whether the client announces everything that it wants done, so that there is no need to look often.
    pub fn is_announced(&self) -> bool {
        self.phase == Phase::Serving && self.targets.are_known() && self.interrupted == 0
    }

    /// Tells whether a client is served that has said where to post.
    pub fn is_connected(&self) -> bool {
        self.phase == Phase::Serving && self.targets.are_known()
    }

    /// Returns the number of calls that are not completed yet.
    pub fn under_way(&self) -> u32 {
        self.under_way
    }

    /// The main thread, after the last session: tells whether everything of it is gone.
    pub fn is_clear(&mut self) -> bool {
        self.take_results();
        self.interrupt_again();
        if self.phase == Phase::Serving {
            self.end_session();
        }
        self.clear_session();
        self.phase == Phase::Unserved
    }

    fn begin_session(&mut self) {
        if !self.rings[0].server.accept() {
            return;
        }
        self.rings[0].usage = Use::Kernel;
        self.phase = Phase::Serving;
        self.was_ready = self.machine.is_client_ready();
        self.counters.sessions += 1;
    }

    fn is_client_gone(&mut self) -> bool {
        if self.rings[0].server.is_client_gone() {
            return true;
        }
        // A client need not use its state word. If it does, it, or the hypervisor, says so when it goes.
        let is_ready = self.machine.is_client_ready();
        let was_ready = std::mem::replace(&mut self.was_ready, is_ready);
        was_ready && !is_ready
    }

    /// Serves the client no more. Whatever is under way is interrupted, and its results are thrown away.
    pub(super) fn end_session(&mut self) {
        if self.phase != Phase::Serving {
            return;
        }
        self.phase = Phase::Ending;
        for ring in 0..self.rings.len() {
            self.interrupt_if(ring, |_| true);
        }
    }

    /// Closes all files, once no call uses them any more. May block: nobody is served.
    fn clear_session(&mut self) {
        if self.phase != Phase::Ending || self.under_way() != 0 {
            return;
        }
        let mut closing = Closing::default();
        self.files.end_all(&mut closing);
        while !closing.is_empty() {
            work::Files::take(|| self.files.next_to_close(&mut closing)).close();
        }
        for ring in &mut self.rings {
            ring.usage = Use::Closed;
        }
        self.targets = Targets::default();
        self.machine.unregister_senders();
        if std::mem::take(&mut self.has_dropped_client) {
            // It may be there still, and is to know that its calls are lost.
            self.rings[0].server.announce();
        }
        self.phase = Phase::Unserved;
    }
}
