// SPDX-License-Identifier: MIT OR Apache-2.0
//! SENDUIPI in the kernel: a table of one target.
//!
//! The instruction has no privilege: once there is a sender, a program can post to the same target. It gains nothing by
//! that: the server wakes, and finds the ring empty.

use core::arch::naked_asm;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use uintr::{UittEntry, UittEntryError, Upid, msr};
use x86_64::registers::control::{Cr4, Cr4Flags};
use x86_64::registers::model_specific::Msr;

use super::cpu::Features;

/// The only index in use.
const INDEX: u64 = 0;

/// The kernel's user-interrupt target table, the same for all CPUs. Supervisor memory, mapped in every address space.
static TABLE: Table = Table([const { AtomicU64::new(0) }; 2]);
/// Whether there has been a sender.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// The two words of the only entry; zeroes are one that SENDUIPI refuses.
#[repr(C, align(16))]
struct Table([AtomicU64; 2]);

/// The right to post to one UPID.
#[derive(Debug)]
pub struct Sender {
    sent: u64,
}

/// Turns user interrupts on for this CPU, if the processor has them, and names the table of targets.
///
/// UINV stays 0: this kernel takes notifications as ordinary interrupts.
pub fn enable(features: Features) {
    if !features.has_uintr {
        return;
    }
    let table = (&raw const TABLE).expose_provenance() as u64;
    let pointer = msr::tt(table).expect("the table is aligned");
    // SAFETY: the processor reads the table on SENDUIPI only, and its entry is invalid until `Sender::set_target`. With UINV = 0 no
    // interrupt is a notification of a user interrupt.
    unsafe {
        Msr::new(msr::IA32_UINTR_MISC).write(msr::misc(0, INDEX as u32));
        Msr::new(msr::IA32_UINTR_TT).write(pointer);
        let uintr = Cr4Flags::from_bits_retain(uintr::CR4_UINTR);
        Cr4::update(|flags| flags.insert(uintr));
    }
}

impl Sender {
    /// Takes the table, or returns `None` if somebody has it already.
    pub fn take() -> Option<Self> {
        (!IS_TAKEN.swap(true, Ordering::Relaxed)).then_some(Self { sent: 0 })
    }

    /// Makes `upid` the target of [`Self::send`] on every CPU, with `user_vector`. [`enable`] has been called there.
    pub fn set_target(
        &mut self,
        upid: &'static Upid,
        user_vector: u8,
    ) -> Result<(), UittEntryError> {
        let address = core::ptr::from_ref(upid).expose_provenance() as u64;
        let entry = UittEntry::new(address, user_vector)?;
        // SAFETY: an entry is two words, in which every value is valid.
        let [first, second] = unsafe { core::mem::transmute::<UittEntry, [u64; 2]>(entry) };
        // A program on another CPU may execute SENDUIPI at any time: the entry is never half of the old and half of the new
        // target. The valid bit goes first and comes last.
        TABLE.0[0].store(0, Ordering::Release);
        TABLE.0[1].store(second, Ordering::Release);
        TABLE.0[0].store(first, Ordering::Release);
        Ok(())
    }

    /// Posts, and thereby notifies unless a notification is outstanding. Returns whether the processor did it: it
    /// refuses a UPID in which the other side has set reserved bits, and before [`Self::set_target`].
    #[inline(always)]
    pub fn send(&mut self) -> bool {
        // SAFETY: the entry is invalid or names a UPID; a fault is taken care of.
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
