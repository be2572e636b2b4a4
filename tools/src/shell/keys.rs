// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the user's keys mean.

/// ^A, before a command to the lab.
const ESCAPE: u8 = 0x01;
/// ^D, the end of what is typed.
pub const END_OF_FILE: u8 = 0x04;
/// What the return key sends.
pub const RETURN: u8 = b'\r';

/// A key for somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// For NimbOS.
    Byte(u8),
    /// ^A x: the session is over.
    Quit,
}

/// Tells keys for NimbOS and keys for the lab apart.
#[derive(Debug)]
pub struct Keys {
    is_terminal: bool,
    is_escaped: bool,
}

impl Keys {
    /// For a terminal, or for a file, which has line feeds and no commands to the lab.
    pub fn new(is_terminal: bool) -> Self {
        Self {
            is_terminal,
            is_escaped: false,
        }
    }

    /// Takes a byte; returns the key, if it is one.
    pub fn press(&mut self, byte: u8) -> Option<Key> {
        if !self.is_terminal {
            return Some(Key::Byte(if byte == b'\n' { RETURN } else { byte }));
        }
        match (std::mem::take(&mut self.is_escaped), byte) {
            (false, ESCAPE) => {
                self.is_escaped = true;
                None
            }
            (true, b'x' | b'X') => Some(Key::Quit),
            // Once more for NimbOS; anything else was a mistake.
            (true, ESCAPE) | (false, _) => Some(Key::Byte(byte)),
            (true, _) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(is_terminal: bool, bytes: &[u8]) -> Vec<Key> {
        let mut keys = Keys::new(is_terminal);
        bytes.iter().filter_map(|&byte| keys.press(byte)).collect()
    }

    #[test]
    fn control_a_begins_a_command_to_the_lab() {
        let typed = keys(true, b"a\x01x");
        assert_eq!(typed, [Key::Byte(b'a'), Key::Quit]);
        assert_eq!(keys(true, b"\x01\x01x"), [Key::Byte(1), Key::Byte(b'x')]);
        assert_eq!(keys(true, b"\x01qx\r"), [Key::Byte(b'x'), Key::Byte(b'\r')]);
    }

    #[test]
    fn a_file_has_no_commands_and_ends_its_lines_with_line_feeds() {
        let typed = keys(false, b"\x01x\n");
        assert_eq!(typed, [Key::Byte(1), Key::Byte(b'x'), Key::Byte(b'\r')]);
    }
}
