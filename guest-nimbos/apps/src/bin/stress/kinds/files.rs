// SPDX-License-Identifier: MIT OR Apache-2.0
//! Files: what they hold, and what they are called.

use core::ffi::CStr;
use core::fmt::Write;

use arrayvec::ArrayString;
use nimbos_apps::file::{
    CREATE, EXCLUSIVE, File, READ_ONLY, READ_WRITE, SeekFrom, Status, TRUNCATE,
};
use nimbos_apps::{Error, directory, system};

use crate::worker::{Kind, Worker, Wrong};

/// Unit in which a file is written.
const BLOCK: usize = 512;
const BLOCKS: usize = 64;
/// Blocks that are written or read together at most.
const MAX_RUN: usize = 8;

/// A descriptor far beyond those that there can be.
const NO_FILE: i32 = 1 << 30;

/// A path with its NUL.
type Path = ArrayString<64>;

/// A file whose every byte is known.
pub struct Contents {
    file: File,
    path: Path,
    /// How often each block was written; a block that never was is a hole or beyond the end.
    versions: [u32; BLOCKS],
}

impl Contents {
    /// Makes the thread's file, empty.
    pub fn create(worker: &mut Worker) -> Result<Self, Wrong> {
        worker.begin(Kind::File);
        let path = path(worker.number, "dat");
        let flags = CREATE | READ_WRITE | TRUNCATE;
        let file = worker.call("open", || File::open(c_str(&path), flags, 0o600))?;
        Ok(Self {
            file,
            path,
            versions: [0; BLOCKS],
        })
    }

    /// Writes to the file, reads from it, cuts it off, or looks at its length.
    pub fn change(&mut self, worker: &mut Worker) -> Result<(), Wrong> {
        worker.begin(Kind::File);
        match worker.random.u32(0..16) {
            0..6 => self.write(worker),
            6..13 => self.read(worker),
            13 => self.cut(worker),
            14 => self.measure(worker),
            _ => worker.call("fsync", || self.file.sync()),
        }
    }

    fn write(&mut self, worker: &mut Worker) -> Result<(), Wrong> {
        let (first, count) = run(worker);
        let mut bytes = [0; BLOCK * MAX_RUN];
        for (place, block) in bytes.chunks_exact_mut(BLOCK).take(count).enumerate() {
            self.versions[first + place] += 1;
            fill(
                block,
                worker.number,
                first + place,
                self.versions[first + place],
            );
        }
        let bytes = &bytes[..count * BLOCK];
        let offset = (first * BLOCK) as u64;
        let written = if worker.random.bool() {
            worker.call("pwrite", || self.file.write_at(bytes, offset))?
        } else {
            let place = worker.call("lseek", || self.file.seek(SeekFrom::Start(offset)))?;
            worker.check("lseek", place == offset)?;
            worker.call("write", || self.file.write(bytes))?
        };
        worker.check("length written", written == bytes.len())
    }

    fn read(&self, worker: &mut Worker) -> Result<(), Wrong> {
        let (first, count) = run(worker);
        let mut bytes = [0xa5; BLOCK * MAX_RUN];
        let bytes = &mut bytes[..count * BLOCK];
        let offset = (first * BLOCK) as u64;
        let len = if worker.random.bool() {
            worker.call("pread", || self.file.read_at(bytes, offset))?
        } else {
            worker.call("lseek", || self.file.seek(SeekFrom::Start(offset)))?;
            worker.call("read", || self.file.read(bytes))?
        };
        let expected = self.len().saturating_sub(first * BLOCK).min(bytes.len());
        worker.check("length read", len == expected)?;
        let mut block = [0; BLOCK];
        for (place, found) in bytes[..len].chunks_exact(BLOCK).enumerate() {
            fill(
                &mut block,
                worker.number,
                first + place,
                self.versions[first + place],
            );
            worker.check("bytes read", found == block)?;
        }
        Ok(())
    }

    fn cut(&mut self, worker: &mut Worker) -> Result<(), Wrong> {
        let blocks = worker.random.usize(0..self.len() / BLOCK + 1);
        worker.call("ftruncate", || self.file.truncate((blocks * BLOCK) as u64))?;
        self.versions[blocks..].fill(0);
        // What is left may end in a hole, which the length that is remembered would not count.
        if blocks > 0 && self.versions[blocks - 1] == 0 {
            let mut block = [0; BLOCK];
            self.versions[blocks - 1] = 1;
            fill(&mut block, worker.number, blocks - 1, 1);
            let offset = ((blocks - 1) * BLOCK) as u64;
            worker.call("pwrite", || self.file.write_at(&block, offset))?;
        }
        self.measure(worker)
    }

    fn measure(&self, worker: &mut Worker) -> Result<(), Wrong> {
        let end = worker.call("lseek", || self.file.seek(SeekFrom::End(0)))?;
        let status = worker.call("fstat", || self.file.status())?;
        let named = worker.call("stat", || Status::of(c_str(&self.path)))?;
        let len = self.len() as u64;
        worker.check("lseek", end == len)?;
        worker.check("fstat", status.len == len && status.mode & 0o777 == 0o600)?;
        worker.check("stat", named.inode == status.inode)
    }

    fn len(&self) -> usize {
        let last = self.versions.iter().rposition(|&version| version > 0);
        last.map_or(0, |last| (last + 1) * BLOCK)
    }

    /// Closes and removes the file.
    pub fn remove(self, worker: &mut Worker) -> Result<(), Wrong> {
        worker.begin(Kind::File);
        worker.call("close", || self.file.close())?;
        // Not to the file's own number: another thread may have it by now.
        worker.refused("write", Error::BAD_FILE, || system::write(NO_FILE, b"x"))?;
        worker.call("unlink", || directory::remove(c_str(&self.path)))
    }
}

/// Makes, renames, lists and removes files and directories.
pub fn names(worker: &mut Worker) -> Result<(), Wrong> {
    worker.begin(Kind::Name);
    let (folder, old, new) = (
        path(worker.number, "dir"),
        path(worker.number, "dir/old"),
        path(worker.number, "dir/new"),
    );
    let (folder, old, new) = (c_str(&folder), c_str(&old), c_str(&new));
    worker.call("mkdir", || directory::make_directory(folder, 0o700))?;
    worker.refused("mkdir", Error::EXISTS, || {
        directory::make_directory(folder, 0o700)
    })?;
    let file = worker.call("open", || {
        File::open(old, CREATE | EXCLUSIVE | READ_WRITE, 0o600)
    })?;
    worker.call("close", || file.close())?;
    worker.refused("rmdir", Error::NOT_EMPTY, || {
        directory::remove_directory(folder)
    })?;
    worker.call("rename", || directory::rename(old, new))?;
    worker.refused("open", Error::NO_ENTRY, || File::open(old, READ_ONLY, 0))?;
    let mut found = 0;
    let mut others = 0;
    worker.call("getdents64", || {
        directory::for_each(folder, |entry| match entry.name.to_bytes() {
            b"." | b".." => {}
            b"new" => found += 1,
            _ => others += 1,
        })
    })?;
    worker.check("getdents64", (found, others) == (1, 0))?;
    worker.call("unlink", || directory::remove(new))?;
    worker.call("rmdir", || directory::remove_directory(folder))?;
    // An address of the kernel's.
    const KERNEL_ADDRESS: u64 = 0x4210_0000;
    worker.refused("write", Error::FAULT, || {
        system::write_at(1, KERNEL_ADDRESS, 8)
    })
}

/// Chooses blocks of the file.
fn run(worker: &mut Worker) -> (usize, usize) {
    let count = worker.random.usize(1..MAX_RUN + 1);
    (worker.random.usize(0..BLOCKS - count + 1), count)
}

/// What a block holds: zeroes if it was never written.
fn fill(block: &mut [u8], thread: usize, place: usize, version: u32) {
    block.fill(0);
    if version > 0 {
        let seed = (thread * BLOCKS + place) as u32;
        for (word, number) in block.chunks_exact_mut(4).zip(0_u32..) {
            let value = seed.wrapping_mul(0x9e37_79b9) ^ version.rotate_left(16) ^ number;
            word.copy_from_slice(&value.to_le_bytes());
        }
    }
}

fn path(thread: usize, name: &str) -> Path {
    let mut path = Path::new();
    write!(path, "/tmp/stress-{thread}.{name}\0").expect("the names are short");
    path
}

fn c_str(path: &Path) -> &CStr {
    CStr::from_bytes_with_nul(path.as_bytes()).expect("a path has one NUL, at its end")
}
