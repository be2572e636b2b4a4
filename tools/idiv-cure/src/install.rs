// SPDX-License-Identifier: MIT OR Apache-2.0
//! Puts the right division in the place of the emulator's own, when the dynamic loader loads this.
#![expect(
    unsafe_code,
    reason = "replaces a function of the process that it is loaded into"
)]

use std::ffi::{CStr, c_void};

use crate::{Bit128s, divide};

/// `long_idiv(Bit128s *quotient, Bit64s *remainder, const Bit128s *dividend, Bit64s divisor)`.
const SYMBOL: &CStr = c"_Z9long_idivP7Bit128sPlPKS_l";
const PAGE: usize = 4096;
/// `mov rax, imm64; jmp rax`, with the immediate still zero.
const JUMP: [u8; 12] = [0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xe0];

#[used]
// SAFETY: the dynamic loader calls every pointer in this section once, with arguments that a function may ignore.
#[unsafe(link_section = ".init_array")]
static INSTALL: extern "C" fn() = install;

/// Runs when the shared object is loaded, before the emulator's `main`.
extern "C" fn install() {
    if let Err(reason) = replace() {
        eprintln!("idiv-cure: {reason}");
        // SAFETY: ends the process at once, whatever state it is in.
        unsafe { libc::_exit(1) }
    }
}

/// Writes the jump over the emulator's function.
fn replace() -> Result<(), String> {
    // SAFETY: the name is a C string; looking up a symbol has no other condition.
    let function = unsafe { libc::dlsym(libc::RTLD_DEFAULT, SYMBOL.as_ptr()) };
    if function.is_null() {
        let name = SYMBOL.to_string_lossy();
        return Err(format!(
            "this program has no symbol {name}: it is not the emulator that this cures"
        ));
    }
    let target: unsafe extern "C" fn(*mut Bit128s, *mut i64, *const Bit128s, i64) = long_idiv;
    let mut jump = JUMP;
    jump[2..10].copy_from_slice(&(target as usize).to_ne_bytes());

    let page = (function as usize & !(PAGE - 1)) as *mut c_void;
    protect(page, libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC)?;
    // SAFETY: the function is code that was made writable just now, longer than the jump (it sets up
    // two 128-bit numbers), and the emulator has not started: nothing executes it.
    unsafe { function.cast::<[u8; 12]>().write(jump) };
    protect(page, libc::PROT_READ | libc::PROT_EXEC)
}

/// Sets the protection of the two pages from `page` on; the jump may cross into the second.
fn protect(page: *mut c_void, rights: i32) -> Result<(), String> {
    // SAFETY: the pages hold code of the emulator, which stays readable and executable.
    match unsafe { libc::mprotect(page, 2 * PAGE, rights) } {
        0 => Ok(()),
        _ => Err(format!(
            "cannot change the emulator's code: {}",
            std::io::Error::last_os_error()
        )),
    }
}

/// Divides for the emulator.
///
/// # Safety
/// `quotient` and `remainder` are valid for writes, `dividend` for reads.
unsafe extern "C" fn long_idiv(
    quotient: *mut Bit128s,
    remainder: *mut i64,
    dividend: *const Bit128s,
    divisor: i64,
) {
    // SAFETY: the caller's promise.
    let (wide, rest) = divide(unsafe { dividend.read() }, divisor);
    // SAFETY: the caller's promise.
    unsafe {
        quotient.write(wide);
        remainder.write(rest);
    }
}
