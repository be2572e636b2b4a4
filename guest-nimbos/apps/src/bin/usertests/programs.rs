// SPDX-License-Identifier: MIT OR Apache-2.0
//! exec from the archive.

use core::ffi::CStr;

use nimbos_apps::system::{self, Error};

use crate::Test;
use crate::check::{BAD_ADDRESSES, Check, Failure, ensure, status_of, thread};
use crate::helper::AS_EXPECTED;

/// The tests.
pub const TESTS: &[Test] = &[
    ("exec-arguments", exec_arguments),
    ("exec-without-arguments", exec_without_arguments),
    ("exec-refused", exec_refused),
    ("exec-ends-threads", exec_ends_threads),
];

fn exec(path: &CStr, arguments: &[&CStr]) -> i32 {
    system::exec(path, arguments).0 as i32
}

fn exec_arguments() -> Check {
    let arguments = [c"a name", c"--three-arguments", c"one", c"", c"three"];
    let status = status_of(|| exec(c"usertests", &arguments))?;
    ensure(status == AS_EXPECTED, "the arguments did not arrive")
}

/// Without arguments a program gets its path: this one would run all tests again, so it is another.
fn exec_without_arguments() -> Check {
    ensure(status_of(|| exec(c"hello", &[]))? == 0, "hello failed")
}

fn exec_refused() -> Check {
    let long = [b'x'; 9000];
    let text = |bytes: &[u8]| bytes.as_ptr().expose_provenance() as u64;
    let name = text(b"hello\0");
    for address in BAD_ADDRESSES {
        ensure(system::exec_at(address, 0) == Error::FAULT, "a bad path")?;
        if address != 0 {
            let result = system::exec_at(name, address);
            ensure(result == Error::FAULT, "bad arguments")?;
            let arguments = [name, address, 0];
            let result = system::exec_at(name, arguments.as_ptr().expose_provenance() as u64);
            ensure(result == Error::FAULT, "a bad argument")?;
        }
    }
    for path in [&b"nothing\0"[..], b"hello2\0", b"\0", b"\xff\xfe\0"] {
        ensure(
            system::exec_at(text(path), 0) == Error::NO_ENTRY,
            "a missing program",
        )?;
    }
    ensure(
        system::exec_at(text(&long), 0) == Error::NAME_TOO_LONG,
        "a path without an end",
    )?;
    let arguments = [name, text(&long), 0];
    let result = system::exec_at(name, text_of(&arguments));
    ensure(result == Error::TOO_BIG, "an argument that is too long")?;
    let result = system::exec_at(name, text_of(&[name; 300]));
    ensure(result == Error::TOO_BIG, "too many arguments")
}

fn text_of(words: &[u64]) -> u64 {
    words.as_ptr().expose_provenance() as u64
}

extern "C" fn sleep(_: usize) -> ! {
    loop {
        let _ = system::sleep_ms(1_000_000);
    }
}

extern "C" fn spin(_: usize) -> ! {
    loop {
        core::hint::spin_loop();
    }
}

extern "C" fn become_another(_: usize) -> ! {
    let result = system::exec(c"usertests", &[c"usertests", c"--alone"]);
    system::exit(result.0 as i32)
}

/// A thread that is not the first becomes another program; the others end, what they do matters not.
fn exec_ends_threads() -> Check {
    let works = || {
        let started = || -> Result<(), Failure> {
            thread(sleep, 0)?;
            thread(spin, 0)?;
            thread(become_another, 0)?;
            Ok(())
        };
        match started() {
            Ok(()) => loop {
                core::hint::spin_loop();
            },
            Err(_) => 1,
        }
    };
    ensure(
        status_of(works)? == AS_EXPECTED,
        "exec in a process with threads",
    )
}
