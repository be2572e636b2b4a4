//! The hypervisor's log: to its UART, if it has one, and to a ring in memory that survives it.
//!
//! One line for each rare event; nothing on the exit path. Lines wait for each other, not for the UART's reader.

use core::fmt::{self, Write};

use log::{Level, LevelFilter, Log, Metadata, Record};
use spin::Mutex;
use uart_16550::backend::PioBackend;
use uart_16550::{Config, Uart16550};

/// Bytes of the ring.
const RING_LEN: usize = 32 * 1024;

struct Sink {
    ring: [u8; RING_LEN],
    /// Bytes ever written; the newest byte is before it, modulo the length.
    written: usize,
    uart: Option<Uart16550<PioBackend>>,
}

static SINK: Mutex<Sink> = Mutex::new(Sink {
    ring: [0; RING_LEN],
    written: 0,
    uart: None,
});

struct RingLog;

static LOG: RingLog = RingLog;

/// Starts logging to the ring; once, first thing.
pub fn init() {
    if log::set_logger(&LOG).is_ok() {
        log::set_max_level(LevelFilter::Info);
    }
}

/// Sends the log to the UART at `port` from now on, and first what the ring holds. Returns whether there is a UART.
///
/// # Safety
/// The eight ports are a 16550's, or nobody's, and nobody else uses them.
#[expect(unsafe_code, reason = "takes a device over")]
pub unsafe fn attach_uart(port: u16) -> bool {
    // SAFETY: the caller vouches for the ports.
    let Ok(mut uart) = (unsafe { Uart16550::new_port(port) }) else {
        return false;
    };
    if uart.init(Config::default()).is_err() {
        return false;
    }
    let mut sink = SINK.lock();
    let first = sink.written.saturating_sub(RING_LEN);
    for at in first..sink.written {
        put(&mut uart, sink.ring[at % RING_LEN]);
    }
    sink.uart = Some(uart);
    true
}

/// Sends one byte, waiting for the transmitter.
fn put(uart: &mut Uart16550<PioBackend>, byte: u8) {
    while uart.try_send_byte(byte).is_err() {
        core::hint::spin_loop();
    }
}

impl Write for Sink {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.ring[self.written % RING_LEN] = byte;
            self.written = self.written.wrapping_add(1);
            if let Some(uart) = &mut self.uart {
                if byte == b'\n' {
                    put(uart, b'\r');
                }
                put(uart, byte);
            }
        }
        Ok(())
    }
}

impl Log for RingLog {
    fn enabled(&self, metadata: &Metadata) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let prefix = match record.level() {
            Level::Error => "error: ",
            Level::Warn => "warning: ",
            Level::Info => "",
            Level::Debug => "debug: ",
            Level::Trace => "trace: ",
        };
        // Writing to the sink cannot fail; a formatter of ours that does loses the rest of its line only.
        let _ = writeln!(SINK.lock(), "isthmus: {prefix}{}", record.args());
    }

    fn flush(&self) {}
}

/// Lets a panic print although another CPU, or the code it interrupted, holds the log.
///
/// # Safety
/// The machine is being stopped: nobody continues with the log.
#[expect(unsafe_code, reason = "breaks the lock")]
pub unsafe fn force_unlock() {
    // SAFETY: the caller vouches that the holder never continues.
    unsafe { SINK.force_unlock() };
}
