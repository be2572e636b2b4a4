// SPDX-License-Identifier: MIT OR Apache-2.0
//! The cell's console: a 16550 UART at an I/O port, polled; without one, the hypervisor's log. Only the first CPU prints.

use core::fmt::{self, Write};
use core::sync::atomic::{AtomicU16, Ordering};

use hv_abi::hypercall::DEBUG_CONSOLE_PUTC;

use crate::arch::{hypercall, port};

const DATA: u16 = 0;
const INTERRUPT_ENABLE: u16 = 1;
const FIFO_CONTROL: u16 = 2;
const LINE_CONTROL: u16 = 3;
const MODEM_CONTROL: u16 = 4;
const LINE_STATUS: u16 = 5;
const TRANSMITTER_EMPTY: u8 = 0x20;
const MAX_POLLS: u32 = 1_000_000;

/// First port of the UART; 0 while there is none.
static PORT: AtomicU16 = AtomicU16::new(0);

/// Prints a line of findings.
macro_rules! report {
    ($($text:tt)*) => {
        $crate::console::print_line(format_args!($($text)*))
    };
}

/// Programs the UART at `base`: 115200 8N1, no interrupts.
pub fn init(base: Option<u16>) {
    let Some(base) = base else { return };
    for (register, value) in [
        (INTERRUPT_ENABLE, 0),
        (LINE_CONTROL, 0x80),
        (DATA, 1),
        (INTERRUPT_ENABLE, 0),
        (LINE_CONTROL, 0x03),
        (FIFO_CONTROL, 0x07),
        (MODEM_CONTROL, 0x03),
    ] {
        port::write(base + register, value);
    }
    PORT.store(base, Ordering::Relaxed);
}

/// Prints a line of findings; see [`report!`].
pub fn print_line(text: fmt::Arguments<'_>) {
    // The console's `write_str` does not fail.
    let _ = writeln!(Console, "test: {text}");
}

struct Console;

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let base = PORT.load(Ordering::Relaxed);
        for byte in text.bytes() {
            if base != 0 {
                send(base, byte);
            } else {
                hypercall::call(DEBUG_CONSOLE_PUTC, byte.into(), 0);
            }
        }
        Ok(())
    }
}

fn send(base: u16, byte: u8) {
    let is_ready = || port::read(base + LINE_STATUS) & TRANSMITTER_EMPTY != 0;
    if (0..MAX_POLLS).any(|_| is_ready()) {
        port::write(base + DATA, byte);
    }
}
