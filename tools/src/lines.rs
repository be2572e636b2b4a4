// SPDX-License-Identifier: MIT OR Apache-2.0
//! Cutting a console's bytes into lines while they are still coming.

/// Collects bytes and hands out the lines that are complete.
#[derive(Debug, Default)]
pub struct LineSplitter {
    rest: Vec<u8>,
}

impl LineSplitter {
    /// Takes more bytes and returns the lines that they complete.
    ///
    /// A line ends with a line feed. Carriage returns before it, NULs and a terminal's control
    /// sequences are left out; bytes that are not UTF-8 are replaced.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        self.rest.extend_from_slice(bytes);
        let Some(end) = self.rest.iter().rposition(|&byte| byte == b'\n') else {
            return Vec::new();
        };
        let complete: Vec<u8> = self.rest.drain(..=end).collect();
        complete[..end]
            .split(|&byte| byte == b'\n')
            .map(text)
            .collect()
    }

    /// Returns what is left after the last line feed, if anything is.
    pub fn finish(&mut self) -> Option<String> {
        let rest = std::mem::take(&mut self.rest);
        (!rest.is_empty()).then(|| text(&rest))
    }
}

fn text(bytes: &[u8]) -> String {
    let line = String::from_utf8_lossy(bytes);
    let mut parts = line.trim_end_matches('\r').split("\x1b[");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        // What follows belongs to the terminal up to and with the first letter.
        let end = part.find(|c| ('@'..='~').contains(&c));
        text.push_str(end.map_or("", |end| &part[end + 1..]));
    }
    text.replace('\0', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_comes_out_only_when_it_is_whole() {
        let mut splitter = LineSplitter::default();
        assert!(splitter.push(b"hel").is_empty());
        assert_eq!(splitter.push(b"lo\r\nwor"), ["hello"]);
        assert_eq!(splitter.push(b"ld\n\nlast"), ["world", ""]);
        assert_eq!(splitter.finish().as_deref(), Some("last"));
        assert_eq!(splitter.finish(), None);
    }

    #[test]
    fn a_character_cut_in_two_is_put_together() {
        let mut splitter = LineSplitter::default();
        let bytes = "µs\n".as_bytes();
        assert!(splitter.push(&bytes[..1]).is_empty());
        assert_eq!(splitter.push(&bytes[1..]), ["µs"]);
    }

    #[test]
    fn garbage_is_replaced_and_nuls_are_dropped() {
        assert_eq!(LineSplitter::default().push(b"a\xff\0b\n"), ["a\u{fffd}b"]);
    }

    #[test]
    fn what_a_terminal_would_obey_is_left_out() {
        let bytes = b"\x1b[2J\x1b[01;01H\x1b[=3hBds\x1b[0mDxe [1]\r\n";
        assert_eq!(LineSplitter::default().push(bytes), ["BdsDxe [1]"]);
        assert_eq!(LineSplitter::default().push(b"cut \x1b[12\n"), ["cut "]);
    }
}
