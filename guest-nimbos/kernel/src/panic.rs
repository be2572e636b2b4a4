// SPDX-License-Identifier: MIT OR Apache-2.0
//! The end of a kernel that found an error of its own.

use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};

use crate::arch::cpu;
use crate::{backtrace, console, kernel};

static IS_PANICKING: AtomicBool = AtomicBool::new(false);

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    begin_report();
    match info.location() {
        Some(place) => say!("panic at {place}: {}", info.message()),
        None => say!("panic: {}", info.message()),
    }
    backtrace::backtrace();
    cpu::halt_forever()
}

/// Begins the only report of the kernel's end: what fails during a report, or on another CPU, halts without a word.
pub fn begin_report() {
    if IS_PANICKING.swap(true, Ordering::Relaxed) {
        cpu::halt_forever()
    }
    console::break_lock();
    kernel::freeze();
}
