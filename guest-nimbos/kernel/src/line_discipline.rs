// SPDX-License-Identifier: MIT OR Apache-2.0
//! What becomes of keys that are typed on the console: a line is edited until it ends, then programs read it. (As the
//! canonical mode of Linux's terminals: termios(3))
//!
//! | key | what it does |
//! | --- | --- |
//! | return, ^J | ends the line |
//! | backspace, ^H | takes the last character away |
//! | ^U | takes the line away |
//! | ^C | takes away all that was not read, and interrupts |
//! | ^D | ends a line that is not empty, without a line feed; else whoever reads sees the end of the file |
//!
//! What it takes it echoes. Who types faster than programs read is kept waiting: [`LineDiscipline::has_room`].

/// Longest line that is being edited, in bytes.
pub const MAX_LINE: usize = 1024;
/// Bytes of finished lines that nobody has read yet: one longest line at least.
const MAX_READY: usize = 2048;

/// ^D, and the end of a file in the buffer; no line holds it.
const END_OF_FILE: u8 = 0x04;
const INTERRUPT: u8 = 0x03;
const BELL: &[u8] = b"\x07";
const BACKSPACE: u8 = 0x08;
const ERASE_LINE: u8 = 0x15;
const ESCAPE: u8 = 0x1b;
const DELETE: u8 = 0x7f;
/// What takes a character off the screen.
const ERASURE: &[u8] = b"\x08 \x08";

/// The console's input.
#[derive(Debug)]
pub struct LineDiscipline {
    line: [u8; MAX_LINE],
    line_len: usize,
    ready: [u8; MAX_READY],
    /// Where the first byte of `ready` is.
    first: usize,
    ready_len: usize,
    sequence: Sequence,
}

/// How far a key is that sends several bytes, such as an arrow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sequence {
    None,
    /// An escape has come.
    Begun,
    /// A bracket behind it: it ends with a letter or a tilde.
    Open,
}

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    None,
    /// There is something to read.
    Wake,
    /// Whatever runs is to end.
    Interrupt,
}

impl LineDiscipline {
    /// Returns one to which nothing has been typed.
    pub const fn new() -> Self {
        Self {
            line: [0; MAX_LINE],
            line_len: 0,
            ready: [0; MAX_READY],
            first: 0,
            ready_len: 0,
            sequence: Sequence::None,
        }
    }

    /// Tells whether another key can be taken: there must be room for the line that it may end.
    pub fn has_room(&self) -> bool {
        self.line_len + 2 <= MAX_READY - self.ready_len
    }

    /// Takes a key, for which there is room. `echo` is called with what is to be shown, as often as there is something.
    pub fn press(&mut self, key: u8, mut echo: impl FnMut(&[u8])) -> Action {
        if self.is_in_sequence(key) {
            return Action::None;
        }
        match key {
            b'\r' | b'\n' => {
                echo(b"\n");
                self.finish_line(Some(b'\n'));
                return Action::Wake;
            }
            END_OF_FILE => {
                let mark = (self.line_len == 0).then_some(END_OF_FILE);
                self.finish_line(mark);
                return Action::Wake;
            }
            INTERRUPT => {
                echo(b"^C\n");
                self.line_len = 0;
                self.ready_len = 0;
                return Action::Interrupt;
            }
            BACKSPACE | DELETE => self.erase_character(&mut echo),
            ERASE_LINE => {
                while self.line_len > 0 {
                    self.erase_character(&mut echo);
                }
            }
            b' '.. | b'\t' if self.line_len < MAX_LINE - 1 => {
                self.line[self.line_len] = key;
                self.line_len += 1;
                echo(&[key]);
            }
            b' '.. | b'\t' => echo(BELL),
            _ => {}
        }
        Action::None
    }

    /// Ends what is typed as the return key does, without an echo: whoever reads gets what there is.
    pub fn end_line(&mut self) {
        self.finish_line(Some(b'\n'));
    }

    /// Tells whether a program that reads gets something, if only the end of the file.
    pub fn is_readable(&self) -> bool {
        self.ready_len > 0
    }

    /// Takes the bytes of one line, as many as fit; returns how many. None are the end of the file, if there was something
    /// to read.
    pub fn read(&mut self, into: &mut [u8]) -> usize {
        let mut count = 0;
        while count < into.len() && self.ready_len > 0 {
            let byte = self.ready[self.first];
            // The end of a file comes by itself.
            if byte == END_OF_FILE && count > 0 {
                break;
            }
            self.first = (self.first + 1) % MAX_READY;
            self.ready_len -= 1;
            if byte == END_OF_FILE {
                break;
            }
            into[count] = byte;
            count += 1;
            if byte == b'\n' {
                break;
            }
        }
        count
    }

    fn finish_line(&mut self, end: Option<u8>) {
        for place in 0..self.line_len {
            self.push_ready(self.line[place]);
        }
        self.line_len = 0;
        if let Some(end) = end {
            self.push_ready(end);
        }
    }

    fn push_ready(&mut self, byte: u8) {
        if self.ready_len < MAX_READY {
            self.ready[(self.first + self.ready_len) % MAX_READY] = byte;
            self.ready_len += 1;
        }
    }

    /// Takes the last character away, all bytes of it. (UTF-8)
    fn erase_character(&mut self, echo: &mut impl FnMut(&[u8])) {
        let is_continuation = |byte: u8| byte & 0xc0 == 0x80;
        if self.line_len == 0 {
            return;
        }
        while self.line_len > 1 && is_continuation(self.line[self.line_len - 1]) {
            self.line_len -= 1;
        }
        self.line_len -= 1;
        echo(ERASURE);
    }

    /// Tells whether a byte belongs to a key that sends several, none of which means anything here.
    fn is_in_sequence(&mut self, byte: u8) -> bool {
        let next = match (self.sequence, byte) {
            (Sequence::None, ESCAPE) => Sequence::Begun,
            (Sequence::None, _) => return false,
            (Sequence::Begun, b'[' | b'O') => Sequence::Open,
            (Sequence::Open, 0x20..=0x3f) => Sequence::Open,
            (Sequence::Begun | Sequence::Open, INTERRUPT) => {
                self.sequence = Sequence::None;
                return false;
            }
            (Sequence::Begun | Sequence::Open, _) => Sequence::None,
        };
        self.sequence = next;
        true
    }
}

impl Default for LineDiscipline {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    extern crate std;
    use std::string::String;
    use std::vec::Vec;

    /// Types keys; returns the echo and the last action.
    fn press(input: &mut LineDiscipline, keys: &[u8]) -> (String, Action) {
        let mut echoed = Vec::new();
        let mut action = Action::None;
        for &key in keys {
            assert!(input.has_room());
            action = input.press(key, |bytes| echoed.extend_from_slice(bytes));
        }
        (String::from_utf8(echoed).unwrap(), action)
    }

    fn read(input: &mut LineDiscipline) -> String {
        let mut bytes = [0; 4096];
        let count = input.read(&mut bytes);
        String::from_utf8(bytes[..count].to_vec()).unwrap()
    }

    #[test]
    fn a_line_can_be_read_when_it_has_ended() {
        let mut input = LineDiscipline::new();
        assert_eq!(press(&mut input, b"ls"), ("ls".into(), Action::None));
        assert!(!input.is_readable());
        assert_eq!(press(&mut input, b"\r"), ("\n".into(), Action::Wake));
        press(&mut input, b"ps\n");
        // One line at a time, however much is asked for.
        assert_eq!(read(&mut input), "ls\n");
        assert!(input.is_readable());
        assert_eq!(read(&mut input), "ps\n");
        assert!(!input.is_readable());
    }

    #[test]
    fn a_line_can_be_read_in_pieces() {
        let mut input = LineDiscipline::new();
        press(&mut input, b"abc\r");
        let mut bytes = [0; 2];
        assert_eq!((input.read(&mut bytes), &bytes), (2, b"ab"));
        assert_eq!((input.read(&mut bytes), &bytes), (2, b"c\n"));
        assert!(!input.is_readable());
    }

    #[test]
    fn characters_and_lines_are_taken_away() {
        let mut input = LineDiscipline::new();
        let (echo, _) = press(&mut input, b"\x7flx\x7fs\x08\x08\x08a\r");
        assert_eq!(echo, "lx\x08 \x08s\x08 \x08\x08 \x08a\n");
        assert_eq!(read(&mut input), "a\n");
        let (echo, _) = press(&mut input, "\u{e9}\u{20ac}\x7f\r".as_bytes());
        assert_eq!(echo, "\u{e9}\u{20ac}\x08 \x08\n");
        assert_eq!(read(&mut input), "\u{e9}\n");
        let (echo, _) = press(&mut input, b"ab\x15\r");
        assert_eq!(echo, "ab\x08 \x08\x08 \x08\n");
        assert_eq!(read(&mut input), "\n");
    }

    #[test]
    fn control_d_ends_a_line_or_the_file() {
        let mut input = LineDiscipline::new();
        assert_eq!(press(&mut input, b"ab\x04"), ("ab".into(), Action::Wake));
        assert_eq!(read(&mut input), "ab");
        assert!(!input.is_readable());
        press(&mut input, b"c\r\x04d\r");
        assert_eq!(read(&mut input), "c\n");
        assert!(input.is_readable());
        assert_eq!(read(&mut input), "");
        assert_eq!(read(&mut input), "d\n");
        // The end of a file does not hide behind a line without a line feed.
        press(&mut input, b"e\x04\x04");
        assert_eq!(read(&mut input), "e");
        assert!(input.is_readable());
        assert_eq!(read(&mut input), "");
        assert!(!input.is_readable());
    }

    #[test]
    fn control_c_takes_everything_away() {
        let mut input = LineDiscipline::new();
        press(&mut input, b"ls\rps");
        assert_eq!(
            press(&mut input, b"\x03"),
            ("^C\n".into(), Action::Interrupt)
        );
        assert!(!input.is_readable());
        input.end_line();
        assert_eq!(read(&mut input), "\n");
    }

    #[test]
    fn keys_that_mean_nothing_are_not_shown() {
        let mut input = LineDiscipline::new();
        let (echo, _) = press(&mut input, b"a\x1b[A\x1b[1;5C\x1bOP\x01\x00\x1bxb\t\r");
        assert_eq!(echo, "ab\t\n");
        assert_eq!(read(&mut input), "ab\t\n");
        // ^C counts wherever it comes.
        let (echo, action) = press(&mut input, b"\x1b[\x03");
        assert_eq!((echo.as_str(), action), ("^C\n", Action::Interrupt));
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_off() {
        let mut input = LineDiscipline::new();
        let keys = [b'a'; MAX_LINE];
        let (echo, _) = press(&mut input, &keys);
        assert_eq!(echo.len(), MAX_LINE);
        assert!(echo.ends_with("a\x07"));
        press(&mut input, b"\r");
        assert_eq!(read(&mut input).len(), MAX_LINE);
    }

    #[test]
    fn nothing_is_lost_however_much_is_typed() {
        let mut input = LineDiscipline::new();
        let mut typed = Vec::new();
        let mut found = Vec::new();
        let mut seed = 7_u32;
        for _ in 0..200_000 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if input.has_room() {
                let key = match seed >> 24 {
                    0..10 => b'\n',
                    _ => b'a' + (seed >> 16) as u8 % 26,
                };
                // A line is never as long as to be cut off here.
                let key = if input.line_len == MAX_LINE - 1 {
                    b'\n'
                } else {
                    key
                };
                input.press(key, |_| ());
                typed.push(key);
            }
            if seed.is_multiple_of(97) {
                found.extend_from_slice(read(&mut input).as_bytes());
            }
        }
        input.press(b'\n', |_| ());
        typed.push(b'\n');
        while input.is_readable() {
            found.extend_from_slice(read(&mut input).as_bytes());
        }
        assert_eq!(found, typed);
    }
}
