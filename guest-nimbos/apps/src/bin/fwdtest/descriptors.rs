// SPDX-License-Identifier: MIT OR Apache-2.0
//! Descriptors: duplicated, with their flags, and those that are the console of this cell.

use nimbos_apps::eprint;

use crate::Test;
use crate::check::{BAD_ADDRESSES, Check, call, in_child, into, is, path, works};
use crate::files::{close, create, pipe, read, write};
use crate::linux::*;

/// The tests.
pub const TESTS: &[Test] = &[
    ("dup-takes-the-lowest", lowest),
    ("dup-shares-the-offset", shared_offset),
    ("fcntl", fcntl),
    ("pipe", pipes),
    ("standard-error-replaced", standard_error),
];

/// In a child, whose numbers are known.
fn lowest() -> Check {
    in_child(|| {
        let files = [
            create(c"/tmp/fwd/a")?,
            create(c"/tmp/fwd/b")?,
            create(c"/tmp/fwd/c")?,
        ];
        let [first, second, third] = files;
        is("numbers in a row", second as i64, first as i64 + 1)?;
        is("numbers in a row", third as i64, first as i64 + 2)?;
        close(second)?;
        is("dup", call(number::DUP, [third]), second as i64)?;
        is("dup of nothing", call(number::DUP, [99]), EBADF)?;
        is("dup2", call(number::DUP2, [third, 40]), 40)?;
        is(
            "dup2 to itself",
            call(number::DUP2, [third, third]),
            third as i64,
        )?;
        is("dup2 of nothing", call(number::DUP2, [99, 40]), EBADF)?;
        is(
            "dup2 to nowhere",
            call(number::DUP2, [third, u64::MAX]),
            EBADF,
        )?;
        is("dup3", call(number::DUP3, [third, 41, O_CLOEXEC]), 41)?;
        is(
            "its flag",
            call(number::FCNTL, [41, F_GETFD]),
            FD_CLOEXEC as i64,
        )?;
        is("dup3 to itself", call(number::DUP3, [third, third]), EINVAL)?;
        is(
            "dup3 with bad flags",
            call(number::DUP3, [third, 42, 1]),
            EINVAL,
        )
    })
}

fn shared_offset() -> Check {
    let fd = create(c"/tmp/fwd/shared")?;
    let twin = works("dup", call(number::DUP, [fd]))?;
    write(fd, b"one ")?;
    write(twin, b"two")?;
    close(fd)?;
    is("lseek", call(number::LSEEK, [twin, 0, SEEK_SET]), 0)?;
    read(twin, b"one two")?;
    close(twin)
}

fn fcntl() -> Check {
    let fd = create(c"/tmp/fwd/flags")?;
    is("F_GETFD", call(number::FCNTL, [fd, F_GETFD]), 0)?;
    is("F_SETFD", call(number::FCNTL, [fd, F_SETFD, FD_CLOEXEC]), 0)?;
    is("F_GETFD", call(number::FCNTL, [fd, F_GETFD]), 1)?;
    is("F_SETFL", call(number::FCNTL, [fd, F_SETFL, O_APPEND]), 0)?;
    let flags = works("F_GETFL", call(number::FCNTL, [fd, F_GETFL]))?;
    is("O_APPEND", (flags & O_APPEND) as i64, O_APPEND as i64)?;
    is("F_DUPFD", call(number::FCNTL, [fd, F_DUPFD, 50]), 50)?;
    is("F_DUPFD", call(number::FCNTL, [fd, F_DUPFD, 50]), 51)?;
    is("no command", call(number::FCNTL, [fd, 12345]), EINVAL)?;
    is("nowhere", call(number::FCNTL, [99, F_GETFD]), EBADF)?;
    // Linux has such a call, but it is not forwarded.
    is("ioctl", call(number::IOCTL, [fd, 0, 0]), ENOSYS)?;
    [50, 51, fd].into_iter().try_for_each(close)
}

fn pipes() -> Check {
    let [from, to] = pipe()?;
    write(to, b"through")?;
    read(from, b"through")?;
    is(
        "read the wrong end",
        call(number::READ, [to, path(c""), 0]),
        EBADF,
    )?;
    close(to)?;
    let mut byte = [0];
    is(
        "read after the end",
        call(number::READ, [from, into(&mut byte), 1]),
        0,
    )?;
    close(from)?;
    let mut ends = [0_i32; 2];
    let flags = O_NONBLOCK | O_CLOEXEC;
    is("pipe2", call(number::PIPE2, [into(&mut ends), flags]), 0)?;
    let [from, to] = ends.map(|end| end as u64);
    is("its flag", call(number::FCNTL, [from, F_GETFD]), 1)?;
    let empty = call(number::READ, [from, into(&mut byte), 1]);
    is("read of an empty one", empty, -11)?;
    close(from)?;
    is(
        "write without reader",
        call(number::WRITE, [to, path(c"x"), 1]),
        EPIPE,
    )?;
    close(to)?;
    is(
        "bad flags",
        call(number::PIPE2, [into(&mut ends), u64::MAX]),
        EINVAL,
    )?;
    for address in BAD_ADDRESSES {
        is("to nowhere", call(number::PIPE, [address]), EFAULT)?;
    }
    Ok(())
}

/// Standard error is the console of this cell until it is something else, and again when it is put back.
fn standard_error() -> Check {
    in_child(|| {
        let fd = create(c"/tmp/fwd/stderr")?;
        let saved = works("dup", call(number::DUP, [2]))?;
        is("dup2", call(number::DUP2, [fd, 2]), 2)?;
        eprint!("to the file\n");
        is("dup2 back", call(number::DUP2, [saved, 2]), 2)?;
        eprint!("fwdtest: standard error is back\n");
        is("close", call(number::CLOSE, [2]), 0)?;
        is(
            "write to nothing",
            call(number::WRITE, [2, path(c"x"), 1]),
            EBADF,
        )?;
        is(
            "lowest number",
            call(number::OPEN, [path(c"/tmp/fwd/stderr"), O_RDONLY]),
            2,
        )?;
        read(2, b"to the file\n")?;
        is("at the end", call(number::LSEEK, [2, 0, SEEK_CUR]), 12)?;
        is("dup2 back", call(number::DUP2, [saved, 2]), 2)?;
        // Standard output becomes the console too.
        is("dup2 to 1", call(number::DUP2, [2, 1]), 1)?;
        nimbos_apps::print!("fwdtest: standard output is the console\n");
        in_child(|| {
            nimbos_apps::print!("fwdtest: and the child's\n");
            Ok(())
        })
    })
}
