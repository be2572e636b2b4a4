// SPDX-License-Identifier: MIT OR Apache-2.0
//! Directories and names.

use core::ffi::CStr;

use crate::Test;
use crate::check::{BAD_ADDRESSES, Check, call, holds, in_child, into, is, path, works};
use crate::files::{close, create, read, write};
use crate::linux::*;

/// The tests.
pub const TESTS: &[Test] = &[
    ("mkdir-rmdir", mkdir_rmdir),
    ("unlink-rename", unlink_rename),
    ("getdents64", getdents),
    ("chdir-getcwd", chdir_getcwd),
    ("left-behind", left_behind),
];

fn mkdir_rmdir() -> Check {
    let name = path(c"/tmp/fwd/dir");
    is("mkdir", call(number::MKDIR, [name, 0o755]), 0)?;
    is("mkdir again", call(number::MKDIR, [name, 0o755]), EEXIST)?;
    let inner = path(c"/tmp/fwd/dir/inner");
    close(create(c"/tmp/fwd/dir/inner")?)?;
    is(
        "mkdir in a file",
        call(number::MKDIR, [path(c"/tmp/fwd/dir/inner/x"), 0o755]),
        ENOTDIR,
    )?;
    is("rmdir of a file", call(number::RMDIR, [inner]), ENOTDIR)?;
    is(
        "rmdir of a full one",
        call(number::RMDIR, [name]),
        ENOTEMPTY,
    )?;
    is(
        "unlink of a directory",
        call(number::UNLINK, [name]),
        EISDIR,
    )?;
    is("unlink", call(number::UNLINK, [inner]), 0)?;
    is("rmdir", call(number::RMDIR, [name]), 0)?;
    is("rmdir again", call(number::RMDIR, [name]), ENOENT)?;
    let stays = path(c"/tmp/fwd/stays");
    is("mkdir", call(number::MKDIR, [stays, 0o755]), 0)?;
    for address in BAD_ADDRESSES {
        is(
            "mkdir nowhere",
            call(number::MKDIR, [address, 0o755]),
            EFAULT,
        )?;
        is("rmdir nowhere", call(number::RMDIR, [address]), EFAULT)?;
    }
    Ok(())
}

fn unlink_rename() -> Check {
    let (old, new) = (path(c"/tmp/fwd/old"), path(c"/tmp/fwd/new"));
    let fd = create(c"/tmp/fwd/old")?;
    write(fd, b"moved")?;
    is("rename", call(number::RENAME, [old, new]), 0)?;
    is("rename again", call(number::RENAME, [old, new]), ENOENT)?;
    let moved = works("open", call(number::OPEN, [new, O_RDONLY]))?;
    read(moved, b"moved")?;
    is("unlink", call(number::UNLINK, [new]), 0)?;
    is("unlink again", call(number::UNLINK, [new]), ENOENT)?;
    // It is there for who has it open.
    is("lseek", call(number::LSEEK, [moved, 0, SEEK_SET]), 0)?;
    read(moved, b"moved")?;
    for address in BAD_ADDRESSES {
        is("unlink nowhere", call(number::UNLINK, [address]), EFAULT)?;
        is(
            "rename nowhere",
            call(number::RENAME, [address, new]),
            EFAULT,
        )?;
        is(
            "rename to nowhere",
            call(number::RENAME, [new, address]),
            EFAULT,
        )?;
    }
    close(moved)?;
    close(fd)
}

fn getdents() -> Check {
    is(
        "mkdir",
        call(number::MKDIR, [path(c"/tmp/fwd/list"), 0o755]),
        0,
    )?;
    let names: [&CStr; 3] = [
        c"/tmp/fwd/list/one",
        c"/tmp/fwd/list/two",
        c"/tmp/fwd/list/three",
    ];
    for name in names {
        close(create(name)?)?;
    }
    let flags = O_RDONLY | O_DIRECTORY;
    let fd = works("open", call(number::OPEN, [path(c"/tmp/fwd/list"), flags]))?;
    let mut entries = [0_u8; 512];
    let (mut count, mut seen) = (0, 0);
    loop {
        let len = call(number::GETDENTS64, [fd, into(&mut entries), 512]);
        let len = works("getdents64", len)? as usize;
        if len == 0 {
            break;
        }
        let mut at = 0;
        while at < len {
            let record = usize::from(u16::from_le_bytes([entries[at + 16], entries[at + 17]]));
            let name = CStr::from_bytes_until_nul(&entries[at + 19..at + record]);
            let name = name.map_or(&b""[..], CStr::to_bytes);
            seen += usize::from([&b"one"[..], b"two", b"three"].contains(&name));
            count += 1;
            at += record;
        }
    }
    is("entries with . and ..", count, 5)?;
    holds("all names", seen == 3)?;
    let small = call(number::GETDENTS64, [fd, into(&mut entries), 2]);
    holds("no room", small == EINVAL || small == 0)?;
    for address in BAD_ADDRESSES {
        is(
            "to nowhere",
            call(number::GETDENTS64, [fd, address, 512]),
            EFAULT,
        )?;
    }
    close(fd)?;
    let file = create(c"/tmp/fwd/list/one")?;
    let no_directory = call(number::GETDENTS64, [file, into(&mut entries), 512]);
    is("of a file", no_directory, ENOTDIR)?;
    close(file)?;
    for name in names {
        is("unlink", call(number::UNLINK, [path(name)]), 0)?;
    }
    is("rmdir", call(number::RMDIR, [path(c"/tmp/fwd/list")]), 0)
}

fn where_it_is(expected: &CStr) -> Check {
    let mut name = [0xff_u8; 64];
    let len = call(number::GETCWD, [into(&mut name), 64]);
    let expected = expected.to_bytes_with_nul();
    is("length of getcwd", len, expected.len() as i64)?;
    holds("getcwd", name.starts_with(expected))
}

/// In a child: the directory is the process's own.
fn chdir_getcwd() -> Check {
    let mut name = [0_u8; 64];
    let before = works("getcwd", call(number::GETCWD, [into(&mut name), 64]))?;
    in_child(|| {
        is("chdir", call(number::CHDIR, [path(c"/tmp/fwd")]), 0)?;
        where_it_is(c"/tmp/fwd")?;
        close(create(c"beside")?)?;
        in_child(|| where_it_is(c"/tmp/fwd"))?;
        is(
            "unlink",
            call(number::UNLINK, [path(c"/tmp/fwd/beside")]),
            0,
        )?;
        is(
            "chdir to a file",
            call(number::CHDIR, [path(c"/tmp/fwd/data")]),
            ENOTDIR,
        )?;
        is(
            "chdir nowhere",
            call(number::CHDIR, [path(c"there/is/none")]),
            ENOENT,
        )?;
        is("chdir up", call(number::CHDIR, [path(c"..")]), 0)?;
        where_it_is(c"/tmp")?;
        let mut small = [0_u8; 3];
        is(
            "no room",
            call(number::GETCWD, [into(&mut small), 3]),
            ERANGE,
        )?;
        for address in BAD_ADDRESSES {
            is(
                "chdir to a bad address",
                call(number::CHDIR, [address]),
                EFAULT,
            )?;
            is(
                "getcwd to a bad address",
                call(number::GETCWD, [address, 64]),
                EFAULT,
            )?;
        }
        Ok(())
    })?;
    let mut after = [0_u8; 64];
    let len = call(number::GETCWD, [into(&mut after), 64]);
    is("the parent's is as it was", len, before as i64)?;
    holds("and the same", name == after)
}

/// What Linux looks at afterwards.
fn left_behind() -> Check {
    let fd = create(c"/tmp/fwd/kept")?;
    write(fd, b"kept by fwdtest\n")?;
    close(fd)?;
    let fd = create(c"/tmp/fwd/before")?;
    write(fd, b"renamed by fwdtest\n")?;
    close(fd)?;
    let (old, new) = (path(c"/tmp/fwd/before"), path(c"/tmp/fwd/after"));
    is("rename", call(number::RENAME, [old, new]), 0)
}
