// SPDX-License-Identifier: MIT OR Apache-2.0
//! A backtrace in lines.

use core::fmt;

use crate::symbols::Symbols;
use crate::walk::{End, Frame, Memory, Start, Walk};

/// An address with the function that it belongs to: `0x30001234 name+0x34`, or the address alone.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    frame: Frame,
    symbols: Symbols<'a>,
}

impl<'a> Place<'a> {
    /// Looks the function of `frame` up in `symbols` when it is printed.
    pub fn new(frame: Frame, symbols: Symbols<'a>) -> Self {
        Self { frame, symbols }
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Frame { address, is_return } = self.frame;
        write!(f, "{address:#x}")?;
        // A call that never returns may be its function's last instruction: the return address is another's.
        let inside = address.saturating_sub(is_return.into());
        match self.symbols.find(inside) {
            Some(symbol) => write!(f, " {}+{:#x}", symbol.name, address - symbol.address),
            None => Ok(()),
        }
    }
}

/// Prints a backtrace, innermost function first: `line` gets a line for each function, `#0 0x30001234 name+0x34`, and one
/// more if the chain ends before the outermost function.
pub fn print(
    start: Start,
    memory: &impl Memory,
    symbols: Symbols<'_>,
    mut line: impl FnMut(fmt::Arguments<'_>),
) {
    let mut walk = Walk::new(start, memory);
    for (number, frame) in walk.by_ref().enumerate() {
        // Labels of data have no size either, and would be the names of all that follows.
        let symbols = if memory.is_code(frame.address) {
            symbols
        } else {
            Symbols::NONE
        };
        line(format_args!("#{number} {}", Place::new(frame, symbols)));
    }
    let end = walk.end();
    if end != End::Outermost {
        line(format_args!("({end})"));
    }
}
