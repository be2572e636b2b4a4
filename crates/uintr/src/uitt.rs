// SPDX-License-Identifier: MIT OR Apache-2.0
//! Entries of the user-interrupt target table (UITT).

use core::fmt;

use crate::USER_VECTORS;

/// UITT entry: one target that SENDUIPI can name by its index. (SDM 3A, "User-Interrupt Target Table")
#[repr(C, align(16))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UittEntry {
    /// Valid (bit 0), user vector (bits 15:8), rest reserved.
    low: u64,
    /// Linear address of the UPID.
    upid: u64,
}

/// Why an entry would make SENDUIPI fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UittEntryError {
    /// The UPID's address is not aligned to 64 bytes.
    UpidMisaligned {
        /// The address.
        address: u64,
    },
    /// User vectors go from 0 to 63.
    UserVector {
        /// The vector.
        vector: u8,
    },
}

impl UittEntry {
    /// The entry that SENDUIPI refuses with #GP(0).
    pub const INVALID: Self = Self { low: 0, upid: 0 };

    const VALID: u64 = 1;

    /// Returns a valid entry that posts `user_vector` into the UPID at the linear address `upid_address` (of the
    /// sender's address space, mapped for the supervisor).
    pub const fn new(upid_address: u64, user_vector: u8) -> Result<Self, UittEntryError> {
        if upid_address & 0x3f != 0 {
            return Err(UittEntryError::UpidMisaligned {
                address: upid_address,
            });
        }
        if user_vector >= USER_VECTORS {
            return Err(UittEntryError::UserVector {
                vector: user_vector,
            });
        }
        Ok(Self {
            low: (user_vector as u64) << 8 | Self::VALID,
            upid: upid_address,
        })
    }

    /// Tells whether SENDUIPI accepts the entry.
    pub const fn is_valid(&self) -> bool {
        self.low & Self::VALID != 0
    }

    /// Returns the user vector that is posted.
    pub const fn user_vector(&self) -> u8 {
        (self.low >> 8) as u8
    }

    /// Returns the linear address of the UPID.
    pub const fn upid_address(&self) -> u64 {
        self.upid
    }
}

impl fmt::Display for UittEntryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UpidMisaligned { address } => {
                write!(f, "UPID address {address:#x} is not aligned to 64 bytes")
            }
            Self::UserVector { vector } => write!(f, "user vector {vector} is above 63"),
        }
    }
}

impl core::error::Error for UittEntryError {}

const _: () = assert!(size_of::<UittEntry>() == 16);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_has_the_bits_of_the_manual() {
        let entry = UittEntry::new(0xffff_8000_1234_5640, 63).unwrap();
        assert_eq!(entry.low, 0x3f01);
        assert_eq!(entry.upid, 0xffff_8000_1234_5640);
        assert!(entry.is_valid());
        assert_eq!(entry.user_vector(), 63);
        assert_eq!(entry.upid_address(), 0xffff_8000_1234_5640);
    }

    #[test]
    fn entries_that_would_fault_are_refused() {
        assert_eq!(
            UittEntry::new(0x20, 0),
            Err(UittEntryError::UpidMisaligned { address: 0x20 })
        );
        assert_eq!(
            UittEntry::new(0x40, 64),
            Err(UittEntryError::UserVector { vector: 64 })
        );
        assert!(!UittEntry::INVALID.is_valid());
    }
}
