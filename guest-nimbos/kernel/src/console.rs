// SPDX-License-Identifier: MIT OR Apache-2.0
//! The cell's console: a 16550 UART at an I/O port, polled.
//!
//! The kernel's own lines begin with `nimbos: ` and are printed by [`say!`]. A program writes to the same UART by way
//! of its standard error, unchanged. Keys are for programs; `kernel::keyboard` reads them.

use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, AtomicU16, Ordering};

use spin::{Mutex, MutexGuard};

use crate::arch::uart;

/// First port of the UART; 0 while there is none.
static PORT: AtomicU16 = AtomicU16::new(0);
/// Whoever has it prints.
static LOCK: Mutex<()> = Mutex::new(());
/// A kernel that fails prints whoever has the lock: it may be itself.
static IS_BROKEN: AtomicBool = AtomicBool::new(false);

/// Prints a line of the kernel's log.
macro_rules! say {
    ($($text:tt)*) => {
        $crate::console::print_line(format_args!($($text)*))
    };
}

/// Programs the UART at `port` (115200 8N1) and uses it from now on. Without one everything printed is lost.
pub fn init(port: Option<u16>) {
    if let Some(port) = port {
        uart::init(port);
        PORT.store(port, Ordering::Relaxed);
    }
}

/// Prints a line of the kernel's log; see [`say!`].
pub fn print_line(text: fmt::Arguments<'_>) {
    let _guard = lock();
    // The console's `write_str` does not fail.
    let _ = writeln!(Console, "nimbos: {text}");
}

/// Prints bytes as they are, but for a carriage return before each line feed.
pub fn write(bytes: &[u8]) {
    let _guard = lock();
    send(bytes);
}

/// Lets this CPU print whoever was about to, in the middle of a line if need be.
pub fn break_lock() {
    IS_BROKEN.store(true, Ordering::Relaxed);
}

fn lock() -> Option<MutexGuard<'static, ()>> {
    loop {
        if IS_BROKEN.load(Ordering::Relaxed) {
            return None;
        }
        if let Some(guard) = LOCK.try_lock() {
            return Some(guard);
        }
    }
}

fn send(bytes: &[u8]) {
    let port = PORT.load(Ordering::Relaxed);
    if port == 0 {
        return;
    }
    for &byte in bytes {
        if byte == b'\n' {
            uart::send(port, b'\r');
        }
        uart::send(port, byte);
    }
}

/// Takes a byte that was typed, if one was.
pub fn read_byte() -> Option<u8> {
    match PORT.load(Ordering::Relaxed) {
        0 => None,
        port => uart::receive(port),
    }
}

struct Console;

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        send(text.as_bytes());
        Ok(())
    }
}
