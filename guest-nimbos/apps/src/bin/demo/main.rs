// SPDX-License-Identifier: MIT OR Apache-2.0
//! Shows that forwarded system calls work and what they cost.
//!
//! First files: written, read back, compared, and the errors that must come. Then three measured phases: writes of one
//! byte, forwarded calls that do nothing, and for comparison calls that the kernel does itself. Then the first two again on the
//! user path, by a ring of the process's own, and writes of 64 KiB with and without copies. What is found is printed
//! on the cell's own console as lines `demo: key=value ...`; the last one is `demo: result=PASS` or `demo: result=FAIL
//! reason=...`. One line goes to the console of Linux.
#![no_std]
#![no_main]

mod data;
mod large;
mod phase;

use freestanding as _;
use nimbos_apps::file::{CREATE, File, READ_ONLY, READ_WRITE, TRUNCATE};
use nimbos_apps::system::{self, Error};
use nimbos_apps::{Arguments, channel, entry, eprint, print};
use phase::{CALLS, Exits, WARM_UP_CALLS, Way};

entry!(main);

/// Argument with which VM exits are reported and do not fail the demonstration.
const REPORT_EXITS: &str = "exits=report";

/// Why the demonstration failed: one word for the result line.
type Reason = &'static str;

fn main(arguments: Arguments) -> i32 {
    let exits = if (1..arguments.count()).any(|number| arguments.get(number) == Some(REPORT_EXITS))
    {
        Exits::AreReported
    } else {
        Exits::MustBeNone
    };
    match demonstrate(exits) {
        Ok(()) => {
            eprint!("demo: result=PASS\n");
            0
        }
        Err(reason) => {
            eprint!("demo: result=FAIL reason={reason}\n");
            1
        }
    }
}

fn demonstrate(exits: Exits) -> Result<(), Reason> {
    eprint!("demo: start_ms={}\n", system::time_ms());
    print!("demo: hello from NimbOS, by way of its shadow process\n");
    data::check()?;
    check_errors()?;

    let bytes = File::open(
        c"/tmp/demo-bytes.dat",
        CREATE | READ_WRITE | TRUNCATE,
        0o644,
    )
    .map_err(|_| "open-bytes")?;
    let mut samples = [0; CALLS];
    // Every phase is measured and printed, even after one that did not hold.
    let mut run = |name, way, call: &mut dyn FnMut() -> bool| {
        phase::run(name, way, &mut samples, exits, call)
    };
    let write = &mut || bytes.write(b"x") == Ok(1);
    let null = &mut || system::forward_null().is_ok();
    let writes = run("write1", Way::Kernel, write);
    let nulls = run("null", Way::Kernel, null);
    let local = run("getpid", Way::Kernel, &mut || system::process_id() > 0);
    channel::open().map_err(|_| "open-ring")?;
    let ring_writes = run("write1-ring", Way::Ring, write);
    let ring_nulls = run("null-ring", Way::Ring, null);
    large::compare()?;
    bytes.close().map_err(|_| "close-bytes")?;
    channel::close().map_err(|_| "close-ring")?;
    check_length()?;
    writes
        .and(nulls)
        .and(local)
        .and(ring_writes)
        .and(ring_nulls)
}

/// Checks that errors of both sides come back as they should.
fn check_errors() -> Result<(), Reason> {
    let missing = File::open(c"/tmp/there-is-no-such-file", READ_ONLY, 0);
    if missing != Err(Error::NO_ENTRY) {
        return Err("open-missing");
    }
    let file = File::open(c"/tmp/demo.dat", READ_WRITE, 0).map_err(|_| "open-again")?;
    file.close().map_err(|_| "close-again")?;
    if file.write(b"x") != Err(Error::BAD_FILE) {
        return Err("write-closed");
    }
    // An address of the kernel's, to the local console and to a forwarded file.
    const KERNEL_ADDRESS: u64 = 0x4210_0000;
    for fd in [1, 2] {
        if system::write_at(fd, KERNEL_ADDRESS, 1) != Err(Error::FAULT) {
            return Err("write-kernel-memory");
        }
    }
    eprint!("demo: errors=ok\n");
    Ok(())
}

/// Checks that every one-byte write has arrived.
fn check_length() -> Result<(), Reason> {
    let file = File::open(c"/tmp/demo-bytes.dat", READ_ONLY, 0).map_err(|_| "reopen-bytes")?;
    let mut piece = [0; 4096];
    let mut len = 0;
    loop {
        match file.read(&mut piece).map_err(|_| "read-bytes")? {
            0 => break,
            count if piece[..count].iter().any(|&byte| byte != b'x') => return Err("bytes-differ"),
            count => len += count,
        }
    }
    file.close().map_err(|_| "close-reopened-bytes")?;
    eprint!(
        "demo: bytes_written={len} bytes_expected={}\n",
        2 * (CALLS + WARM_UP_CALLS)
    );
    if len == 2 * (CALLS + WARM_UP_CALLS) {
        Ok(())
    } else {
        Err("bytes-length")
    }
}
