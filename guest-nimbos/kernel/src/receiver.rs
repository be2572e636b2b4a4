// SPDX-License-Identifier: MIT OR Apache-2.0
//! Receivers of user interrupts: the threads that have a handler, and their UPIDs.
//!
//! A UPID is the kernel's memory. It serves one receiver after the other: zeroed before use, and when its receiver ends all
//! entries of target tables that lead to it are sent [nowhere](NOWHERE). They go round, so that a SENDUIPI that another CPU is
//! just executing with an entry of the past does not meet a new receiver.

use core::ops::{Index, IndexMut};

use nimbos::grants::Grants;
use uintr::Upid;

/// Most receivers at a time.
pub const MAX_RECEIVERS: usize = 32;

static UPIDS: [Upid; MAX_RECEIVERS] = [const { Upid::new() }; MAX_RECEIVERS];
/// Where posts to a receiver go that has ended: they notify nobody, and nobody looks.
static NOWHERE: Upid = Upid::new();

/// The number of a receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiverNo(u8);

/// A thread's state as a receiver.
#[derive(Debug)]
pub struct Receiver {
    /// The UPID slot of the channel that it has instead of one of the kernel's.
    pub slot: Option<usize>,
    /// Where senders post.
    pub upid: &'static Upid,
    /// NDST of the CPU on which it runs.
    pub runs_at: Option<u32>,
    /// Address of its handler.
    pub handler: u64,
    /// Where the handler's frame goes: IA32_UINTR_STACKADJUST.
    pub stack_adjust: u64,
    /// UIRR while the thread does not run.
    pub requests: u64,
    /// UIF while the thread does not run.
    pub uif: bool,
    /// Who may post to it.
    pub grants: Grants,
}

/// All receivers.
#[derive(Debug)]
pub struct Receivers {
    entries: [Option<Receiver>; MAX_RECEIVERS],
    /// Where the search for a free one begins.
    next: u8,
}

/// What a thread wants as a receiver.
#[derive(Clone, Copy, Debug)]
pub struct Handler {
    /// Its address.
    pub address: u64,
    /// IA32_UINTR_STACKADJUST.
    pub stack_adjust: u64,
}

impl Receivers {
    /// Returns a table without receivers.
    pub const fn new() -> Self {
        Self {
            entries: [const { None }; MAX_RECEIVERS],
            next: 0,
        }
    }

    /// Adds a receiver, or returns `None` if there are too many.
    ///
    /// `shared`: its UPID shall be this one, a slot of the channel.
    pub fn add(
        &mut self,
        handler: Handler,
        shared: Option<(usize, &'static Upid)>,
    ) -> Option<ReceiverNo> {
        let first = usize::from(self.next);
        let number = (first..first + MAX_RECEIVERS)
            .map(|number| number % MAX_RECEIVERS)
            .find(|&number| self.entries[number].is_none())?;
        self.next = ((number + 1) % MAX_RECEIVERS) as u8;
        let (slot, upid) = match shared {
            None => (None, &UPIDS[number]),
            Some((slot, upid)) => (Some(slot), upid),
        };
        upid.reset();
        self.entries[number] = Some(Receiver {
            slot,
            upid,
            runs_at: None,
            handler: handler.address,
            stack_adjust: handler.stack_adjust,
            requests: 0,
            uif: false,
            grants: Grants::new(),
        });
        Some(ReceiverNo(number as u8))
    }

    /// Tells whether a receiver has this UPID slot of the channel.
    pub fn has_slot(&self, slot: usize) -> bool {
        let has_it = |receiver: &Receiver| receiver.slot == Some(slot);
        self.entries.iter().flatten().any(has_it)
    }

    /// Removes a receiver to whose UPID no entry leads any more.
    pub fn remove(&mut self, number: ReceiverNo) {
        if let Some(receiver) = self.entries[usize::from(number.0)].take() {
            receiver.upid.reset();
        }
    }
}

impl Index<ReceiverNo> for Receivers {
    type Output = Receiver;

    fn index(&self, number: ReceiverNo) -> &Receiver {
        let receiver = self.entries[usize::from(number.0)].as_ref();
        receiver.expect("a number is one of a receiver")
    }
}

impl IndexMut<ReceiverNo> for Receivers {
    fn index_mut(&mut self, number: ReceiverNo) -> &mut Receiver {
        let receiver = self.entries[usize::from(number.0)].as_mut();
        receiver.expect("a number is one of a receiver")
    }
}

/// Returns a UPID that is nobody's.
pub fn nowhere() -> &'static Upid {
    NOWHERE.reset();
    &NOWHERE
}
