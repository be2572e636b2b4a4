//! Writes a file as a whole or not at all.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Creates or replaces the file at `path`. On any failure what was there stays, and nothing else is left behind.
pub fn file(path: &Path, bytes: &[u8]) -> Result<()> {
    let path = &target(path)?;
    let temporary = &temporary_name(path)?;
    let result = write_new(temporary, bytes).and_then(|()| fs::rename(temporary, path));
    if let Err(error) = result {
        // A file of that name that is not ours stays; ours, if it came to be, is of no use.
        if error.kind() != io::ErrorKind::AlreadyExists {
            let _ = fs::remove_file(temporary);
        }
        return Err(error).with_context(|| format!("cannot write {}", path.display()));
    }
    Ok(())
}

/// Follows links, and refuses what a rename would destroy rather than write to.
fn target(path: &Path) -> Result<PathBuf> {
    match fs::metadata(path) {
        Ok(found) if found.is_file() => Ok(fs::canonicalize(path)?),
        Ok(_) => bail!("cannot write {}: it is no regular file", path.display()),
        Err(_) => Ok(path.to_path_buf()),
    }
}

/// Returns a name in the same folder, so that the rename stays in one file system.
fn temporary_name(path: &Path) -> Result<PathBuf> {
    let Some(name) = path.file_name() else {
        bail!("cannot write {}: it names no file", path.display());
    };
    let mut temporary = OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}", std::process::id()));
    Ok(path.with_file_name(temporary))
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
