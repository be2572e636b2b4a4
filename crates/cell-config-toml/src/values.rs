//! Values that TOML has no type for: sizes, words of a fixed set, texts and lists with a limit.

use core::fmt;
use core::marker::PhantomData;
use std::format;
use std::string::String;

use arrayvec::{ArrayString, ArrayVec};
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

use cell_config::{ApicMode, CellKind, Devices, Doorbell, EndAction, ForeignPorts, LogLevel};

/// A number of bytes or an address: an integer, or a string with a binary unit.
#[derive(Clone, Copy)]
pub(super) struct Bytes(pub u64);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(BytesVisitor)
    }
}

struct BytesVisitor;

impl Visitor<'_> for BytesVisitor {
    type Value = Bytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of bytes: an integer, or a string with unit K, M, G or T as \"8M\"")
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Bytes, E> {
        let value = u64::try_from(value).map_err(|_| E::custom(format!("{value} is negative")))?;
        self.visit_u64(value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Bytes, E> {
        Ok(Bytes(value))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Bytes, E> {
        parse_bytes(text).map(Bytes).map_err(E::custom)
    }
}

/// Reads decimal digits and a unit.
fn parse_bytes(text: &str) -> Result<u64, String> {
    let malformed =
        || format!("{text:?} is no size: write digits and a unit K, M, G or T, as \"8M\"");
    let shift = match text.chars().next_back() {
        Some('K') => 10,
        Some('M') => 20,
        Some('G') => 30,
        Some('T') => 40,
        _ => return Err(malformed()),
    };
    let digits = &text[..text.len() - 1];
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(malformed());
    }
    digits
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(1 << shift))
        .ok_or_else(|| format!("{text:?} is more than 64 bits hold"))
}

/// A word of a fixed set.
#[derive(Clone, Copy)]
pub(super) struct Word<T>(pub T);

/// What [`Word`] can stand for.
pub(super) trait Words: Copy + 'static {
    /// Every value.
    const VALUES: &[Self];
    /// Returns the word for the value.
    fn word(self) -> &'static str;
}

macro_rules! words {
    ($($name:ident),*) => {
        $(impl Words for $name {
            const VALUES: &[Self] = Self::ALL;
            fn word(self) -> &'static str {
                self.text()
            }
        })*
    };
}

words!(
    ApicMode,
    CellKind,
    Devices,
    Doorbell,
    EndAction,
    ForeignPorts,
    LogLevel
);

impl<'de, T: Words> Deserialize<'de> for Word<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let found = String::deserialize(from)?;
        if let Some(&value) = T::VALUES.iter().find(|value| value.word() == found) {
            return Ok(Self(value));
        }
        let mut words = String::new();
        for value in T::VALUES {
            let comma = if words.is_empty() { "" } else { ", " };
            words.push_str(&format!("{comma}{:?}", value.word()));
        }
        Err(D::Error::custom(format!(
            "unknown word {found:?}, possible are {words}"
        )))
    }
}

/// A text of at most `N` bytes.
pub(super) struct Text<const N: usize>(pub ArrayString<N>);

impl<'de, const N: usize> Deserialize<'de> for Text<N> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        ArrayString::from(&text).map(Self).map_err(|_| {
            D::Error::custom(format!(
                "text of {} bytes, at most {N} are possible",
                text.len()
            ))
        })
    }
}

/// A user vector, 0 to 63.
pub(super) struct UserVector(pub u8);

impl<'de> Deserialize<'de> for UserVector {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let vector = u64::deserialize(from)?;
        match u8::try_from(vector) {
            Ok(vector @ 0..64) => Ok(Self(vector)),
            _ => Err(D::Error::custom(format!(
                "{vector} is no user vector: those are 0 to 63"
            ))),
        }
    }
}

/// A list of at most `N` items.
pub(super) struct List<T, const N: usize>(pub ArrayVec<T, N>);

impl<T, const N: usize> Default for List<T, N> {
    fn default() -> Self {
        Self(ArrayVec::new())
    }
}

impl<'de, T: Deserialize<'de>, const N: usize> Deserialize<'de> for List<T, N> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_seq(ListVisitor(PhantomData))
    }
}

struct ListVisitor<T, const N: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const N: usize> Visitor<'de> for ListVisitor<T, N> {
    type Value = List<T, N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {N} items")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Self::Value, A::Error> {
        let mut list = ArrayVec::new();
        while let Some(item) = from.next_element()? {
            list.try_push(item)
                .map_err(|_| A::Error::custom(format!("more than {N} items")))?;
        }
        Ok(List(list))
    }
}

/// Narrows an index of one of the lists, all of which are far shorter than 255.
pub(crate) fn small(index: usize) -> u8 {
    u8::try_from(index).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::parse_bytes;

    #[test]
    fn sizes_have_a_binary_unit() {
        assert_eq!(parse_bytes("640K"), Ok(640 << 10));
        assert_eq!(parse_bytes("8M"), Ok(8 << 20));
        assert_eq!(parse_bytes("0G"), Ok(0));
        assert_eq!(parse_bytes("16777215T"), Ok(16_777_215 << 40));
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in [
            "",
            "8",
            "M",
            "8m",
            "8 M",
            "-8M",
            "+8M",
            "8MB",
            "0x8M",
            "8Mé",
            "8.5M",
            "16777216T",
        ] {
            assert!(parse_bytes(text).is_err(), "{text:?}");
        }
    }
}
