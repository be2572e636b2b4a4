// SPDX-License-Identifier: MIT OR Apache-2.0
//! Wanted exceptions: a function is called, and what it raised comes back as a value.

use core::arch::naked_asm;
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};

use super::trap::Frame;

/// RSP to which an exception returns while one is wanted, else 0.
static WANTED_BY: AtomicU64 = AtomicU64::new(0);
/// Bit of the result that tells an exception from none.
const RAISED: u64 = 1 << 63;

/// What a probe raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Raised {
    /// Nothing.
    Nothing,
    /// An exception.
    Exception {
        /// Vector.
        vector: u8,
        /// Error code.
        error_code: u32,
    },
}

/// #UD.
pub const UNDEFINED: Raised = Raised::Exception {
    vector: 6,
    error_code: 0,
};
/// #GP(0).
pub const GENERAL_PROTECTION: Raised = Raised::Exception {
    vector: 13,
    error_code: 0,
};

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing"),
            Self::Exception { vector, error_code } => write!(f, "{vector}({error_code})"),
        }
    }
}

/// A function whose exception is wanted. At the end of an exception nothing of it is left: it owns nothing.
pub type Probe = extern "C" fn(u64);

/// Calls `probe` and returns what it raised.
pub fn raised_by(probe: extern "C" fn()) -> Raised {
    // SAFETY: the function takes no argument, and one that it is given does no harm.
    outcome(unsafe { call(probe as *const (), 0) })
}

/// Calls `probe` with an argument and returns what it raised.
pub fn raised_with(probe: Probe, argument: u64) -> Raised {
    // SAFETY: keeps the calling convention whether `probe` returns or not.
    outcome(unsafe { call(probe as *const (), argument) })
}

fn outcome(result: u64) -> Raised {
    if result & RAISED == 0 {
        return Raised::Nothing;
    }
    Raised::Exception {
        vector: (result & 0xff) as u8,
        error_code: (result >> 8 & 0xffff_ffff) as u32,
    }
}

/// Sends an exception to where it is wanted; returns whether it is.
pub fn catch(frame: &mut Frame) -> bool {
    let rsp = WANTED_BY.swap(0, Ordering::SeqCst);
    if rsp == 0 {
        return false;
    }
    frame.rax = RAISED | (frame.error_code & 0xffff_ffff) << 8 | frame.vector;
    frame.rsp = rsp;
    frame.rip = (give_back as *const ()).addr() as u64;
    true
}

#[unsafe(naked)]
unsafe extern "C" fn call(probe: *const (), argument: u64) -> u64 {
    naked_asm!(
        "push rbx",
        "push rbp",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "sub rsp, 8",
        "mov [rip + {wanted_by}], rsp",
        "mov rax, rdi",
        "mov rdi, rsi",
        "call rax",
        "mov qword ptr [rip + {wanted_by}], 0",
        "xor eax, eax",
        "jmp {give_back}",
        wanted_by = sym WANTED_BY,
        give_back = sym give_back,
    )
}

/// Ends [`call`] with the result in RAX.
#[unsafe(naked)]
unsafe extern "C" fn give_back() {
    naked_asm!(
        "add rsp, 8",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbp",
        "pop rbx",
        "ret",
    )
}
