// SPDX-License-Identifier: MIT OR Apache-2.0
//! The beginning and the end of a program.
#![expect(
    unsafe_code,
    reason = "reads the arguments that the kernel put on the stack"
)]

use core::ffi::CStr;
use core::num::ParseIntError;
use core::panic::PanicInfo;

use crate::{eprint, system};

/// Status of a program that panicked; the standard library's number.
pub const PANICKED: i32 = 101;

/// Makes `main`, a `fn(Arguments) -> i32`, the program's main function; its result is the exit status.
///
/// The program's two fixed points are defined in the binary, because a library with them could not be tested on the
/// host.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        /// Where the kernel enters, with the stack of `nimbos::stack`.
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        unsafe extern "C" fn _start() -> ! {
            core::arch::naked_asm!(
                "mov rdi, rsp",
                "xor ebp, ebp",
                "call {begin}",
                "ud2",
                begin = sym begin,
            )
        }

        extern "C" fn begin(stack: *const usize) -> ! {
            // SAFETY: `_start` passes the stack pointer that the kernel set.
            let arguments = unsafe { $crate::start::Arguments::from_stack(stack) };
            $crate::system::exit($main(arguments))
        }

        #[panic_handler]
        fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
            $crate::start::panicked(info)
        }
    };
}

/// The program's arguments; the first is its name.
#[derive(Clone, Copy, Debug)]
pub struct Arguments {
    strings: &'static [*const u8],
}

impl Arguments {
    /// Takes the arguments from the stack on which the program started.
    ///
    /// # Safety
    /// `stack` points to the number of arguments, followed by so many addresses of strings that end with NUL, and none
    /// of it changes.
    pub unsafe fn from_stack(stack: *const usize) -> Self {
        // SAFETY: the caller vouches for the layout.
        let strings = unsafe { core::slice::from_raw_parts(stack.add(1).cast(), *stack) };
        Self { strings }
    }

    /// Returns the number of arguments.
    pub fn count(&self) -> usize {
        self.strings.len()
    }

    /// Returns an argument, if there is one and it is UTF-8.
    pub fn get(&self, number: usize) -> Option<&'static str> {
        self.c_str(number)?.to_str().ok()
    }

    /// Returns an argument as the kernel takes it, if there is one.
    pub fn c_str(&self, number: usize) -> Option<&'static CStr> {
        let string = *self.strings.get(number)?;
        // By hand: what `core` offers for this calls C's strlen.
        // SAFETY: `from_stack`'s caller vouched for the string, which ends with NUL; the loop does not go beyond.
        let bytes = unsafe {
            let mut len = 0;
            while *string.add(len) != 0 {
                len += 1;
            }
            core::slice::from_raw_parts(string, len + 1)
        };
        CStr::from_bytes_with_nul(bytes).ok()
    }

    /// Returns the text behind `key` in the first argument that begins with it, such as `count=`.
    pub fn value(&self, key: &str) -> Option<&'static str> {
        (1..self.count()).find_map(|number| self.get(number)?.strip_prefix(key))
    }

    /// Returns the number behind `key`, or `default` if no argument begins with it; what is no number is an error.
    pub fn number(&self, key: &str, default: u64) -> Result<u64, ParseIntError> {
        self.value(key).map_or(Ok(default), str::parse)
    }
}

/// Says what went wrong, and ends the program.
pub fn panicked(info: &PanicInfo<'_>) -> ! {
    eprint!("panic: {info}\n");
    system::exit(PANICKED)
}
