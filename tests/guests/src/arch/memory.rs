// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory at any address, which is mapped one to one.

/// Reads a byte.
pub fn read(address: u64) {
    let from: *const u8 = core::ptr::with_exposed_provenance(address as usize);
    // SAFETY: reading has no effect in this cell, whether there is memory or not.
    unsafe { from.read_volatile() };
}

/// Writes a zero byte.
pub fn write(address: u64) {
    let to: *mut u8 = core::ptr::with_exposed_provenance_mut(address as usize);
    // SAFETY: the address is outside of what the cell uses.
    unsafe { to.write_volatile(0) };
}

/// Executes what is there: a return.
pub fn execute(address: u64) {
    let at: *const () = core::ptr::with_exposed_provenance(address as usize);
    // SAFETY: the cell is stopped when it fetches the first byte, or the test fails.
    let function: extern "C" fn() = unsafe { core::mem::transmute(at) };
    function();
}
