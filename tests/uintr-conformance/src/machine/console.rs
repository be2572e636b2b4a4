// SPDX-License-Identifier: MIT OR Apache-2.0
//! The console: a 16550 UART at an I/O port, polled. Only the first CPU prints.

use core::fmt::{self, Write};
use core::sync::atomic::{AtomicU16, Ordering};

use x86_64::instructions::port::Port;

const DATA: u16 = 0;
const INTERRUPT_ENABLE: u16 = 1;
const FIFO_CONTROL: u16 = 2;
const LINE_CONTROL: u16 = 3;
const MODEM_CONTROL: u16 = 4;
const LINE_STATUS: u16 = 5;
const HOLDING_REGISTER_EMPTY: u8 = 1 << 5;
const TRANSMITTER_EMPTY: u8 = 1 << 6;
const MAX_POLLS: u32 = 1_000_000;

/// First port of the UART; 0 while there is none.
static PORT: AtomicU16 = AtomicU16::new(0);

/// Prints a line of the report.
macro_rules! report {
    ($($text:tt)*) => {
        $crate::machine::console::print_line(format_args!($($text)*))
    };
}

/// Programs the UART at `base`: 115200 8N1, no interrupts.
pub fn init(base: u16) {
    for (register, value) in [
        (INTERRUPT_ENABLE, 0),
        (LINE_CONTROL, 0x80),
        (DATA, 1),
        (INTERRUPT_ENABLE, 0),
        (LINE_CONTROL, 0x03),
        (FIFO_CONTROL, 0x07),
        (MODEM_CONTROL, 0x03),
    ] {
        write_port(base + register, value);
    }
    PORT.store(base, Ordering::Relaxed);
}

/// Prints a line of the report; see [`report!`].
pub fn print_line(text: fmt::Arguments<'_>) {
    // The console's `write_str` does not fail.
    let _ = writeln!(Console, "conf: {text}");
}

/// Writes a byte to an I/O port.
pub fn write_port(port: u16, value: u8) {
    // SAFETY: the ports that this image writes are its console's, the 8259s' and the emulator's; none touches memory.
    unsafe { Port::new(port).write(value) }
}

struct Console;

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let base = PORT.load(Ordering::Relaxed);
        if base != 0 {
            text.bytes().for_each(|byte| send(base, byte));
        }
        Ok(())
    }
}

/// Waits until everything has left the UART.
pub fn flush() {
    let base = PORT.load(Ordering::Relaxed);
    if base != 0 {
        wait_for(base, TRANSMITTER_EMPTY);
    }
}

fn send(base: u16, byte: u8) {
    if wait_for(base, HOLDING_REGISTER_EMPTY) {
        write_port(base + DATA, byte);
    }
}

/// Waits for a bit of the line status; returns whether it came.
fn wait_for(base: u16, bit: u8) -> bool {
    (0..MAX_POLLS).any(|_| {
        // SAFETY: reads the UART's line status.
        let status: u8 = unsafe { Port::new(base + LINE_STATUS).read() };
        status & bit != 0
    })
}
