// SPDX-License-Identifier: MIT OR Apache-2.0
//! Channel 0 of the PIT, whose output is interrupt input 2 of the I/O APIC. (8254, "Mode 0: Interrupt on Terminal
//! Count")

use super::port;

const CHANNEL_0: u16 = 0x40;
const CONTROL: u16 = 0x43;
/// Channel 0, both bytes, mode 0.
const ONE_SHOT: u8 = 0x30;
/// Read back the status of channel 0.
const READ_BACK_STATUS: u8 = 0xe2;
const OUTPUT: u8 = 1 << 7;

/// Lets the output fall, and rise after `count` periods of 838 nanoseconds.
pub fn start(count: u16) {
    port::write(CONTROL, ONE_SHOT);
    for byte in count.to_le_bytes() {
        port::write(CHANNEL_0, byte);
    }
}

/// Tells whether the output has risen.
pub fn has_risen() -> bool {
    port::write(CONTROL, READ_BACK_STATUS);
    port::read(CHANNEL_0) & OUTPUT != 0
}
