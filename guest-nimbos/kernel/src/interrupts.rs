// SPDX-License-Identifier: MIT OR Apache-2.0
//! Interrupts: their vectors, and what each one does.

use uintr::Upid;

use crate::arch::apic::Apic;
use crate::arch::cpu;

/// Notification of the channel's server. Not UINV, so that it arrives as an ordinary interrupt; the number is cRTOS's.
pub const NOTIFICATION: u8 = 41;
/// Notification of user interrupts: UINV while a receiver runs. Taken as an ordinary interrupt it says nothing, because the
/// receiver has stopped running meanwhile: the request is found when it runs again. The number is cRTOS's.
pub const USER_INTERRUPT: u8 = 0xec;
/// Notification of a user interrupt for a thread that waits for one. Never UINV.
pub const USER_INTERRUPT_WAKE_UP: u8 = 0xed;
/// The local APIC's timer.
pub const TIMER: u8 = 0xf0;
/// Error of the local APIC.
pub const APIC_ERROR: u8 = 0xf2;
/// Spurious interrupt of the local APIC; it is not ended with an EOI.
pub const SPURIOUS: u8 = 0xff;

/// From another CPU: a thread can run, or there is something to be done before a program goes on.
pub const RESCHEDULE: u8 = 0xf1;

pub use nimbos::abi::TICKS_PER_SECOND;

/// The interrupt side of one CPU. An interrupt is taken in user mode or in [`Self::wait`] only, and then handled here like
/// any other event.
pub struct Interrupts {
    apic: Apic,
    /// Where the channel's server posts for this CPU.
    inbox: Option<&'static Upid>,
    received: u64,
    logs_path: bool,
}

/// What an interrupt was, as far as the rest of the kernel cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The timer fired; [`Interrupts::take_tick`] and [`Interrupts::rearm`] are to be called.
    Timer,
    /// The channel's server has notified: there may be completions.
    Notification,
    /// Another CPU wants attention.
    Reschedule,
    /// A thread that waits for a user interrupt has one.
    UserInterrupt,
    /// Nothing that has consequences.
    Nothing,
}

impl Interrupts {
    /// Starts with the timer running. `logs_path`: a line for each notification.
    pub fn new(apic: Apic, logs_path: bool) -> Self {
        Self {
            apic,
            inbox: None,
            received: 0,
            logs_path,
        }
    }

    /// Directs the notifications of `inbox` here.
    pub fn set_inbox(&mut self, inbox: &'static Upid) {
        inbox.reset();
        inbox.init(NOTIFICATION, self.ndst());
        self.inbox = Some(inbox);
    }

    /// Waits for an interrupt and handles it. Whatever happened before calling, an interrupt that came since then ends the
    /// wait.
    #[inline(always)]
    pub fn wait(&mut self) -> Event {
        match cpu::wait_for_interrupt() {
            Some(vector) => self.handle(vector),
            None => Event::Nothing,
        }
    }

    /// Handles an interrupt that the local APIC has in service.
    #[inline(always)]
    pub fn handle(&mut self, vector: u8) -> Event {
        let event = match vector {
            NOTIFICATION => {
                self.take_notification();
                Event::Notification
            }
            TIMER => Event::Timer,
            RESCHEDULE => Event::Reschedule,
            USER_INTERRUPT => Event::Nothing,
            USER_INTERRUPT_WAKE_UP => Event::UserInterrupt,
            SPURIOUS => return Event::Nothing,
            vector => self.handle_unwanted(vector),
        };
        self.apic.end_of_interrupt();
        event
    }

    #[cold]
    fn handle_unwanted(&mut self, vector: u8) -> Event {
        match vector {
            APIC_ERROR => say!("local APIC error {:#x}", self.apic.take_errors()),
            vector => say!("unexpected interrupt {vector:#x}"),
        }
        Event::Nothing
    }

    /// Tells whether a tick is due at the reading `now`; see [`Apic::take_tick`].
    pub fn take_tick(&mut self, now: u64) -> bool {
        self.apic.take_tick(now)
    }

    /// Arms the timer for the next tick or for `deadline`, whichever comes first.
    pub fn rearm(&mut self, deadline: u64) {
        self.apic.rearm(deadline);
    }

    /// Sees to it that the timer fires at `deadline` at the latest.
    #[inline(always)]
    pub fn fire_by(&mut self, deadline: u64) {
        self.apic.fire_by(deadline);
    }

    /// Returns the local APIC.
    pub fn apic(&mut self) -> &mut Apic {
        &mut self.apic
    }

    /// Sends [`USER_INTERRUPT`] to the CPU of this cell with this NDST.
    pub fn send_user_interrupt(&mut self, ndst: u32) {
        self.apic.send_to(ndst, USER_INTERRUPT);
    }

    /// Returns NDST of this CPU.
    pub fn ndst(&self) -> u32 {
        uintr::ndst(self.apic.id(), self.apic.is_x2apic())
    }

    /// Makes the inbox ready for the next notification; what it announces is found in the ring, afterwards.
    #[inline(always)]
    fn take_notification(&mut self) {
        self.received += 1;
        if let Some(inbox) = self.inbox {
            // The requests say no more than that there is something: the log alone looks at them.
            let requests = inbox.take_requests();
            if self.logs_path {
                say!("path: received {}, requests {requests:#x}", self.received);
            }
        }
    }
}

/// Returns the manual's name of a processor exception. (SDM 3A, "Exceptions and Interrupts")
pub fn exception_name(vector: u8) -> &'static str {
    match vector {
        0 => "divide error",
        1 => "debug exception",
        2 => "non-maskable interrupt",
        3 => "breakpoint",
        4 => "overflow",
        5 => "bound range exceeded",
        6 => "invalid opcode",
        7 => "device not available",
        8 => "double fault",
        10 => "invalid TSS",
        11 => "segment not present",
        12 => "stack fault",
        13 => "general protection",
        14 => "page fault",
        16 => "x87 floating-point error",
        17 => "alignment check",
        18 => "machine check",
        19 => "SIMD floating-point exception",
        20 => "virtualization exception",
        21 => "control protection",
        _ => "unknown exception",
    }
}
