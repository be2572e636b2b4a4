// SPDX-License-Identifier: MIT OR Apache-2.0
//! The end of a kernel that found an error of its own.

use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};

use crate::arch::{cpu, hypercall};
use crate::{backtrace, channel, console, kernel};

static RESTARTS: AtomicBool = AtomicBool::new(false);
static IS_PANICKING: AtomicBool = AtomicBool::new(false);

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    begin_report();
    match info.location() {
        Some(place) => say!("panic at {place}: {}", info.message()),
        None => say!("panic: {}", info.message()),
    }
    backtrace::backtrace();
    end()
}

/// Lets the cell start anew after a failure, or not.
pub fn set_restarts(restarts: bool) {
    RESTARTS.store(restarts, Ordering::Relaxed);
}

/// What comes after the report: the cell starts anew if it is to, and stands still otherwise.
pub fn end() -> ! {
    if RESTARTS.load(Ordering::Relaxed) {
        let error = hypercall::restart();
        say!("the cell cannot be started anew: error {error}");
    }
    cpu::halt_forever()
}

/// Begins the only report of the kernel's end: what fails during a report, or on another CPU, halts without a word.
pub fn begin_report() {
    if IS_PANICKING.swap(true, Ordering::Relaxed) {
        cpu::halt_forever()
    }
    // First: whatever becomes of the report, the channel's server shall not wait for calls.
    channel::abandon();
    console::break_lock();
    kernel::freeze();
}
