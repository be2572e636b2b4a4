// SPDX-License-Identifier: MIT OR Apache-2.0
//! Files: opened, read, written, in one piece and in many.

use crate::Test;
use crate::check::{BAD_ADDRESSES, Check, Failure, call, from, holds, into, is, path, works};
use crate::linux::*;

/// The tests.
pub const TESTS: &[Test] = &[
    ("open-close", open_close),
    ("read-write", read_write),
    ("long-transfers", long_transfers),
    ("pread-pwrite", pread_pwrite),
    ("readv-writev", readv_writev),
    ("readv-writev-refused", vectors_refused),
    ("lseek", lseek),
    ("stat", stat),
    ("ftruncate-fsync", ftruncate_fsync),
];

/// Opens a new file for reading and writing.
pub fn create(name: &core::ffi::CStr) -> Result<u64, Failure> {
    let flags = O_CREAT | O_RDWR | O_TRUNC;
    works("open", call(number::OPEN, [path(name), flags, 0o644]))
}

/// Closes a file.
pub fn close(fd: u64) -> Check {
    is("close", call(number::CLOSE, [fd]), 0)
}

/// Returns both ends of a new pipe.
pub fn pipe() -> Result<[u64; 2], Failure> {
    let mut ends = [0_i32; 2];
    is("pipe", call(number::PIPE, [into(&mut ends)]), 0)?;
    Ok(ends.map(|end| end as u64))
}

/// Writes all bytes at once.
pub fn write(fd: u64, bytes: &[u8]) -> Check {
    let result = call(number::WRITE, [fd, from(bytes), bytes.len() as u64]);
    is("write", result, bytes.len() as i64)
}

/// Reads at once what is to be the same as `bytes`.
pub fn read(fd: u64, bytes: &[u8]) -> Check {
    let mut found = [0; 512];
    let found = &mut found[..bytes.len()];
    let result = call(number::READ, [fd, into(found), found.len() as u64]);
    is("read", result, bytes.len() as i64)?;
    holds("read the same", found == bytes)
}

fn open_close() -> Check {
    let name = path(c"/tmp/fwd/open");
    let flags = O_CREAT | O_EXCL | O_WRONLY;
    let fd = works("open", call(number::OPEN, [name, flags, 0o600]))?;
    let again = call(number::OPEN, [name, flags, 0o600]);
    is("open what is there", again, EEXIST)?;
    close(fd)?;
    is("close again", call(number::CLOSE, [fd]), EBADF)?;
    is("close -1", call(number::CLOSE, [u64::MAX]), EBADF)?;
    let missing = call(number::OPEN, [path(c"/tmp/fwd/no/thing"), O_RDONLY]);
    is("open what is not there", missing, ENOENT)?;
    is("open nothing", call(number::OPEN, [path(c"")]), ENOENT)?;
    let directory = call(number::OPEN, [path(c"/tmp/fwd"), O_WRONLY]);
    is("write a directory", directory, EISDIR)?;
    let at = works("open", call(number::OPEN, [path(c"/tmp/fwd"), O_DIRECTORY]))?;
    let there = call(number::OPENAT, [at, path(c"open"), O_RDONLY]);
    close(works("openat", there)?)?;
    let there = call(number::OPENAT, [AT_FDCWD, name, O_RDONLY]);
    close(works("openat AT_FDCWD", there)?)?;
    let bad = call(number::OPENAT, [99, path(c"open"), O_RDONLY]);
    is("openat 99", bad, EBADF)?;
    close(at)?;
    for address in BAD_ADDRESSES {
        is("open a bad address", call(number::OPEN, [address]), EFAULT)?;
    }
    let mut long = [b'a'; 5000];
    is(
        "open a long path",
        call(number::OPEN, [from(&long)]),
        ENAMETOOLONG,
    )?;
    long[300] = 0;
    is(
        "open a long name",
        call(number::OPEN, [from(&long)]),
        ENAMETOOLONG,
    )
}

fn read_write() -> Check {
    let fd = create(c"/tmp/fwd/data")?;
    write(fd, b"some bytes")?;
    is("write nothing", call(number::WRITE, [fd, from(b"x"), 0]), 0)?;
    is("write no address", call(number::WRITE, [fd, 0, 0]), 0)?;
    is("lseek", call(number::LSEEK, [fd, 0, SEEK_SET]), 0)?;
    read(fd, b"some ")?;
    read(fd, b"bytes")?;
    let mut byte = [0];
    is(
        "read at the end",
        call(number::READ, [fd, into(&mut byte), 1]),
        0,
    )?;
    for address in BAD_ADDRESSES {
        is(
            "write bad memory",
            call(number::WRITE, [fd, address, 1]),
            EFAULT,
        )?;
        is(
            "read to bad memory",
            call(number::READ, [fd, address, 1]),
            EFAULT,
        )?;
    }
    // Code is not written.
    let code = read_write as *const () as u64;
    is("read to code", call(number::READ, [fd, code, 1]), EFAULT)?;
    for bad in [99, u64::MAX, 1 << 31] {
        is(
            "write nowhere",
            call(number::WRITE, [bad, from(b"x"), 1]),
            EBADF,
        )?;
        is(
            "read from nowhere",
            call(number::READ, [bad, into(&mut byte), 1]),
            EBADF,
        )?;
    }
    let negative = call(number::WRITE, [fd, from(b"x"), u64::MAX]);
    is("write a negative length", negative, EINVAL)?;
    close(fd)
}

/// More than a buffer has: the calls may be done in part.
fn long_transfers() -> Check {
    const LEN: usize = 300 << 10;
    static DATA: [u8; LEN] = {
        let mut data = [0; LEN];
        let mut i = 0;
        while i < LEN {
            data[i] = (i * 7 / 3) as u8;
            i += 1;
        }
        data
    };
    let fd = create(c"/tmp/fwd/long")?;
    let mut done = 0;
    while done < LEN {
        let rest = &DATA[done..];
        let count = call(number::WRITE, [fd, from(rest), rest.len() as u64]);
        done += works("write", count)? as usize;
    }
    is("lseek", call(number::LSEEK, [fd, 0, SEEK_SET]), 0)?;
    let mut piece = [0; 10_007];
    let mut done = 0;
    loop {
        let count = call(number::READ, [fd, into(&mut piece), piece.len() as u64]);
        let count = works("read", count)? as usize;
        holds("read the same", DATA[done..done + count] == piece[..count])?;
        done += count;
        if count == 0 {
            break;
        }
    }
    is("read as much", done as i64, LEN as i64)?;
    close(fd)
}

fn pread_pwrite() -> Check {
    let fd = create(c"/tmp/fwd/places")?;
    let put = call(number::PWRITE, [fd, from(b"places"), 6, 1000]);
    is("pwrite", put, 6)?;
    let mut bytes = [0; 8];
    let got = call(number::PREAD, [fd, into(&mut bytes), 8, 998]);
    is("pread", got, 8)?;
    holds("pread the same", &bytes == b"\0\0places")?;
    is("offset", call(number::LSEEK, [fd, 0, SEEK_CUR]), 0)?;
    let negative = call(number::PREAD, [fd, into(&mut bytes), 8, u64::MAX]);
    is("pread before the file", negative, EINVAL)?;
    let [from_pipe, to_pipe] = pipe()?;
    let piped = call(number::PREAD, [from_pipe, into(&mut bytes), 8, 0]);
    is("pread of a pipe", piped, ESPIPE)?;
    for (fd, offset, expected) in [(fd, u64::MAX, EINVAL), (to_pipe, 0, ESPIPE), (99, 0, EBADF)] {
        let refused = call(number::PWRITE, [fd, from(b"places"), 6, offset]);
        is("pwrite", refused, expected)?;
    }
    for address in BAD_ADDRESSES {
        is(
            "bad memory",
            call(number::PREAD, [fd, address, 8, 0]),
            EFAULT,
        )?;
        is(
            "bad memory",
            call(number::PWRITE, [fd, address, 8, 0]),
            EFAULT,
        )?;
    }
    for fd in [from_pipe, to_pipe, fd] {
        close(fd)?;
    }
    Ok(())
}

fn piece(bytes: &mut [u8]) -> IoVec {
    IoVec {
        base: into(bytes),
        len: bytes.len() as u64,
    }
}

fn readv_writev() -> Check {
    let fd = create(c"/tmp/fwd/pieces")?;
    let (mut first, mut last) = (*b"in ", *b"three pieces");
    let pieces = [piece(&mut first), piece(&mut []), piece(&mut last)];
    is("writev", call(number::WRITEV, [fd, from(&pieces), 3]), 15)?;
    is("writev nothing", call(number::WRITEV, [fd, 0, 0]), 0)?;
    is("lseek", call(number::LSEEK, [fd, 0, SEEK_SET]), 0)?;
    let (mut first, mut last) = ([0; 8], [0; 20]);
    let pieces = [piece(&mut first), piece(&mut []), piece(&mut last)];
    is("readv", call(number::READV, [fd, from(&pieces), 3]), 15)?;
    holds("first piece", &first == b"in three")?;
    holds("last piece", &last[..8] == b" pieces\0")?;
    is(
        "readv at the end",
        call(number::READV, [fd, from(&pieces), 3]),
        0,
    )?;
    // To the console of this cell.
    let (mut first, mut last) = (*b"fwdtest: writev to the ", *b"console\n");
    let pieces = [piece(&mut first), piece(&mut last)];
    is("writev", call(number::WRITEV, [2, from(&pieces), 2]), 31)?;
    close(fd)
}

fn vectors_refused() -> Check {
    static MANY: [IoVec; 1025] = [IoVec { base: 0, len: 0 }; 1025];
    let fd = create(c"/tmp/fwd/refused")?;
    let mut byte = [b'x'];
    for call_number in [number::READV, number::WRITEV] {
        is("1024 pieces", call(call_number, [fd, from(&MANY), 1024]), 0)?;
        is(
            "1025 pieces",
            call(call_number, [fd, from(&MANY), 1025]),
            EINVAL,
        )?;
        is(
            "-1 pieces",
            call(call_number, [fd, from(&MANY), u64::MAX]),
            EINVAL,
        )?;
        let endless = [
            piece(&mut byte),
            IoVec {
                base: 0,
                len: u64::MAX,
            },
        ];
        is(
            "endless",
            call(call_number, [fd, from(&endless), 2]),
            EINVAL,
        )?;
        let nowhere = [piece(&mut byte)];
        is("nowhere", call(call_number, [99, from(&nowhere), 1]), EBADF)?;
        for base in BAD_ADDRESSES {
            is("bad pieces", call(call_number, [fd, base, 1]), EFAULT)?;
            let bad = [piece(&mut byte), IoVec { base, len: 1 }];
            is(
                "a bad piece",
                call(call_number, [fd, from(&bad), 2]),
                EFAULT,
            )?;
        }
    }
    is("size", call(number::LSEEK, [fd, 0, SEEK_END]), 0)?;
    close(fd)
}

fn lseek() -> Check {
    let fd = create(c"/tmp/fwd/seek")?;
    write(fd, b"0123456789")?;
    is(
        "to the end",
        call(number::LSEEK, [fd, -3_i64 as u64, SEEK_END]),
        7,
    )?;
    read(fd, b"789")?;
    is(
        "beyond",
        call(number::LSEEK, [fd, 1 << 40, SEEK_SET]),
        1 << 40,
    )?;
    is(
        "before",
        call(number::LSEEK, [fd, u64::MAX, SEEK_SET]),
        EINVAL,
    )?;
    is("no whence", call(number::LSEEK, [fd, 0, 77]), EINVAL)?;
    is("nowhere", call(number::LSEEK, [99, 0, SEEK_SET]), EBADF)?;
    close(fd)?;
    let ends = pipe()?;
    is(
        "in a pipe",
        call(number::LSEEK, [ends[0], 0, SEEK_CUR]),
        ESPIPE,
    )?;
    ends.into_iter().try_for_each(close)
}

fn stat() -> Check {
    let fd = create(c"/tmp/fwd/stat")?;
    write(fd, b"twelve bytes")?;
    let name = path(c"/tmp/fwd/stat");
    let mut status = [0_u8; STAT_LEN];
    for (what, call_number, file) in [
        ("stat", number::STAT, name),
        ("lstat", number::LSTAT, name),
        ("fstat", number::FSTAT, fd),
    ] {
        status.fill(0xff);
        is(what, call(call_number, [file, into(&mut status)]), 0)?;
        let size = u64::from_le_bytes(core::array::from_fn(|i| status[STAT_SIZE + i]));
        is("st_size", size as i64, 12)?;
        let mode = u32::from_le_bytes(core::array::from_fn(|i| status[STAT_MODE + i]));
        is("st_mode", mode.into(), (S_IFREG | 0o644).into())?;
        for address in BAD_ADDRESSES {
            is(
                "to a bad address",
                call(call_number, [file, address]),
                EFAULT,
            )?;
        }
    }
    let missing = path(c"/tmp/fwd/missing");
    is(
        "missing",
        call(number::STAT, [missing, into(&mut status)]),
        ENOENT,
    )?;
    is(
        "nowhere",
        call(number::FSTAT, [99, into(&mut status)]),
        EBADF,
    )?;
    is(
        "directory",
        call(number::STAT, [path(c"/tmp"), into(&mut status)]),
        0,
    )?;
    let mode = u32::from_le_bytes(core::array::from_fn(|i| status[STAT_MODE + i]));
    is("its mode", (mode & S_IFMT).into(), S_IFDIR.into())?;
    close(fd)
}

fn ftruncate_fsync() -> Check {
    let fd = create(c"/tmp/fwd/short")?;
    write(fd, b"shorter and longer")?;
    is("ftruncate", call(number::FTRUNCATE, [fd, 7]), 0)?;
    is("fsync", call(number::FSYNC, [fd]), 0)?;
    is("size", call(number::LSEEK, [fd, 0, SEEK_END]), 7)?;
    is(
        "to less than nothing",
        call(number::FTRUNCATE, [fd, u64::MAX]),
        EINVAL,
    )?;
    is("nowhere", call(number::FTRUNCATE, [99, 7]), EBADF)?;
    is("fsync nowhere", call(number::FSYNC, [99]), EBADF)?;
    close(fd)
}
