// SPDX-License-Identifier: MIT OR Apache-2.0
//! What processors do: post, notify, process notifications, halt.
//!
//! An interrupt on its way is a bit that its receiver takes. It becomes visible after everything that the sender did
//! before: SENDUIPI's locked access has completed when the interrupt is sent. The time between the two is a step of its
//! own, so an interrupt may be on its way for as long as the checker likes.

use std::sync::Mutex;

use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread::{self, Thread};
use uintr::{Notification, Upid};

/// ON of the control word. (SDM 3A, "User Posted-Interrupt Descriptor (UPID)")
pub const ON: u64 = 1 << 0;
/// SN of the control word.
pub const SN: u64 = 1 << 1;

/// The co-kernel's vector.
pub const NOTIFICATION: u8 = 1;
/// UINV of the shadow process.
pub const UINV: u8 = 2;
/// The wake-up vector of the driver.
pub const WAKEUP: u8 = 3;
/// The co-kernel's timer.
pub const TIMER: u8 = 4;
/// No vector of the product: ends a thread of the model.
pub const STOP: u8 = 5;

/// A thread that may park.
///
/// loom's `unpark` lets a thread see what the other did before, even if it does not park. So it is called only for one that
/// does, or is about to look for the last time.
#[derive(Debug, Default)]
pub struct Parking(Mutex<Option<Thread>>);

impl Parking {
    /// Parks the current thread until `is_over`, which looks at what is changed before [`Self::end`] and always finds the
    /// newest value.
    pub fn park_until<T>(&self, mut is_over: impl FnMut() -> Option<T>) -> T {
        loop {
            *self.0.lock().unwrap() = Some(thread::current());
            if let Some(result) = is_over() {
                *self.0.lock().unwrap() = None;
                return result;
            }
            thread::park();
        }
    }

    /// Lets the thread look again, if there is one.
    pub fn end(&self) {
        let thread = self.0.lock().unwrap().take();
        if let Some(thread) = thread {
            thread.unpark();
        }
    }
}

/// Interrupts pending for one receiver.
#[derive(Debug)]
pub struct Line {
    pending: AtomicU32,
    halted: Parking,
}

impl Line {
    fn new() -> Self {
        Self {
            pending: AtomicU32::new(0),
            halted: Parking::default(),
        }
    }

    /// Makes `vector` pending.
    pub fn raise(&self, vector: u8) {
        self.pending.fetch_or(1 << vector, Ordering::Release);
        self.halted.end();
    }

    /// Accepts the pending vector with the highest priority.
    pub fn accept(&self) -> Option<u8> {
        // Always the newest value: this is no memory but a register of the APIC.
        let pending = self.pending.fetch_or(0, Ordering::Acquire);
        let vector = pending.checked_ilog2()?;
        self.pending.fetch_and(!(1 << vector), Ordering::Acquire);
        Some(vector as u8)
    }

    /// Waits until something is pending, without accepting it.
    pub fn wait_until_pending(&self) {
        let is_pending = || (self.pending.fetch_or(0, Ordering::Acquire) != 0).then_some(());
        self.halted.park_until(is_pending);
    }

    /// STI, HLT: waits for an interrupt and accepts it. None is accepted between the caller's last look and HLT.
    pub fn halt(&self) -> u8 {
        self.halted.park_until(|| self.accept())
    }
}

/// Who receives what.
#[derive(Debug)]
pub struct Machine {
    /// The co-kernel's CPU.
    pub nimbos: Line,
    /// UINV at the two CPUs of Linux.
    pub uinv: [Line; 2],
    /// The wake-up vector at Linux's CPUs: whichever takes it, the driver's hook looks at all that wait.
    pub wakeup: Line,
}

impl Machine {
    /// Makes a machine without pending interrupts.
    pub fn new() -> Self {
        Self {
            nimbos: Line::new(),
            uinv: [Line::new(), Line::new()],
            wakeup: Line::new(),
        }
    }

    /// SENDUIPI: one locked read-modify-write of the UPID's 16 bytes, then the interrupt. (SDM 2, "SENDUIPI")
    pub fn senduipi(&self, upid: &Upid, user_vector: u8) {
        if let Some(notification) = post(upid, user_vector) {
            self.send(notification);
        }
    }

    /// SENDUIPI to a proxy: its notification is a VM exit, in which the hypervisor moves the posts to the receiver's
    /// descriptor. (hypervisor/src/doorbell.rs, `relay`)
    pub fn senduipi_by_proxy(&self, proxy: &Upid, upid: &Upid, user_vector: u8) {
        if post(proxy, user_vector).is_some() {
            // let posted = proxy.take_requests();
            let posted = proxy.take_requests();
            // (allowed != 0).then(|| target.post(allowed))
            if posted != 0
                && let Some(notification) = upid.post(posted)
            {
                self.send(notification);
            }
        }
    }

    fn send(&self, notification: Notification) {
        let Notification {
            vector,
            destination,
        } = notification;
        match vector {
            NOTIFICATION => self.nimbos.raise(vector),
            UINV => self.uinv[destination as usize].raise(vector),
            WAKEUP => self.wakeup.raise(vector),
            _ => panic!("nobody has vector {vector}, destination {destination:#x}"),
        }
    }
}

/// Changes both words of a UPID at once; returns the notification that is to be sent.
///
/// loom has no atomic of 16 bytes: the first access is an ordinary one, which the others follow without letting any other
/// thread run.
fn post(upid: &Upid, user_vector: u8) -> Option<Notification> {
    let (control, pir) = upid.words();
    let before = control.fetch_or(0, Ordering::AcqRel);
    loom::stop_exploring();
    pir.fetch_or(1 << user_vector, Ordering::AcqRel);
    let is_notified = before & (ON | SN) == 0;
    // Even if it changes nothing: who reads the control word from now on has this post's requests.
    control.fetch_or(if is_notified { ON } else { 0 }, Ordering::AcqRel);
    loom::explore();
    is_notified.then_some(Notification {
        vector: (before >> 16) as u8,
        destination: (before >> 32) as u32,
    })
}

/// Returns the requests that a notification announced. (SDM 3A, "User-Interrupt Notification Processing")
pub fn process_notification(upid: &Upid) -> u64 {
    let (control, pir) = upid.words();
    control.fetch_and(!ON, Ordering::AcqRel);
    pir.swap(0, Ordering::AcqRel)
}
