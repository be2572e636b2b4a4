// SPDX-License-Identifier: MIT OR Apache-2.0
//! A 16550 UART at I/O ports. (National Semiconductor, "PC16550D", register description)

use x86_64::instructions::port::Port;

const DATA: u16 = 0;
const INTERRUPT_ENABLE: u16 = 1;
const FIFO_CONTROL: u16 = 2;
const LINE_CONTROL: u16 = 3;
const MODEM_CONTROL: u16 = 4;
const LINE_STATUS: u16 = 5;

const LINE_8N1: u8 = 0x03;
const DIVISOR_ACCESS: u8 = 0x80;
const FIFO_ON_AND_EMPTY: u8 = 0x07;
const READY_TO_SEND: u8 = 0x03;
const DATA_READY: u8 = 0x01;
const TRANSMITTER_EMPTY: u8 = 0x20;

/// Polls for one byte: some 0.1 s on a slow machine, so that a dead UART does not stop the kernel.
const MAX_POLLS: u32 = 1_000_000;

/// Sets 115200 8N1, no interrupts.
pub fn init(base: u16) {
    for (register, value) in [
        (INTERRUPT_ENABLE, 0),
        (LINE_CONTROL, DIVISOR_ACCESS),
        (DATA, 1),
        (INTERRUPT_ENABLE, 0),
        (LINE_CONTROL, LINE_8N1),
        (FIFO_CONTROL, FIFO_ON_AND_EMPTY),
        (MODEM_CONTROL, READY_TO_SEND),
    ] {
        write(base, register, value);
    }
}

/// Sends a byte once the UART can take one.
pub fn send(base: u16, byte: u8) {
    let is_ready = || read(base, LINE_STATUS) & TRANSMITTER_EMPTY != 0;
    if (0..MAX_POLLS).any(|_| is_ready()) {
        write(base, DATA, byte);
    }
}

/// Takes a byte that has come, if one has.
pub fn receive(base: u16) -> Option<u8> {
    (read(base, LINE_STATUS) & DATA_READY != 0).then(|| read(base, DATA))
}

fn read(base: u16, register: u16) -> u8 {
    // SAFETY: the hypervisor lets this cell reach its own ports only, and the console's UART cannot touch memory.
    unsafe { Port::new(base + register).read() }
}

fn write(base: u16, register: u16, value: u8) {
    // SAFETY: as in `read`.
    unsafe { Port::new(base + register).write(value) }
}
