// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tokens: which calls are under way, and who may touch whose buffer.

use crate::SLOTS;

/// The right to one call's buffer. It cannot be copied: handing it to the ring gives the right away.
///
/// A token that is dropped is lost with its buffer until the side starts anew.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a dropped token is lost until the side starts anew"]
pub struct Token(u32);

impl Token {
    /// Returns the token's number, below [`SLOTS`], which names the call from submission to release.
    #[inline]
    pub fn number(&self) -> u32 {
        self.0
    }
}

/// A set of tokens.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TokenSet(u32);

impl TokenSet {
    pub(crate) const EMPTY: Self = Self(0);
    pub(crate) const FULL: Self = Self(u32::MAX >> (u32::BITS as usize - SLOTS));

    /// Puts `token` in and gives up the right that it stands for.
    #[inline]
    pub(crate) fn insert(&mut self, token: Token) {
        self.0 |= 1 << token.0;
    }

    /// Takes out the lowest token.
    #[inline]
    pub(crate) fn take_any(&mut self) -> Option<Token> {
        let number = self.0.trailing_zeros();
        self.take(number)
    }

    /// Takes out the token with `number`, which may be any value at all.
    #[inline]
    pub(crate) fn take(&mut self, number: u32) -> Option<Token> {
        let bit = 1u32.checked_shl(number)?;
        if self.0 & bit == 0 {
            return None;
        }
        self.0 &= !bit;
        Some(Token(number))
    }

    #[inline]
    pub(crate) fn len(self) -> usize {
        self.0.count_ones() as usize
    }
}

const _: () = assert!(SLOTS <= u32::BITS as usize);
