// SPDX-License-Identifier: MIT OR Apache-2.0
//! The archive of programs: cpio in its "newc" form, as Linux's initrd.
//!
//! An entry is a header of 6 + 13 * 8 characters (magic and hexadecimal fields), the name with its NUL, and the file,
//! each padded to a multiple of 4 bytes; the entry `TRAILER!!!` ends the archive. (Linux,
//! "initramfs buffer format")

const HEADER_LEN: usize = 110;
const MAGICS: [&[u8]; 2] = [b"070701", b"070702"];
const MODE_FIELD: usize = 1;
const FILE_SIZE_FIELD: usize = 6;
const NAME_SIZE_FIELD: usize = 11;
const FILE_TYPE: u32 = 0o170_000;
const REGULAR_FILE: u32 = 0o100_000;

/// Why the archive cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchiveError {
    /// An entry does not begin with a header.
    BadHeader {
        /// Its offset in the archive.
        offset: usize,
    },
    /// An entry reaches beyond the archive's end, or the trailer is missing.
    Truncated {
        /// Offset of the entry.
        offset: usize,
    },
    /// No regular file has the name.
    NotFound,
}

/// Returns the regular file `name`; a leading `/` or `./` of the archive's names does not count.
pub fn find<'a>(archive: &'a [u8], name: &str) -> Result<&'a [u8], ArchiveError> {
    let mut offset = 0;
    loop {
        let entry = Entry::read(archive, offset)?;
        if entry.name == b"TRAILER!!!" {
            return Err(ArchiveError::NotFound);
        }
        if entry.is_regular && without_prefix(entry.name) == name.as_bytes() {
            return Ok(entry.data);
        }
        offset = entry.end;
    }
}

struct Entry<'a> {
    name: &'a [u8],
    data: &'a [u8],
    is_regular: bool,
    /// Offset of the next entry.
    end: usize,
}

impl<'a> Entry<'a> {
    fn read(archive: &'a [u8], offset: usize) -> Result<Self, ArchiveError> {
        let truncated = ArchiveError::Truncated { offset };
        let bad_header = ArchiveError::BadHeader { offset };
        let header = slice(archive, offset, HEADER_LEN).ok_or(truncated)?;
        if !MAGICS.contains(&&header[..6]) {
            return Err(bad_header);
        }
        let field = |number: usize| hexadecimal(&header[6 + 8 * number..][..8]).ok_or(bad_header);
        let (mode, name_len) = (field(MODE_FIELD)?, field(NAME_SIZE_FIELD)? as usize);
        let data_len = field(FILE_SIZE_FIELD)? as usize;
        let name = slice(archive, offset + HEADER_LEN, name_len).ok_or(truncated)?;
        let [name @ .., 0] = name else {
            return Err(bad_header);
        };
        let data_start = (offset + HEADER_LEN + name_len).next_multiple_of(4);
        let data = slice(archive, data_start, data_len).ok_or(truncated)?;
        Ok(Self {
            name,
            data,
            is_regular: mode & FILE_TYPE == REGULAR_FILE,
            end: (data_start + data_len).next_multiple_of(4),
        })
    }
}

fn slice(bytes: &[u8], offset: usize, len: usize) -> Option<&[u8]> {
    bytes.get(offset..)?.get(..len)
}

fn hexadecimal(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |value: u32, &digit| {
        let digit = char::from(digit).to_digit(16)?;
        Some(value << 4 | digit)
    })
}

fn without_prefix(name: &[u8]) -> &[u8] {
    let name = name.strip_prefix(b".").unwrap_or(name);
    name.strip_prefix(b"/").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::format;
    use std::vec::Vec;

    use super::*;

    fn entry(name: &str, mode: u32, data: &[u8]) -> Vec<u8> {
        let (data_len, name_len) = (data.len(), name.len() + 1);
        // Inode, mode; owner, group, links, time; size; four device numbers; name's size; checksum.
        let mut bytes = format!(
            "070701{:08x}{mode:08x}{:032}{data_len:08x}{:032}{name_len:08x}{:08}",
            1, 0, 0, 0
        )
        .into_bytes();
        assert_eq!(bytes.len(), HEADER_LEN);
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(0);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend_from_slice(data);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn archive() -> Vec<u8> {
        [
            entry(".", 0o040_755, b""),
            entry("./hello", 0o100_755, b"first"),
            entry("folder", 0o040_755, b""),
            entry("demo", 0o100_755, b"second file"),
            entry("TRAILER!!!", 0, b""),
        ]
        .concat()
    }

    #[test]
    fn files_are_found_by_name_with_and_without_prefix() {
        let archive = archive();
        assert_eq!(find(&archive, "hello"), Ok(&b"first"[..]));
        assert_eq!(find(&archive, "demo"), Ok(&b"second file"[..]));
    }

    #[test]
    fn folders_and_missing_names_are_not_found() {
        let archive = archive();
        for name in ["folder", "hell", "hello2", "", "TRAILER!!!"] {
            assert_eq!(find(&archive, name), Err(ArchiveError::NotFound), "{name}");
        }
    }

    #[test]
    fn every_truncation_is_an_error() {
        let archive = archive();
        for len in 0..archive.len() - 1 {
            let result = find(&archive[..len], "nothing");
            assert!(
                matches!(result, Err(ArchiveError::Truncated { .. })) || len >= archive.len() - 4,
                "{len}: {result:?}"
            );
        }
    }

    #[test]
    fn every_changed_byte_is_survived() {
        let good = archive();
        for position in 0..good.len() {
            for value in [0, b'f', b'0', 0xff] {
                let mut bad = good.clone();
                bad[position] = value;
                let _ = find(&bad, "demo");
            }
        }
    }

    #[test]
    fn a_name_without_nul_is_refused() {
        let mut bad = archive();
        bad[HEADER_LEN + 1] = b'x';
        assert_eq!(
            find(&bad, "demo"),
            Err(ArchiveError::BadHeader { offset: 0 })
        );
    }
}
