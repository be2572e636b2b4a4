// SPDX-License-Identifier: MIT OR Apache-2.0
//! `ls`: names in a directory, in the order of the alphabet.

use core::ffi::CStr;

use arrayvec::ArrayVec;
use nimbos_apps::file::Status;
use nimbos_apps::shell::Words;
use nimbos_apps::time::Date;
use nimbos_apps::{Error, directory, eprintln, println};

use super::{for_each_path, usage};

/// Most bytes of names, each with a NUL.
const MAX_BYTES: usize = 32 << 10;
/// Most names of a directory.
const MAX_NAMES: usize = 1024;
/// Longest path with its NUL.
const PATH_MAX: usize = 4096;

/// Lists directories and files.
pub fn ls(words: &Words) -> i32 {
    let is_long = words.get(1) == Some("-l");
    let first = if is_long { 2 } else { 1 };
    if words.get(1).is_some_and(|word| word.starts_with('-')) && !is_long {
        return usage("ls");
    }
    if words.count() == first {
        return match list(c".", is_long) {
            Ok(()) => 0,
            Err(error) => super::fail("ls", ".", error),
        };
    }
    for_each_path(words, first, |path| list(path, is_long))
}

fn list(path: &CStr, is_long: bool) -> Result<(), Error> {
    let status = Status::of(path)?;
    if !status.is_directory() {
        print_entry(path, is_long.then_some(status));
        return Ok(());
    }
    let mut names = Names::default();
    directory::for_each(path, |entry| names.push(entry.name))?;
    names.sort();
    for name in names.iter() {
        let status = if is_long { status_of(path, name) } else { None };
        print_entry(name, status);
    }
    if names.left_out > 0 {
        eprintln!("ls: {} names left out", names.left_out);
    }
    Ok(())
}

/// Returns what is known of a file in a directory; nothing if it has just been removed.
fn status_of(directory: &CStr, name: &CStr) -> Option<Status> {
    let mut path = ArrayVec::<u8, PATH_MAX>::new();
    for part in [directory.to_bytes(), b"/", name.to_bytes_with_nul()] {
        path.try_extend_from_slice(part).ok()?;
    }
    Status::of(CStr::from_bytes_until_nul(&path).ok()?).ok()
}

fn print_entry(name: &CStr, status: Option<Status>) {
    let name = name.to_str().unwrap_or("?");
    let Some(status) = status else {
        println!("{name}");
        return;
    };
    let mode = status.mode_text();
    let mode = core::str::from_utf8(&mode).unwrap_or("?");
    let Date {
        year,
        month,
        day,
        hour,
        minute,
    } = Date::of(status.modified);
    println!(
        "{mode} {:3} {:9} {year:04}-{month:02}-{day:02} {hour:02}:{minute:02} {name}",
        status.links, status.len
    );
}

/// Names of a directory, but for `.` and `..`.
struct Names {
    bytes: ArrayVec<u8, MAX_BYTES>,
    starts: ArrayVec<u16, MAX_NAMES>,
    left_out: usize,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            bytes: ArrayVec::new(),
            starts: ArrayVec::new(),
            left_out: 0,
        }
    }
}

impl Names {
    fn push(&mut self, name: &CStr) {
        if matches!(name.to_bytes(), b"." | b"..") {
            return;
        }
        let name = name.to_bytes_with_nul();
        if self.starts.is_full() || self.bytes.remaining_capacity() < name.len() {
            self.left_out += 1;
            return;
        }
        self.starts.push(self.bytes.len() as u16);
        self.bytes.extend(name.iter().copied());
    }

    fn sort(&mut self) {
        let bytes = &self.bytes;
        self.starts
            .sort_unstable_by(|&a, &b| name_at(bytes, a).cmp(name_at(bytes, b)));
    }

    fn iter(&self) -> impl Iterator<Item = &CStr> {
        self.starts.iter().map(|&start| name_at(&self.bytes, start))
    }
}

/// Returns the name that begins at `start`.
fn name_at(bytes: &[u8], start: u16) -> &CStr {
    CStr::from_bytes_until_nul(&bytes[usize::from(start)..]).unwrap_or_default()
}
