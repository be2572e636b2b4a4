// SPDX-License-Identifier: MIT OR Apache-2.0
//! Exceptions that the operations of the model raise.

use super::memory::PageFault;

/// Exception that an operation raised. The operation had no effect on the processor, unless it says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fault {
    /// Number of the exception.
    pub vector: u8,
    /// Error code, if this exception has one.
    pub error_code: Option<u32>,
    /// Linear address that CR2 receives: page faults only.
    pub cr2: Option<u64>,
}

/// Error-code bit of an exception met while the processor delivers an event from outside the program.
/// (SDM 3A, "Error Code")
pub const EXT: u32 = 1;

impl Fault {
    /// Invalid opcode.
    pub const UD: Self = Self {
        vector: 6,
        error_code: None,
        cr2: None,
    };
    /// Stack fault with error code 0.
    pub const SS: Self = Self::with_code(12, 0);
    /// General protection with error code 0.
    pub const GP: Self = Self::with_code(13, 0);
    /// General protection while an event was delivered (EXT).
    pub const GP_EXT: Self = Self::with_code(13, EXT);
    /// Alignment check.
    pub const AC: Self = Self::with_code(17, 0);

    const fn with_code(vector: u8, error_code: u32) -> Self {
        Self {
            vector,
            error_code: Some(error_code),
            cr2: None,
        }
    }
}

impl From<PageFault> for Fault {
    fn from(fault: PageFault) -> Self {
        Self {
            vector: 14,
            error_code: Some(fault.error_code),
            cr2: Some(fault.address),
        }
    }
}
