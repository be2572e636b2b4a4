// SPDX-License-Identifier: MIT OR Apache-2.0
//! The end of the run, good or bad.

use core::sync::atomic::{AtomicBool, Ordering};

use super::{console, cpu};

/// Port at which Bochs takes the word that ends it.
const SHUTDOWN_PORT: u16 = 0x8900;

static ENDS_EMULATOR: AtomicBool = AtomicBool::new(false);

/// Lets [`stop`] end the emulator.
pub fn end_emulator() {
    ENDS_EMULATOR.store(true, Ordering::SeqCst);
}

/// Stops the run: ends the emulator if that is wanted, and this CPU.
pub fn stop() -> ! {
    console::flush();
    if ENDS_EMULATOR.load(Ordering::SeqCst) {
        for byte in b"Shutdown" {
            console::write_port(SHUTDOWN_PORT, *byte);
        }
    }
    cpu::halt_forever()
}
