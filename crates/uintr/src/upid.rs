// SPDX-License-Identifier: MIT OR Apache-2.0
//! User posted-interrupt descriptors (UPID): where senders post and how they notify.
//!
//! A UPID is written by its owner, by the processors of all its senders (SENDUIPI) and by its owner's processor
//! (notification processing), at any time. It is therefore atomics only, and the owner changes it by the few
//! operations below, whose order is what keeps posts from being lost:
//!
//! # Invariants
//! 1. Whoever takes the requests has cleared ON *before*.
//! 2. Reserved bits of the control word are never set: SENDUIPI would fault in the sender.
//!
//! # Orderings
//! Every change of a UPID that may have senders is an atomic read-modify-write with acquire and release ordering. So two
//! of them, whoever does them, come one after the other, and the later one sees all that its predecessor's side did
//! before: either a sender's post finds what the receiver has changed, or the receiver finds the post, and with it what
//! the post announces. No stronger ordering is needed (there is no store that a load must not overtake), and on x86 every
//! locked instruction is a full barrier anyway. `docs/notify-wait.md` has the argument, `tests/interleavings` checks it.
//!
//! SDM 3A, "User Posted-Interrupt Descriptor (UPID)".

use crate::sync::{AtomicU64, Ordering};

/// A UPID in its 64-byte slot. The processor uses the first 16 bytes; the rest keeps slots on cache lines of their
/// own.
#[repr(C, align(64))]
#[derive(Debug, Default)]
pub struct Upid {
    /// ON (bit 0), SN (bit 1), NV (bits 23:16), NDST (bits 63:32).
    control: AtomicU64,
    /// Posted-interrupt requests, one bit a user vector.
    pir: AtomicU64,
    /// Not used, zero.
    rest: [AtomicU64; 6],
}

/// A notification that a post asks for: an interrupt to be sent to the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notification {
    /// Vector (NV).
    pub vector: u8,
    /// Destination (NDST); see [`ndst`].
    pub destination: u32,
}

/// Returns the NDST field for the processor with `apic_id`: the ID in x2APIC mode, its low byte in bits 15:8 in
/// xAPIC mode.
pub const fn ndst(apic_id: u32, x2apic: bool) -> u32 {
    if x2apic {
        apic_id
    } else {
        (apic_id & 0xff) << 8
    }
}

impl Upid {
    const OUTSTANDING: u64 = 1 << 0;
    const SUPPRESS: u64 = 1 << 1;
    const RESERVED: u64 = 0xff00_fffc;

    /// Returns a UPID of zeroes: posts are kept, and notify vector 0 of APIC ID 0, which no APIC accepts. Call
    /// [`Self::init`] before a sender learns of it.
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        Self {
            control: AtomicU64::new(0),
            pir: AtomicU64::new(0),
            rest: [const { AtomicU64::new(0) }; 6],
        }
    }

    /// Makes memory shared with other cells a UPID.
    ///
    /// # Safety
    /// `upid` is aligned to 64 bytes and valid for reads and writes for `'a`, and nothing in this program accesses
    /// that memory otherwise than through `Upid`. (Processors and other cells may: that is what the type is for.)
    #[expect(
        unsafe_code,
        reason = "the slots lie in shared memory at addresses that come from outside"
    )]
    pub const unsafe fn from_ptr<'a>(upid: *mut Self) -> &'a Self {
        // SAFETY: the caller vouches for alignment, validity and exclusivity; every bit pattern is a Upid, and
        // changes by others are what its atomics allow.
        unsafe { &*upid }
    }

    /// Clears the slot of what a former owner or another cell left in it, and keeps notifications suppressed until
    /// [`Self::init`], so that a stale sender cannot send vector 0. The owner does this before use, and again when it
    /// gives the slot up.
    pub fn reset(&self) {
        self.control.swap(Self::SUPPRESS, Ordering::AcqRel);
        self.pir.swap(0, Ordering::AcqRel);
        for word in &self.rest {
            word.store(0, Ordering::Relaxed);
        }
    }

    /// Directs notifications to vector `nv` of the processor `ndst` (see [`ndst`]), with none outstanding and none
    /// suppressed. Requests posted before stay posted and have not been notified: see [`Self::retarget`].
    pub fn init(&self, nv: u8, ndst: u32) {
        let control = u64::from(ndst) << 32 | u64::from(nv) << 16;
        self.control.swap(control, Ordering::AcqRel);
    }

    /// Does [`Self::init`] and takes the requests that were posted before: for a receiver that changes its vector or
    /// its processor. What is posted from now on notifies the new place.
    pub fn retarget(&self, nv: u8, ndst: u32) -> u64 {
        self.init(nv, ndst);
        self.pir.swap(0, Ordering::AcqRel)
    }

    /// Suppresses notifications (SN), or allows them again. While suppressed, posts are kept without notification;
    /// after allowing them again the owner looks at [`Self::requests`].
    pub fn set_suppress(&self, suppress: bool) {
        if suppress {
            self.control.fetch_or(Self::SUPPRESS, Ordering::AcqRel);
        } else {
            self.control.fetch_and(!Self::SUPPRESS, Ordering::AcqRel);
        }
    }

    /// Posts `requests`, a bit for each user vector, on behalf of a sender that does not reach this UPID itself. Returns
    /// the notification that the caller has to send, if none is outstanding and none suppressed.
    ///
    /// The requests go first: whoever then finds ON set has them taken by the receiver that the outstanding
    /// notification reaches. A receiver that suppresses notifications meanwhile may get this one yet, as it may from
    /// SENDUIPI just before. There is no loop that a hostile receiver could keep going by changing the descriptor.
    pub fn post(&self, requests: u64) -> Option<Notification> {
        self.pir.fetch_or(requests, Ordering::AcqRel);
        // Changes nothing, and yet must not be a load: that could overtake the requests.
        let before = self.control.fetch_or(0, Ordering::AcqRel);
        if before & (Self::OUTSTANDING | Self::SUPPRESS) != 0 {
            return None;
        }
        let before = self.control.fetch_or(Self::OUTSTANDING, Ordering::AcqRel);
        if before & Self::OUTSTANDING != 0 {
            return None;
        }
        Some(Notification {
            vector: (before >> 16) as u8,
            destination: (before >> 32) as u32,
        })
    }

    /// Takes the posted requests as a receiver does that got the notification as an ordinary interrupt.
    ///
    /// ON goes first. Were the requests taken first, a post between the two steps would find ON set, not notify, and
    /// lie unseen after ON has been cleared. In this order it notifies again: at worst for requests already taken.
    /// (SDM 3A, "User-Interrupt Notification Processing", has the same order.)
    #[inline]
    pub fn take_requests(&self) -> u64 {
        self.control.fetch_and(!Self::OUTSTANDING, Ordering::AcqRel);
        self.pir.swap(0, Ordering::AcqRel)
    }

    /// Returns the posted requests and leaves them posted.
    pub fn requests(&self) -> u64 {
        self.pir.load(Ordering::Acquire)
    }

    /// Tells whether a notification is outstanding (ON): posts do not notify until the receiver clears it.
    pub fn is_outstanding(&self) -> bool {
        self.control() & Self::OUTSTANDING != 0
    }

    /// Tells whether notifications are suppressed (SN).
    pub fn is_suppressed(&self) -> bool {
        self.control() & Self::SUPPRESS != 0
    }

    /// Tells whether reserved bits are set, so that SENDUIPI to this UPID faults.
    pub fn has_reserved_bits(&self) -> bool {
        self.control() & Self::RESERVED != 0
    }

    /// Returns the notification vector (NV).
    pub fn notification_vector(&self) -> u8 {
        (self.control() >> 16) as u8
    }

    /// Returns the notification destination (NDST).
    pub fn notification_destination(&self) -> u32 {
        (self.control() >> 32) as u32
    }

    /// Returns control word and requests as atomics, for a model of the processor to work on.
    #[cfg(loom)]
    pub fn words(&self) -> (&AtomicU64, &AtomicU64) {
        (&self.control, &self.pir)
    }

    fn control(&self) -> u64 {
        self.control.load(Ordering::Acquire)
    }
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<Upid>() == 64);
#[cfg(not(loom))]
const _: () = assert!(align_of::<Upid>() == 64);

#[cfg(test)]
mod tests {
    use super::*;

    /// Posts one vector; returns the notification as a pair.
    fn post(upid: &Upid, user_vector: u8) -> Option<(u8, u32)> {
        upid.post(1 << user_vector)
            .map(|notification| (notification.vector, notification.destination))
    }

    #[test]
    fn ndst_depends_on_the_apic_mode() {
        assert_eq!(ndst(3, true), 3);
        assert_eq!(ndst(0x1_0203, true), 0x1_0203);
        assert_eq!(ndst(3, false), 0x300);
        assert_eq!(ndst(0xff, false), 0xff00);
    }

    #[test]
    fn the_control_word_has_the_bits_of_the_manual() {
        let upid = Upid::new();
        upid.init(0xec, 0x300);
        assert_eq!(upid.control(), 0x0000_0300_00ec_0000);
        upid.set_suppress(true);
        assert_eq!(upid.control(), 0x0000_0300_00ec_0002);
        upid.set_suppress(false);
        post(&upid, 5);
        assert_eq!(upid.control(), 0x0000_0300_00ec_0001);
        assert_eq!(upid.requests(), 0x20);
        assert!(!upid.has_reserved_bits());
    }

    #[test]
    fn posts_coalesce_until_the_requests_are_taken() {
        let upid = Upid::new();
        upid.init(0x41, 7);
        assert_eq!(post(&upid, 1), Some((0x41, 7)));
        assert_eq!(post(&upid, 63), None);
        assert!(upid.is_outstanding());
        assert_eq!(upid.take_requests(), 1 << 63 | 1 << 1);
        assert!(!upid.is_outstanding());
        assert_eq!(upid.take_requests(), 0);
        assert_eq!(post(&upid, 1), Some((0x41, 7)));
    }

    #[test]
    fn suppressed_posts_are_found_when_the_receiver_comes_back() {
        let upid = Upid::new();
        upid.init(0x41, 7);
        upid.set_suppress(true);
        assert_eq!(post(&upid, 9), None);
        assert!(!upid.is_outstanding());
        assert_eq!(upid.retarget(0x42, 8), 1 << 9);
        assert!(!upid.is_suppressed());
        assert_eq!(post(&upid, 9), Some((0x42, 8)));
    }

    #[test]
    fn resetting_removes_what_a_hostile_side_wrote() {
        let upid = Upid::new();
        upid.control.store(u64::MAX, Ordering::SeqCst);
        upid.pir.store(u64::MAX, Ordering::SeqCst);
        upid.rest[5].store(1, Ordering::SeqCst);
        assert!(upid.has_reserved_bits());
        upid.reset();
        assert_eq!(upid.control(), Upid::SUPPRESS);
        assert_eq!(upid.requests(), 0);
        assert_eq!(upid.rest[5].load(Ordering::SeqCst), 0);
    }

    #[test]
    fn a_slot_in_foreign_memory_is_used_in_place() {
        let mut memory = Upid::new();
        let pointer = &raw mut memory;
        #[expect(unsafe_code, reason = "calls the function under test")]
        // SAFETY: `memory` is a Upid, lives to the end of the test and is not used otherwise.
        let upid = unsafe { Upid::from_ptr(pointer) };
        upid.init(1, 2);
        assert_eq!(upid.notification_destination(), 2);
    }
}
