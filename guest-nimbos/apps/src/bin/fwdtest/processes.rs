// SPDX-License-Identifier: MIT OR Apache-2.0
//! Files of processes: shared by a fork, closed by an exec and by an end. And programs of the Linux cell.

use core::ffi::CStr;

use nimbos_apps::Arguments;
use nimbos_apps::system::{self, Error, Fork};

use crate::Test;
use crate::check::{Check, call, in_child, into, is, path, works};
use crate::files::{close, create, pipe, read, write};
use crate::linux::*;

/// The tests.
pub const TESTS: &[Test] = &[
    ("fork-shares-files", fork_shares),
    ("exit-closes-files", exit_closes),
    ("exec-closes-some", exec_closes),
    ("exec-from-linux", exec_from_linux),
    ("exec-from-linux-refused", exec_refused),
];

/// Argument with which this program looks at its descriptors.
const LOOK: &str = "look";
/// Status of a program that found what it should.
const FOUND: i32 = 42;

/// Does what a test wants of a program that was executed; returns the status.
pub fn help(arguments: Arguments) -> Option<i32> {
    if arguments.get(1) != Some(LOOK) {
        return None;
    }
    let flags = |number: u64| call(number::FCNTL, [number, F_GETFD]);
    let is_right = flags(60) == 0 && flags(61) == EBADF && flags(62) == EBADF;
    Some(if is_right { FOUND } else { 1 })
}

fn fork_shares() -> Check {
    let fd = create(c"/tmp/fwd/forked")?;
    in_child(|| {
        write(fd, b"child ")?;
        close(fd)
    })?;
    write(fd, b"parent")?;
    is("lseek", call(number::LSEEK, [fd, 0, SEEK_SET]), 0)?;
    read(fd, b"child parent")?;
    // What a child opens is its own.
    in_child(|| close(create(c"/tmp/fwd/own")?))?;
    in_child(|| create(c"/tmp/fwd/own").map(drop))?;
    let next = create(c"/tmp/fwd/own")?;
    is("the parent's next number", next as i64, fd as i64 + 1)?;
    close(next)?;
    close(fd)
}

/// The last one that can write into a pipe has ended: its reader comes to the end.
fn exit_closes() -> Check {
    let [from, to] = pipe()?;
    let child = match system::fork()? {
        Fork::Child => {
            let written = write(to, b"last words");
            system::exit(i32::from(written.is_err()))
        }
        Fork::Parent { child } => child,
    };
    close(to)?;
    read(from, b"last words")?;
    let mut byte = [0];
    is(
        "at the end",
        call(number::READ, [from, into(&mut byte), 1]),
        0,
    )?;
    let (_, status) = system::wait(child)?;
    is("status", status.into(), 0)?;
    close(from)
}

/// Runs this program, which looks at descriptors 60 to 62; returns its status.
fn run(program: &CStr) -> Result<i32, crate::check::Failure> {
    match system::fork()? {
        Fork::Child => {
            let Error(code) = system::exec(program, &[program, c"look"]);
            system::exit(-code as i32)
        }
        Fork::Parent { child } => Ok(system::wait(child)?.1),
    }
}

fn look_with(program: &CStr) -> Check {
    in_child(|| {
        let fd = create(c"/tmp/fwd/executed")?;
        is("dup2", call(number::DUP2, [fd, 60]), 60)?;
        is("dup3", call(number::DUP3, [fd, 61, O_CLOEXEC]), 61)?;
        is("dup2", call(number::DUP2, [fd, 62]), 62)?;
        is("F_SETFD", call(number::FCNTL, [62, F_SETFD, FD_CLOEXEC]), 0)?;
        is("the program's verdict", run(program)?.into(), FOUND.into())?;
        // This process has them all still.
        [60, 61, 62].into_iter().try_for_each(close)
    })
}

fn exec_closes() -> Check {
    look_with(c"fwdtest")
}

/// A program of the Linux cell runs and ends.
pub fn exec_one() -> Check {
    in_child(|| is("the program's verdict", run(c"/bin/fwdtest")?.into(), 1))
}

fn exec_from_linux() -> Check {
    look_with(c"/bin/fwdtest")
}

fn exec_refused() -> Check {
    for (program, expected) in [
        (c"/bin/there-is-none", ENOENT),
        (c"/bin/fwdtest/below-a-file", ENOTDIR),
        (c"/init", ENOEXEC),
        // A file that nobody may execute, and one that is none, as Linux has it.
        (c"/isthmus.ko", EACCES),
        (c"/tmp", EACCES),
    ] {
        let Error(code) = system::exec(program, &[]);
        is("exec", code, expected)?;
    }
    // Nothing stays open.
    let fd = create(c"/tmp/fwd/after-exec")?;
    let next = works("dup", call(number::DUP, [fd]))?;
    is("next number", next as i64, fd as i64 + 1)?;
    is(
        "unlink",
        call(number::UNLINK, [path(c"/tmp/fwd/after-exec")]),
        0,
    )?;
    close(next)?;
    close(fd)
}
