// SPDX-License-Identifier: MIT OR Apache-2.0
//! The deviations of Bochs that a step may meet, as changes of the model: a mismatch is explained if the model with
//! them does exactly what the machine did, and not otherwise.

/// A set of deviations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quirks(u8);

/// A deviation that the model can be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quirk {
    /// The first error code after a notification has EXT set.
    ExtAfterNotification,
    /// A UPID is read before it is accessed for writing.
    UpidReadFirst,
    /// A vector below 16 is an error of the receiver, not of the sender.
    IllegalVectorReceived,
    /// An interrupt that nobody accepts is an error of the sender (ESR bit 2), as in the P6 family and before.
    SendNotAccepted,
}

impl Quirk {
    /// All, in the order of their ids.
    pub const ALL: [Self; 4] = [
        Self::ExtAfterNotification,
        Self::UpidReadFirst,
        Self::IllegalVectorReceived,
        Self::SendNotAccepted,
    ];

    /// Returns the deviation's id.
    pub fn id(self) -> &'static str {
        match self {
            Self::ExtAfterNotification => "B-1",
            Self::UpidReadFirst => "B-11",
            Self::IllegalVectorReceived => "B-16",
            Self::SendNotAccepted => "B-21",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl Quirks {
    /// The manual.
    pub const NONE: Self = Self(0);

    /// Returns all sets but the empty one.
    pub fn combinations() -> impl Iterator<Item = Self> {
        (1..1 << Quirk::ALL.len()).map(Self)
    }

    /// Tells whether `quirk` is in the set.
    pub fn has(self, quirk: Quirk) -> bool {
        self.0 & quirk.bit() != 0
    }

    /// Returns the set of `quirk` alone.
    #[cfg(test)]
    pub fn only(quirk: Quirk) -> Self {
        Self(quirk.bit())
    }

    /// Returns how many there are.
    pub fn count(self) -> u32 {
        self.0.count_ones()
    }

    /// Returns the first one.
    pub fn first(self) -> Option<Quirk> {
        Quirk::ALL.into_iter().find(|&quirk| self.has(quirk))
    }
}
