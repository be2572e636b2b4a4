// SPDX-License-Identifier: MIT OR Apache-2.0
//! The I/O APIC, by the instructions that Linux uses, and by others.

use core::arch::asm;

/// Where its page is, unless the chipset's registers moved it.
pub const BASE: u64 = 0xfec0_0000;
const IOREGSEL: u64 = 0x00;
/// Offset of the window to the selected register.
pub const IOWIN: u64 = 0x10;

/// An access that is no plain move of 32 bits.
#[derive(Clone, Copy, Debug)]
pub enum Odd {
    /// MOV of 8 bits.
    Byte,
    /// MOV of 16 bits.
    Word,
    /// MOV of 64 bits.
    Quadword,
    /// OR of 32 bits.
    Or,
}

/// Reads a register.
pub fn read(number: u8) -> u32 {
    store(IOREGSEL, number.into());
    load(BASE + IOWIN)
}

/// Writes a register.
pub fn write(number: u8, value: u32) {
    store(IOREGSEL, number.into());
    store(IOWIN, value);
}

/// Writes a register by XCHG and returns what it held.
pub fn exchange(number: u8, mut value: u32) -> u32 {
    store(IOREGSEL, number.into());
    // SAFETY: as in `store`.
    unsafe { asm!("xchg [{}], {:e}", in(reg) BASE + IOWIN, inout(reg) value, options(nostack)) };
    value
}

/// Reads 32 bits of device memory.
pub fn load(address: u64) -> u32 {
    let value;
    // SAFETY: reading a register of the I/O APIC changes nothing; what is not the cell's stops it.
    unsafe { asm!("mov {:e}, [{}]", lateout(reg) value, in(reg) address, options(nostack)) };
    value
}

/// Does what the hypervisor does not emulate: the cell is stopped by it.
pub fn access_oddly(odd: Odd) {
    let address = BASE + IOWIN;
    // SAFETY: the cell is stopped, or else writes a masked entry of the I/O APIC.
    unsafe {
        match odd {
            Odd::Byte => asm!("mov byte ptr [{}], 1", in(reg) address, options(nostack)),
            Odd::Word => asm!("mov word ptr [{}], 1", in(reg) address, options(nostack)),
            Odd::Quadword => asm!("mov qword ptr [{}], 1", in(reg) address, options(nostack)),
            Odd::Or => asm!("or dword ptr [{}], 1", in(reg) address, options(nostack)),
        }
    }
}

fn store(offset: u64, value: u32) {
    // SAFETY: entries of the I/O APIC raise interrupts, which have gates; it touches no memory.
    unsafe { asm!("mov [{}], {:e}", in(reg) BASE + offset, in(reg) value, options(nostack)) };
}
