// SPDX-License-Identifier: MIT OR Apache-2.0
//! The end of a kernel that found an error of its own.

use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};

use crate::arch::cpu;

static IS_PANICKING: AtomicBool = AtomicBool::new(false);

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    if !IS_PANICKING.swap(true, Ordering::Relaxed) {
        match info.location() {
            Some(place) => say!("panic at {place}: {}", info.message()),
            None => say!("panic: {}", info.message()),
        }
    }
    cpu::halt_forever()
}
