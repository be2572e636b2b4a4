//! The two 8259s.

use super::port::{self, Width};

/// Interrupt mask registers.
const MASKS: [u16; 2] = [0x21, 0xA1];

/// Masks all their interrupts: firmware leaves its timer running, at vectors that are exceptions to everybody else.
/// A cell that has the ports unmasks what it wants.
pub fn mask_all() {
    for register in MASKS {
        // SAFETY: no cell runs, and the hypervisor wants no device's interrupts.
        unsafe { port::write(register, Width::Byte, 0xFF) };
    }
}
