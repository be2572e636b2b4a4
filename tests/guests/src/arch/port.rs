// SPDX-License-Identifier: MIT OR Apache-2.0
//! I/O ports, a byte at a time.

use x86_64::instructions::port::Port;

/// Reads a byte.
pub fn read(port: u16) -> u8 {
    // SAFETY: the hypervisor lets this cell reach its own ports only, and none of them can touch memory.
    unsafe { Port::new(port).read() }
}

/// Writes a byte.
pub fn write(port: u16, value: u8) {
    // SAFETY: as in `read`.
    unsafe { Port::new(port).write(value) }
}
