// SPDX-License-Identifier: MIT OR Apache-2.0
//! Directories of Linux.

use core::ffi::CStr;

use crate::file::{DIRECTORY, File, READ_ONLY};
use crate::linux::field;
use crate::system::{Error, files};

pub use crate::system::files::{
    change_directory, make_directory, remove, remove_directory, rename,
};

/// Bytes of entries that are asked for together.
const BUFFER_LEN: usize = 4096;
/// What stands before an entry's name: its file's number u64, a place i64, its own length u16, the file's kind u8.
/// (getdents(2))
const NAME_OFFSET: usize = 19;
const LEN_OFFSET: usize = 16;
/// Longest path with its NUL.
const PATH_MAX: usize = 4096;

/// An entry of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Number of the file in its file system.
    pub inode: u64,
    /// The name, without a path.
    pub name: &'a CStr,
}

/// Calls `on_entry` for each entry of a directory, `.` and `..` among them, in Linux's order.
pub fn for_each(path: &CStr, mut on_entry: impl FnMut(Entry<'_>)) -> Result<(), Error> {
    let directory = File::open(path, READ_ONLY | DIRECTORY, 0)?;
    let mut buffer = [0; BUFFER_LEN];
    let result = loop {
        match files::directory_entries(directory.descriptor(), &mut buffer) {
            Ok(0) => break Ok(()),
            Ok(count) => entries(&buffer[..count]).for_each(&mut on_entry),
            Err(error) => break Err(error),
        }
    };
    result.and(directory.close())
}

/// Returns the entries in what `getdents64` gave; they end where one does not fit.
fn entries(mut bytes: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    core::iter::from_fn(move || {
        if bytes.len() <= NAME_OFFSET {
            return None;
        }
        let len = u16::from_le_bytes(field(bytes, LEN_OFFSET)).into();
        let entry = bytes.get(..len)?;
        let inode = u64::from_le_bytes(field(bytes, 0));
        let name = CStr::from_bytes_until_nul(entry.get(NAME_OFFSET..)?).ok()?;
        bytes = &bytes[len..];
        Some(Entry { inode, name })
    })
}

/// Calls `use_path` with the path of the current directory.
pub fn with_current<R>(use_path: impl FnOnce(&CStr) -> R) -> Result<R, Error> {
    let mut path = [0; PATH_MAX];
    files::current_directory(&mut path)?;
    let path = CStr::from_bytes_until_nul(&path).map_err(|_| Error::IO)?;
    Ok(use_path(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    extern crate std;
    use std::vec::Vec;

    fn entry(inode: u64, name: &str, len: u16) -> Vec<u8> {
        let mut bytes = inode.to_le_bytes().to_vec();
        bytes.extend([0; 8]);
        bytes.extend(len.to_le_bytes());
        bytes.push(4);
        bytes.extend(name.as_bytes());
        bytes.resize(len.into(), 0);
        bytes
    }

    #[test]
    fn entries_lie_one_behind_the_other() {
        let bytes = [
            entry(1, ".", 24),
            entry(2, "name", 24),
            entry(3, "other", 32),
        ]
        .concat();
        let expected = [(1, c"."), (2, c"name"), (3, c"other")];
        let found: Vec<_> = entries(&bytes)
            .map(|entry| (entry.inode, entry.name))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn entries_that_do_not_fit_end_the_list() {
        assert_eq!(entries(&[]).count(), 0);
        assert_eq!(entries(&[0xff; 19]).count(), 0);
        // A length of 0, one within the fixed fields, one beyond the end, and a name without its NUL.
        for len in [0, 18, 19, 25] {
            let mut bytes = entry(1, "a", 24);
            bytes[16..18].copy_from_slice(&u16::to_le_bytes(len));
            assert_eq!(entries(&bytes).count(), 0, "{len}");
        }
        let mut endless = entry(1, "a", 24);
        endless[19..].fill(b'a');
        assert_eq!(entries(&endless).count(), 0);
    }
}
