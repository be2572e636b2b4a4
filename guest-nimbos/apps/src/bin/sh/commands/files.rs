// SPDX-License-Identifier: MIT OR Apache-2.0
//! Commands about names of files.

use core::ffi::CStr;

use arrayvec::ArrayVec;
use nimbos_apps::file::{
    self, CREATE, DEFAULT_DIRECTORY_MODE, File, READ_ONLY, Status, TRUNCATE, WRITE_ONLY,
};
use nimbos_apps::shell::Words;
use nimbos_apps::{Error, directory};

use super::{fail, for_each_path, usage};

/// The bits of a file's mode that say who may do what.
const PERMISSIONS: u32 = 0o777;
/// Longest path with its NUL.
const PATH_MAX: usize = 4096;

/// Makes directories.
pub fn mkdir(words: &Words) -> i32 {
    if words.count() < 2 {
        return usage("mkdir");
    }
    for_each_path(words, 1, |path| {
        directory::make_directory(path, DEFAULT_DIRECTORY_MODE)
    })
}

/// Removes empty directories.
pub fn rmdir(words: &Words) -> i32 {
    if words.count() < 2 {
        return usage("rmdir");
    }
    for_each_path(words, 1, directory::remove_directory)
}

/// Removes files.
pub fn rm(words: &Words) -> i32 {
    if words.count() < 2 {
        return usage("rm");
    }
    for_each_path(words, 1, directory::remove)
}

/// Copies a file, or into a directory. Who may execute the file may execute a new copy, too.
pub fn cp(words: &Words) -> i32 {
    from_to(words, "cp", |from, to| {
        let from = File::open(from, READ_ONLY, 0)?;
        let mode = from.status()?.mode & PERMISSIONS;
        let to = File::open(to, CREATE | WRITE_ONLY | TRUNCATE, mode)?;
        file::copy(from, to)?;
        from.close()?;
        to.close()
    })
}

/// Gives a file another name, or moves it into a directory.
pub fn mv(words: &Words) -> i32 {
    from_to(words, "mv", directory::rename)
}

fn from_to(
    words: &Words,
    command: &str,
    work: impl FnOnce(&CStr, &CStr) -> Result<(), Error>,
) -> i32 {
    let (Some(from), Some(to), None) = (words.c_str(1), words.c_str(2), words.c_str(3)) else {
        return usage(command);
    };
    let result = match Status::of(to) {
        Ok(status) if status.is_directory() => {
            inside(to, from).and_then(|path| match CStr::from_bytes_until_nul(&path) {
                Ok(to) => work(from, to),
                Err(_) => Err(Error::NAME_TOO_LONG),
            })
        }
        // Whatever else is wrong with it shows when it is made.
        _ => work(from, to),
    };
    match result {
        Ok(()) => 0,
        Err(error) => fail(command, words.get(1).unwrap_or_default(), error),
    }
}

/// Returns the path that a file has in a directory, with its NUL.
fn inside(directory: &CStr, file: &CStr) -> Result<ArrayVec<u8, PATH_MAX>, Error> {
    let name = file.to_bytes().rsplit(|&byte| byte == b'/');
    let name = name.into_iter().find(|part| !part.is_empty());
    let parts = [directory.to_bytes(), b"/", name.unwrap_or_default(), b"\0"];
    let mut path = ArrayVec::new();
    for part in parts {
        path.try_extend_from_slice(part)
            .map_err(|_| Error::NAME_TOO_LONG)?;
    }
    Ok(path)
}
