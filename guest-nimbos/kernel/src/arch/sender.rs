// SPDX-License-Identifier: MIT OR Apache-2.0
//! SENDUIPI in the kernel: by the one entry that all target tables share.

use core::arch::naked_asm;
use core::sync::atomic::{AtomicBool, Ordering};

use uintr::{UittEntryError, Upid};

use super::uitt;

/// Whether there has been a sender.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// The right to post to one UPID.
#[derive(Debug)]
pub struct Sender {
    sent: u64,
}

impl Sender {
    /// Takes the entry, or returns `None` if somebody has it already.
    pub fn take() -> Option<Self> {
        (!IS_TAKEN.swap(true, Ordering::Relaxed)).then_some(Self { sent: 0 })
    }

    /// Makes `upid` the target of [`Self::send`] on every CPU, with `user_vector`. User interrupts are enabled there.
    pub fn set_target(
        &mut self,
        upid: &'static Upid,
        user_vector: u8,
    ) -> Result<(), UittEntryError> {
        uitt::set_kernel_entry(upid, user_vector)
    }

    /// Posts, and thereby notifies unless a notification is outstanding. Returns whether the processor did it: it
    /// refuses a UPID in which the other side has set reserved bits, and before [`Self::set_target`].
    #[inline(always)]
    pub fn send(&mut self) -> bool {
        // SAFETY: the entry is invalid or names a UPID; a fault is taken care of.
        let is_posted = unsafe { post(uitt::KERNEL_ENTRY as u64) };
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
