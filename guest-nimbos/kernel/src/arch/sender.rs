// SPDX-License-Identifier: MIT OR Apache-2.0
//! SENDUIPI in the kernel: a table of one target.
//!
//! The instruction has no privilege: once there is a sender, a program can post to the same target. It gains nothing by
//! that: the server wakes, and finds the ring empty.

use core::arch::naked_asm;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, Ordering};

use uintr::{UittEntry, UittEntryError, Upid, msr};
use x86_64::registers::control::{Cr4, Cr4Flags};
use x86_64::registers::model_specific::Msr;

use super::cpu::Features;

/// The only index in use.
const INDEX: u64 = 0;

/// The kernel's user-interrupt target table. Supervisor memory, mapped in every address space.
static TABLE: Table = Table(UnsafeCell::new([UittEntry::INVALID]));
/// Whether there has been a sender.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

struct Table(UnsafeCell<[UittEntry; 1]>);

// SAFETY: only `Sender::new` writes, once.
unsafe impl Sync for Table {}

/// The right to post to one UPID.
#[derive(Debug)]
pub struct Sender {
    sent: u64,
}

impl Sender {
    /// Turns user interrupts on and makes `upid` the target of [`Self::send`], with `user_vector`.
    ///
    /// UINV stays 0: this kernel takes notifications as ordinary interrupts.
    ///
    /// # Panics
    /// If the processor has no user interrupts, or there has been a sender already.
    pub fn new(
        features: Features,
        upid: &'static Upid,
        user_vector: u8,
    ) -> Result<Self, UittEntryError> {
        assert!(features.has_uintr, "there are no user interrupts");
        assert!(
            !IS_TAKEN.swap(true, Ordering::Relaxed),
            "the table is taken"
        );
        let address = core::ptr::from_ref(upid).expose_provenance() as u64;
        let entry = UittEntry::new(address, user_vector)?;
        let table = TABLE.0.get();
        let pointer = msr::tt(table.expose_provenance() as u64).expect("the table is aligned");
        // SAFETY: the table is taken once, so nobody else uses it; the processor reads it on SENDUIPI only. The entry
        // names a UPID that stays mapped. Setting CR4.UINTR is allowed where the processor has the feature, and with
        // UINV = 0 no interrupt is a notification of a user interrupt.
        unsafe {
            table.write([entry]);
            Msr::new(msr::IA32_UINTR_MISC).write(msr::misc(0, INDEX as u32));
            Msr::new(msr::IA32_UINTR_TT).write(pointer);
            let uintr = Cr4Flags::from_bits_retain(uintr::CR4_UINTR);
            Cr4::update(|flags| flags.insert(uintr));
        }
        Ok(Self { sent: 0 })
    }

    /// Posts, and thereby notifies unless a notification is outstanding. Returns whether the processor did it: it
    /// refuses a UPID in which the other side has set reserved bits.
    pub fn send(&mut self) -> bool {
        // SAFETY: `new` enabled the instruction and wrote the entry; a fault is taken care of.
        let is_posted = unsafe { post(INDEX) };
        self.sent += u64::from(is_posted);
        is_posted
    }

    /// Returns how often [`Self::send`] posted.
    pub fn sent(&self) -> u64 {
        self.sent
    }
}

/// Executes SENDUIPI and returns true. If its first instruction raises an exception, [`super::trap`] lets it go on in
/// [`post_refused`] instead.
///
/// # Safety
/// CR4.UINTR is 1, and the valid entries of the table name UPIDs.
#[unsafe(naked)]
pub unsafe extern "C" fn post(index: u64) -> bool {
    naked_asm!("senduipi rdi", "mov eax, 1", "ret")
}

/// Returns false to the caller of [`post`].
///
/// # Safety
/// Only [`super::trap`] may go here, in place of `post`.
#[unsafe(naked)]
pub unsafe extern "C" fn post_refused() -> bool {
    naked_asm!("xor eax, eax", "ret")
}
