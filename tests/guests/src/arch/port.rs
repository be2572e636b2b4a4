// SPDX-License-Identifier: MIT OR Apache-2.0
//! I/O ports.

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

/// Writes four bytes.
pub fn write_dword(port: u16, value: u32) {
    // SAFETY: as in `read`; of the PCI configuration ports, tests write what changes no memory.
    unsafe { Port::new(port).write(value) }
}
