//! What a CPU is asked to do by others.

use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};

const START: u32 = 1;
const INIT: u32 = 1 << 1;
const SIPI: u32 = 1 << 2;
const NMI: u32 = 1 << 3;
const STOP: u32 = 1 << 4;
const PARK: u32 = 1 << 5;
const MACHINE_STOP: u32 = 1 << 31;

/// Requests to one CPU. Each is a flag: asked twice before it is looked at, it is done once, as with the real signals.
#[derive(Debug)]
pub struct Mailbox {
    requests: AtomicU32,
    sipi_vector: AtomicU8,
}

/// Requests taken from a mailbox, in the order in which they are to be handled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mail {
    /// The cell was stopped.
    pub stop: bool,
    /// The cell starts anew: leave it, and wait until it does.
    pub park: bool,
    /// Enter the cell at its entry point.
    pub start: bool,
    /// INIT from a CPU of the cell.
    pub init: bool,
    /// SIPI from a CPU of the cell, with its vector. One that came with an INIT is handled after it.
    pub sipi: Option<u8>,
    /// NMI from a CPU of the cell.
    pub nmi: bool,
}

impl Mailbox {
    /// Returns an empty mailbox.
    pub const fn new() -> Self {
        Self {
            requests: AtomicU32::new(0),
            sipi_vector: AtomicU8::new(0),
        }
    }

    /// Asks the CPU to enter its cell.
    pub fn post_start(&self) {
        self.requests.fetch_or(START, Ordering::Release);
    }

    /// Passes an INIT on.
    pub fn post_init(&self) {
        // An INIT forgets a SIPI that came before it and was not looked at.
        let _ = self
            .requests
            .fetch_update(Ordering::Release, Ordering::Relaxed, |r| {
                Some(r & !SIPI | INIT)
            });
    }

    /// Passes a SIPI on. A second one before the first is looked at changes nothing: the CPU has started by then.
    pub fn post_sipi(&self, vector: u8) {
        if self.requests.load(Ordering::Relaxed) & SIPI == 0 {
            self.sipi_vector.store(vector, Ordering::Relaxed);
            self.requests.fetch_or(SIPI, Ordering::Release);
        }
    }

    /// Passes an NMI on.
    pub fn post_nmi(&self) {
        self.requests.fetch_or(NMI, Ordering::Release);
    }

    /// Asks the CPU to leave its cell for good.
    pub fn post_stop(&self) {
        self.requests.fetch_or(STOP, Ordering::Release);
    }

    /// Asks the CPU to leave its cell until that starts anew.
    pub fn post_park(&self) {
        self.requests.fetch_or(PARK, Ordering::Release);
    }

    /// Asks the CPU to halt: the hypervisor itself failed.
    pub fn post_machine_stop(&self) {
        self.requests.fetch_or(MACHINE_STOP, Ordering::Release);
    }

    /// Tells whether the hypervisor itself failed.
    pub fn is_machine_stopping(&self) -> bool {
        self.requests.load(Ordering::Relaxed) & MACHINE_STOP != 0
    }

    /// Tells whether there is anything to take.
    pub fn is_empty(&self) -> bool {
        self.requests.load(Ordering::Relaxed) == 0
    }

    /// Takes all requests.
    pub fn take(&self) -> Mail {
        let requests = self.requests.fetch_and(MACHINE_STOP, Ordering::Acquire);
        Mail {
            stop: requests & (STOP | MACHINE_STOP) != 0,
            park: requests & PARK != 0,
            start: requests & START != 0,
            init: requests & INIT != 0,
            sipi: (requests & SIPI != 0).then(|| self.sipi_vector.load(Ordering::Relaxed)),
            nmi: requests & NMI != 0,
        }
    }

    /// Waits until there may be something to take.
    pub fn wait(&self, monitor: bool) {
        crate::arch::wait::while_equal(&self.requests, 0, monitor);
    }
}

impl Default for Mailbox {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sipi_right_after_its_init_survives_with_it() {
        let mailbox = Mailbox::new();
        mailbox.post_init();
        mailbox.post_sipi(0x9a);
        mailbox.post_sipi(0x77);
        let mail = mailbox.take();
        assert!(mail.init);
        assert_eq!(mail.sipi, Some(0x9a));
        assert!(mailbox.is_empty());
    }

    #[test]
    fn an_init_forgets_the_sipi_before_it() {
        let mailbox = Mailbox::new();
        mailbox.post_sipi(1);
        mailbox.post_init();
        assert_eq!(
            mailbox.take(),
            Mail {
                init: true,
                ..Mail::default()
            }
        );
    }

    #[test]
    fn a_failed_hypervisor_is_never_forgotten() {
        let mailbox = Mailbox::new();
        mailbox.post_machine_stop();
        assert!(mailbox.take().stop);
        assert!(mailbox.is_machine_stopping() && !mailbox.is_empty());
    }
}
