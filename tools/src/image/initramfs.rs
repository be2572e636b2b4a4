// SPDX-License-Identifier: MIT OR Apache-2.0
//! Linux's initial file system: a cpio archive in the "newc" form, built without root.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cpio::newc;
use flate2::{Compression, write::GzEncoder};

use crate::layout;

const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_000;
const CHARACTER_DEVICE: u32 = 0o020_000;

/// An initial file system in the making. Paths are taken from the root, with or without a leading slash.
#[derive(Debug, Clone, Default)]
pub struct Initramfs {
    // Sorted, so that a folder comes before what is in it.
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    /// File type and permissions.
    mode: u32,
    content: Vec<u8>,
    device: (u32, u32),
}

impl Initramfs {
    /// Adds a folder, and those above it.
    pub fn dir(mut self, path: &str) -> Self {
        let path = path.trim_matches('/');
        for (end, _) in path.match_indices('/').chain([(path.len(), "")]) {
            let entry = Entry {
                mode: DIRECTORY | 0o755,
                content: Vec::new(),
                device: (0, 0),
            };
            self.entries.entry(path[..end].to_owned()).or_insert(entry);
        }
        self
    }

    /// Adds a file with `content` and the permissions `mode`.
    pub fn file(self, path: &str, mode: u32, content: impl Into<Vec<u8>>) -> Self {
        self.insert(path, REGULAR | mode, content.into(), (0, 0))
    }

    /// Adds a copy of the file at `from`; fails when it can't be read.
    pub fn copy(self, path: &str, mode: u32, from: &Path) -> Result<Self> {
        let content = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
        Ok(self.file(path, mode, content))
    }

    /// Adds a symbolic link to `target`.
    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.insert(path, SYMLINK | 0o777, target.into(), (0, 0))
    }

    /// Adds a character device.
    pub fn char_device(self, path: &str, mode: u32, major: u32, minor: u32) -> Self {
        self.insert(path, CHARACTER_DEVICE | mode, Vec::new(), (major, minor))
    }

    /// Writes the archive to `path`, compressed with gzip.
    pub fn write_gz(&self, path: &Path) -> Result<()> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        let packed = self.write_to(&mut encoder).and_then(|()| encoder.finish());
        layout::write_whole(path, &packed.context("cannot pack the initramfs")?)
    }

    /// Writes the archive to `path`, not compressed.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut archive = Vec::new();
        self.write_to(&mut archive)
            .context("cannot pack the initramfs")?;
        layout::write_whole(path, &archive)
    }

    fn insert(mut self, path: &str, mode: u32, content: Vec<u8>, device: (u32, u32)) -> Self {
        let path = path.trim_matches('/');
        if let Some((folder, _)) = path.rsplit_once('/') {
            self = self.dir(folder);
        }
        self.entries.insert(
            path.to_owned(),
            Entry {
                mode,
                content,
                device,
            },
        );
        self
    }

    fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        for (number, (path, entry)) in (1..).zip(&self.entries) {
            let size = u32::try_from(entry.content.len()).map_err(io::Error::other)?;
            let mut writer = newc::Builder::new(path)
                .ino(number)
                .mode(entry.mode)
                .nlink(1)
                .rdev_major(entry.device.0)
                .rdev_minor(entry.device.1)
                .write(&mut *out, size);
            writer.write_all(&entry.content)?;
            writer.finish()?;
        }
        newc::trailer(out).map(drop)
    }
}

/// Returns what every demo of the Linux cell starts from: busybox, `init` and the driver with its program.
///
/// `module` goes to `/isthmus.ko`, `shadow` to `/bin/shadow`; `extra` are further executables, each
/// with its path. Fails when a file can't be read or no static busybox is installed.
pub fn demo_initramfs(
    module: Option<&Path>,
    shadow: Option<&Path>,
    init: &str,
    extra: &[(&str, PathBuf)],
) -> Result<Initramfs> {
    let busybox = ["/usr/bin/busybox", "/bin/busybox"]
        .map(Path::new)
        .into_iter()
        .find(|path| path.is_file());
    let busybox = busybox.context("no busybox: run lab setup")?;
    let mut initramfs = Initramfs::default()
        .char_device("dev/console", 0o600, 5, 1)
        .char_device("dev/null", 0o666, 1, 3)
        .copy("bin/busybox", 0o755, busybox)?
        .symlink("bin/sh", "busybox")
        .file("init", 0o755, init);
    for folder in ["proc", "sys", "tmp"] {
        initramfs = initramfs.dir(folder);
    }
    if let Some(module) = module {
        initramfs = initramfs.copy("isthmus.ko", 0o644, module)?;
    }
    if let Some(shadow) = shadow {
        initramfs = initramfs.copy("bin/shadow", 0o755, shadow)?;
    }
    for (path, from) in extra {
        initramfs = initramfs.copy(path, 0o755, from)?;
    }
    Ok(initramfs)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Found {
        name: String,
        mode: u32,
        device_minor: u32,
        content: Vec<u8>,
    }

    /// Reads an archive back.
    fn read(initramfs: &Initramfs) -> io::Result<Vec<Found>> {
        let mut archive = Vec::new();
        initramfs.write_to(&mut archive)?;
        let mut rest: &[u8] = &archive;
        let mut all = Vec::new();
        loop {
            let reader = newc::Reader::new(rest)?;
            let entry = reader.entry();
            if entry.is_trailer() {
                return Ok(all);
            }
            let mut found = Found {
                name: entry.name().to_owned(),
                mode: entry.mode(),
                device_minor: entry.rdev_minor(),
                content: Vec::new(),
            };
            rest = reader.to_writer(&mut found.content)?;
            all.push(found);
        }
    }

    #[test]
    fn folders_come_before_what_is_in_them() -> io::Result<()> {
        let entries = read(&Initramfs::default().file("/a/b/c", 0o644, "x").dir("a"))?;
        let names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["a", "a/b", "a/b/c"]);
        assert_eq!(entries[0].mode, 0o040_755);
        assert_eq!(entries[2].content, b"x");
        Ok(())
    }

    #[test]
    fn links_and_devices_keep_their_kind() -> io::Result<()> {
        let entries = read(
            &Initramfs::default()
                .symlink("sh", "busybox")
                .char_device("console", 0o600, 5, 1),
        )?;
        assert_eq!((entries[0].mode, entries[0].device_minor), (0o020_600, 1));
        assert_eq!(
            (entries[1].mode, entries[1].content.as_slice()),
            (0o120_777, b"busybox".as_slice())
        );
        Ok(())
    }
}
