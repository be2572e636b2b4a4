//! Why a binary form is rejected.

use core::fmt;

use crate::CheckError;

/// Why a binary form is rejected. Offsets are bytes from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// Too short for a header.
    NoHeader {
        /// Bytes there are.
        len: usize,
    },
    /// Not a configuration.
    Signature,
    /// Made for another version.
    Revision {
        /// Revision of the file.
        found: u32,
    },
    /// Not as long as it says.
    Length {
        /// Length that the header states.
        stated: u32,
        /// Bytes there are.
        actual: usize,
    },
    /// Damaged.
    Checksum {
        /// CRC-32 that the header states.
        stated: u32,
        /// CRC-32 of the bytes there are.
        computed: u32,
    },
    /// Ends inside a record.
    Truncated {
        /// Where the record's next field would be.
        offset: usize,
    },
    /// Goes on behind the last record.
    TrailingBytes {
        /// Where the last record ends.
        offset: usize,
    },
    /// A list is too long.
    Count {
        /// What the list holds.
        what: &'static str,
        /// Where the count stands.
        offset: usize,
        /// The count.
        found: u16,
        /// The limit.
        limit: usize,
    },
    /// A number that means nothing.
    Value {
        /// Name of the field.
        what: &'static str,
        /// Where it stands.
        offset: usize,
        /// Its value.
        found: u32,
    },
    /// A text that is not UTF-8, or not NUL-padded.
    Text {
        /// Name of the field.
        what: &'static str,
        /// Where it stands.
        offset: usize,
    },
    /// Reserved bytes that are not zero.
    Reserved {
        /// Where they stand.
        offset: usize,
    },
    /// Well-formed, but it breaks a rule.
    Check(CheckError),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHeader { len } => write!(
                f,
                "not a configuration: {len} bytes are too few for a header"
            ),
            Self::Signature => f.write_str("not a configuration: wrong signature"),
            Self::Revision { found } => {
                write!(
                    f,
                    "configuration has revision {found}, not {}: build it again",
                    super::REVISION
                )
            }
            Self::Length { stated, actual } => {
                write!(f, "configuration has {actual} bytes but states {stated}")
            }
            Self::Checksum { stated, computed } => {
                write!(
                    f,
                    "configuration is damaged: CRC-32 is {computed:#010x} but states {stated:#010x}"
                )
            }
            Self::Truncated { offset } => {
                write!(f, "configuration ends inside the record at byte {offset}")
            }
            Self::TrailingBytes { offset } => {
                write!(
                    f,
                    "configuration goes on behind its last record, which ends at byte {offset}"
                )
            }
            Self::Count {
                what,
                offset,
                found,
                limit,
            } => {
                write!(
                    f,
                    "configuration has {found} {what} at byte {offset}, at most {limit} are possible"
                )
            }
            Self::Value {
                what,
                offset,
                found,
            } => {
                write!(
                    f,
                    "configuration has an unknown {what} {found:#x} at byte {offset}"
                )
            }
            Self::Text { what, offset } => {
                write!(
                    f,
                    "configuration has a malformed {what} at byte {offset}: not NUL-padded UTF-8"
                )
            }
            Self::Reserved { offset } => {
                write!(
                    f,
                    "configuration has reserved bytes that are not zero at byte {offset}"
                )
            }
            Self::Check(error) => error.fmt(f),
        }
    }
}

impl From<CheckError> for DecodeError {
    fn from(error: CheckError) -> Self {
        Self::Check(error)
    }
}

impl core::error::Error for DecodeError {}
