// SPDX-License-Identifier: MIT OR Apache-2.0
//! The user path: rings of the channel that belong to a process.
//!
//! A process that has a ring maps it, puts its calls there itself, and posts to the server and is posted to without the kernel. What
//! it writes there is between it and the server, which knows whose ring it is; the kernel never looks. It says to the server whom
//! the ring belongs to, and when no longer; before that the next one does not get it, nor the UPID slot that goes with it; nor before
//! all CPUs have forgotten where the last one has seen it. Each new owner gets it empty.
#![expect(unsafe_code, reason = "shows a program memory of the channel")]

use forward_ring::{Call, MAX_RINGS, Message};
use hv_abi::channel::UPID_SLOTS;
use nimbos::abi::{Errno, RingInfo};
use nimbos::user_memory::Access;
use uintr::{USER_VECTORS, Upid};

use super::cpus::CpuSet;
use super::forward::Request;
use super::{Kernel, Outcome};
use crate::channel::Channel;
use crate::process::ProcessNo;
use crate::thread::ThreadNo;

/// All rings; the first one is the kernel's own.
#[derive(Debug)]
pub struct Rings {
    entries: [Ring; MAX_RINGS],
}

/// Whose a ring is.
#[derive(Clone, Copy, Debug)]
enum Ring {
    /// Nobody's.
    Free,
    /// A process's.
    Taken(Taken),
    /// Nobody's, but the server does not know it yet, or a CPU may still use its memory.
    Closing {
        /// The UPID slot to which the server may still post.
        slot: usize,
        /// A bit for each CPU that has been called and has not come yet.
        cpus: CpuSet,
        /// What the server has to learn.
        notice: Notice,
    },
}

/// What becomes of the message that a ring is nobody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Notice {
    /// There is none, or it has been answered.
    Settled,
    /// It is to be sent.
    Due,
    /// It is in the ring.
    Sent,
}

/// A ring with its owner.
#[derive(Clone, Copy, Debug)]
struct Taken {
    process: ProcessNo,
    /// The thread whose UPID the server posts to.
    thread: ThreadNo,
    slot: usize,
    /// The index for SENDUIPI, once the server has answered.
    index: Option<usize>,
    /// The session in which the server knew of it is over.
    is_lost: bool,
}

/// What `ring_open` wants.
#[derive(Clone, Copy, Debug)]
pub struct RingOpen {
    /// The ring.
    ring: usize,
    slot: usize,
    /// The user vector that the server posts.
    vector: u8,
    /// Where the program wants to know what it has got.
    info: u64,
}

impl RingOpen {
    /// Returns the message for the server.
    pub fn message(&self) -> Message {
        let call = Call::RingOpen {
            ring: self.ring as u32,
            slot: self.slot as u32,
            vector: self.vector.into(),
        };
        call.encode()
    }
}

impl Rings {
    /// Returns rings that are nobody's.
    pub const fn new() -> Self {
        Self {
            entries: [Ring::Free; MAX_RINGS],
        }
    }

    /// Tells whether the server may post to a UPID slot for one of the rings.
    pub fn uses_slot(&self, wanted: usize) -> bool {
        self.entries.iter().any(|ring| match *ring {
            Ring::Free => false,
            Ring::Taken(Taken { slot, .. }) | Ring::Closing { slot, .. } => slot == wanted,
        })
    }

    fn find(&self, mut is_it: impl FnMut(&Taken) -> bool) -> Option<(usize, Taken)> {
        self.entries
            .iter()
            .enumerate()
            .find_map(|(number, ring)| match ring {
                Ring::Taken(taken) if is_it(taken) => Some((number, *taken)),
                _ => None,
            })
    }

    /// Returns a ring of which the server is to be told that it is nobody's, and takes down that it is.
    pub fn take_untold(&mut self) -> Option<usize> {
        self.entries.iter_mut().position(|ring| match ring {
            Ring::Closing { notice, .. } if *notice == Notice::Due => {
                *notice = Notice::Sent;
                true
            }
            _ => false,
        })
    }

    /// The server knows that a ring is nobody's, or is gone.
    pub fn settle(&mut self, ring: usize) {
        if let Ring::Closing { notice, .. } = &mut self.entries[ring] {
            *notice = Notice::Settled;
            self.free_if_closed(ring);
        }
    }

    /// The CPU `cpu` was called, and has forgotten mappings that were taken away.
    pub fn forgotten_by(&mut self, cpu: usize) {
        for ring in 0..MAX_RINGS {
            if let Ring::Closing { cpus, .. } = &mut self.entries[ring] {
                *cpus &= !(1 << cpu);
                self.free_if_closed(ring);
            }
        }
    }

    fn free_if_closed(&mut self, ring: usize) {
        let is_closed = matches!(
            self.entries[ring],
            Ring::Closing {
                cpus: 0,
                notice: Notice::Settled,
                ..
            }
        );
        if is_closed {
            self.entries[ring] = Ring::Free;
        }
    }
}

impl Kernel {
    /// `ring_open(*info, vector)`.
    pub fn ring_open(
        &mut self,
        thread: ThreadNo,
        [info, vector]: [u64; 2],
    ) -> Result<Outcome, Errno> {
        let vector = u8::try_from(vector)
            .ok()
            .filter(|&vector| vector < USER_VECTORS)
            .ok_or(Errno::Invalid)?;
        let process = self.threads[thread].process;
        let space = self.processes[process].space();
        space.check(info, RingInfo::LEN, Access::Write)?;
        let slot = self.threads[thread]
            .receiver
            .and_then(|number| self.user_interrupts.receivers[number].slot);
        let slot = slot.ok_or(Errno::Invalid)?;
        let channel = self.channel.as_ref().ok_or(Errno::Io)?;
        if self.rings.find(|taken| taken.process == process).is_some() {
            return Err(Errno::Busy);
        }
        let is_free = |ring: &usize| matches!(self.rings.entries[*ring], Ring::Free);
        let ring = (1..channel.ring_count()).find(is_free);
        let ring = ring.ok_or(Errno::Busy)?;
        channel.clear_ring(ring);
        self.rings.entries[ring] = Ring::Taken(Taken {
            process,
            thread,
            slot,
            index: None,
            is_lost: false,
        });
        let wanted = RingOpen {
            ring,
            slot,
            vector,
            info,
        };
        let outcome = self.forward(thread, Request::RingOpen(wanted));
        if matches!(outcome, Outcome::Return(_)) {
            self.rings.entries[ring] = Ring::Free;
        }
        Ok(outcome)
    }

    /// `ring_close()`.
    pub fn ring_close(&mut self, thread: ThreadNo) -> Result<i64, Errno> {
        let process = self.threads[thread].process;
        let is_own = |taken: &Taken| taken.process == process && taken.thread == thread;
        let (ring, taken) = self.rings.find(is_own).ok_or(Errno::Invalid)?;
        self.give_back(ring, taken);
        Ok(0)
    }

    /// The server has answered to [`RingOpen`]: shows the ring to the program, unless that was an error.
    pub fn end_ring_open(&mut self, thread: ThreadNo, wanted: RingOpen, result: i64) {
        let Some((_, taken)) = self.rings.find(|taken| taken.thread == thread) else {
            return self.finish_call(thread, Errno::Io as i64);
        };
        if result != 0 {
            // There is nothing to tell the server, and no CPU has seen it.
            self.rings.entries[wanted.ring] = Ring::Free;
            return self.finish_call(thread, result);
        }
        let result = match self.show_ring(taken, wanted) {
            Ok(()) => 0,
            Err(errno) => {
                self.end_ring_of(thread);
                errno as i64
            }
        };
        self.finish_call(thread, result);
    }

    /// A thread ends, or gets another program, or is no receiver any more: so does what it has of a ring.
    pub fn end_ring_of(&mut self, thread: ThreadNo) {
        if let Some((ring, taken)) = self.rings.find(|taken| taken.thread == thread) {
            self.give_back(ring, taken);
        }
    }

    /// Tells whether a thread has a ring that nobody serves any more.
    pub fn has_lost_ring(&self, thread: ThreadNo) -> bool {
        let is_lost = |taken: &Taken| taken.thread == thread && taken.is_lost;
        self.rings.find(is_lost).is_some()
    }

    /// The session is over: no ring is served, and threads that wait for their server go on with an error.
    pub fn lose_rings(&mut self) {
        for ring in 0..MAX_RINGS {
            match &mut self.rings.entries[ring] {
                Ring::Free => {}
                Ring::Closing { .. } => self.rings.settle(ring),
                Ring::Taken(taken) => {
                    taken.is_lost = true;
                    let Taken {
                        process,
                        thread,
                        index,
                        ..
                    } = *taken;
                    if let Some(index) = index {
                        self.user_interrupts.send_nowhere(process, index);
                    }
                    if self.waits_for_user_interrupt(thread) {
                        self.finish_call(thread, Errno::Io as i64);
                    }
                }
            }
        }
    }

    /// Returns a UPID slot of the channel for a receiver.
    pub fn find_shared_upid(&self) -> Option<(usize, &'static Upid)> {
        let channel = self.channel.as_ref()?;
        let receivers = &self.user_interrupts.receivers;
        let slot = (self.cpu_count()..UPID_SLOTS)
            .rev()
            .find(|&slot| !receivers.has_slot(slot) && !self.rings.uses_slot(slot))?;
        Some((slot, channel.inbox(slot)))
    }

    fn show_ring(&mut self, taken: Taken, wanted: RingOpen) -> Result<(), Errno> {
        let Taken { process, .. } = taken;
        let channel = self.channel.as_ref().ok_or(Errno::Io)?;
        let memory = channel.ring_memory(wanted.ring).ok_or(Errno::Io)?;
        let (size, server) = (channel.size(), channel.server().ok_or(Errno::Io)?);
        let index = self
            .user_interrupts
            .add_sender(process, server, wanted.ring as u8)?;
        self.rings.entries[wanted.ring] = Ring::Taken(Taken {
            index: Some(index),
            ..taken
        });
        let space = self.processes[process].space_mut();
        // SAFETY: the memory is the ring's, which the kernel maps and gives to one process at a time. Before the next one gets it,
        // `give_back` takes it away.
        let address = unsafe { space.add_shared(memory.0, memory.1) };
        let info = RingInfo {
            address: address.map_err(|_| Errno::NoMemory)?,
            channel_size: size,
            index: index as u64,
        };
        space.write(wanted.info, &info.to_bytes())
    }

    /// Takes a ring from its owner, and has the server told if it knows of it.
    fn give_back(&mut self, ring: usize, taken: Taken) {
        let Taken {
            process,
            slot,
            index,
            is_lost,
            ..
        } = taken;
        if let Some(index) = index {
            self.user_interrupts.remove_sender(process, index);
        }
        if let Some(space) = self.processes[process].space.as_mut() {
            space.remove_shared();
        }
        let cpus = self.forget_mappings(process);
        let is_known = !is_lost && self.channel.as_ref().is_some_and(Channel::is_connected);
        self.rings.entries[ring] = Ring::Closing {
            slot,
            cpus,
            notice: Notice::Due,
        };
        if is_known {
            self.tell();
        } else {
            self.rings.settle(ring);
        }
    }
}
