// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls by a ring.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nimbos_apps::channel::Lent;
use nimbos_apps::file::{self, CREATE, File, READ_ONLY, READ_WRITE, SeekFrom, Status, TRUNCATE};
use nimbos_apps::{Error, alarm_handler, channel, interrupt, process, system};

use crate::{Reason, child, ensure, null, open, reap, refused, until};

/// Buffers of a ring.
const BUFFERS: usize = 32;
const LARGE: usize = 64 << 10;

/// The same functions, results and errors as on the kernel path, and none by the kernel.
pub fn calls() -> Result<(), Reason> {
    let by_kernel = || system::counter(nimbos_apps::abi::counter::SENT).map_err(|_| "counter");
    open()?;
    let before = by_kernel()?;
    let (sent, received) = (channel::sent(), channel::received());
    for _ in 0..2 {
        files()?;
    }
    ensure(by_kernel()? == before, "a call by the kernel")?;
    let calls = channel::sent() - sent;
    ensure(calls > 30, "too few by the ring")?;
    until("an answer without notification", || {
        channel::received() - received == calls
    })?;
    channel::close().map_err(|_| "close")?;
    files()?;
    ensure(by_kernel()? > before, "none by the kernel")?;
    ensure(channel::sent() == sent + calls, "by the ring")
}

fn files() -> Result<(), Reason> {
    let text = b"written by way of a ring";
    let name = c"/tmp/ring-file";
    let file = File::open(name, CREATE | READ_WRITE | TRUNCATE, 0o640).map_err(|_| "open")?;
    ensure(file.write(text) == Ok(text.len()), "write")?;
    ensure(file.write_at(b"W", 0) == Ok(1), "pwrite")?;
    ensure(file.seek(SeekFrom::Start(8)) == Ok(8), "lseek")?;
    let mut piece = [0; 6];
    ensure(
        file.read(&mut piece) == Ok(6) && &piece == b"by way",
        "read",
    )?;
    ensure(
        file.read_at(&mut piece, 1) == Ok(6) && &piece == b"ritten",
        "pread",
    )?;
    let status = file.status().map_err(|_| "fstat")?;
    ensure(status.len == text.len() as u64, "size")?;
    file.sync().map_err(|_| "fsync")?;
    file.truncate(20).map_err(|_| "ftruncate")?;
    ensure(
        Status::of(name).is_ok_and(|status| status.len == 20),
        "stat",
    )?;
    refused(
        File::open(c"/tmp/none", READ_ONLY, 0),
        Error::NO_ENTRY,
        "open of nothing",
    )?;
    refused(
        system::files::remove(c"/tmp/none"),
        Error::NO_ENTRY,
        "unlink of nothing",
    )?;
    refused(
        File::from_descriptor(77).write(b"x"),
        Error::BAD_FILE,
        "write to nothing",
    )?;
    system::files::rename(name, c"/tmp/ring-kept").map_err(|_| "rename")?;
    let (from, to) = file::pipe().map_err(|_| "pipe")?;
    ensure(to.write(b"through") == Ok(7), "write to a pipe")?;
    ensure(
        from.read(&mut piece) == Ok(6) && &piece == b"throug",
        "read of a pipe",
    )?;
    for open in [file, from, to] {
        open.close().map_err(|_| "close")?;
    }
    Ok(())
}

/// A call that waits in Linux: the thread sleeps, and the answer wakes it.
pub fn blocking() -> Result<(), Reason> {
    let (from, to) = file::pipe().map_err(|_| "pipe")?;
    let writer = child(|| {
        for round in 0..5 {
            system::sleep_ms(50).map_err(|_| "sleep")?;
            ensure(to.write(&[round]) == Ok(1), "write")?;
        }
        Ok(())
    })?;
    open()?;
    for round in 0..5 {
        let mut byte = [0xff];
        ensure(from.read(&mut byte) == Ok(1), "read")?;
        ensure(byte == [round], "another byte")?;
    }
    reap(writer)
}

/// A buffer of the ring is what a call reads and writes; Linux has the file's last word.
pub fn in_place() -> Result<(), Reason> {
    refused(Lent::new(), Error::INVALID, "lent on the kernel path")?;
    open()?;
    let flags = CREATE | READ_WRITE | TRUNCATE;
    let file = File::open(c"/tmp/ring-large", flags, 0o644).map_err(|_| "open")?;
    let mut lent = Lent::new().map_err(|_| "lend")?;
    ensure(size_of_val(lent.words()) >= LARGE, "too short")?;
    for word in lent.words() {
        word.store(u64::from_le_bytes(*b"in place"), Ordering::Relaxed);
    }
    ensure(
        lent.write_to(file.descriptor(), LARGE) == Ok(LARGE),
        "write",
    )?;
    for word in lent.words() {
        word.store(0, Ordering::Relaxed);
    }
    file.seek(SeekFrom::Start(0)).map_err(|_| "lseek")?;
    ensure(
        lent.read_from(file.descriptor(), LARGE) == Ok(LARGE),
        "read",
    )?;
    let words = &lent.words()[..LARGE / 8];
    let is_read = |word: u64| word.to_le_bytes() == *b"in place";
    ensure(
        words
            .iter()
            .all(|word| is_read(word.load(Ordering::Relaxed))),
        "another content",
    )?;
    refused(lent.write_to(77, 1), Error::BAD_FILE, "write to nothing")?;
    drop(lent);
    // Twice, to see that all come back; one is kept for calls.
    for _ in 0..2 {
        let all: [Option<Lent>; BUFFERS - 1] = core::array::from_fn(|_| Lent::new().ok());
        ensure(all.iter().all(Option::is_some), "too few buffers")?;
        refused(Lent::new(), Error::AGAIN, "too many buffers")?;
        null()?;
    }
    let mut stale = Lent::new().map_err(|_| "lend")?;
    channel::close().map_err(|_| "close")?;
    open()?;
    refused(
        stale.write_to(file.descriptor(), 1),
        Error::INVALID,
        "a buffer of the ring before",
    )
}

static IS_OVER: AtomicBool = AtomicBool::new(false);

/// Calls of other threads go by the kernel, at the same time.
pub fn threads() -> Result<(), Reason> {
    open()?;
    process::spawn_thread(
        |_| {
            let sent = channel::sent();
            let all = (0..100).all(|_| system::process_id() > 0 && system::forward_null().is_ok());
            // The first thread makes none meanwhile.
            if !all || channel::sent() != sent {
                system::exit(1);
            }
            IS_OVER.store(true, Ordering::Release);
        },
        0,
    )
    .map_err(|_| "spawn_thread")?;
    while !IS_OVER.load(Ordering::Acquire) {
        system::yield_now();
    }
    for _ in 0..100 {
        null()?;
    }
    Ok(())
}

/// Files that alarms have looked at, and those that they could not.
static LOOKED_AT: AtomicU64 = AtomicU64::new(0);
static FAILED: AtomicU64 = AtomicU64::new(0);

alarm_handler!(alarm, on_alarm);

fn on_alarm() {
    for _ in 0..3 {
        match Status::of(c"/tmp/ring-kept") {
            Ok(_) => LOOKED_AT.fetch_add(1, Ordering::Relaxed),
            Err(_) => FAILED.fetch_add(1, Ordering::Relaxed),
        };
    }
}

/// Handlers make calls too, also in the midst of others.
pub fn handlers() -> Result<(), Reason> {
    const TIMES: u64 = 60;
    open()?;
    let flags = CREATE | READ_WRITE | TRUNCATE;
    let file = File::open(c"/tmp/ring-bytes", flags, 0o644).map_err(|_| "open")?;
    // SAFETY: the handler makes calls, and changes counters.
    unsafe { interrupt::set_alarm(1, alarm) }.map_err(|_| "sigalarm")?;
    let mut written = 0;
    while LOOKED_AT.load(Ordering::Relaxed) < TIMES {
        ensure(file.write(b"x") == Ok(1), "write")?;
        written += 1;
        system::forward_null().map_err(|_| "null call")?;
    }
    interrupt::stop_alarm().map_err(|_| "sigalarm(0, 0)")?;
    ensure(
        FAILED.load(Ordering::Relaxed) == 0,
        "a handler's call failed",
    )?;
    ensure(channel::is_open(), "the ring was given up")?;
    let status = file.status().map_err(|_| "fstat")?;
    ensure(status.len == written, "not as many bytes as were written")?;
    null()
}

/// The server is killed: the call under way fails, the path is the kernel's, and the next server gives another ring.
pub fn lost() -> Result<(), Reason> {
    open()?;
    null()?;
    File::create(c"/tmp/ring-struck")
        .and_then(File::close)
        .map_err(|_| "create")?;
    let error = loop {
        if let Err(error) = system::forward_null() {
            break error;
        }
    };
    ensure(error == Error::IO, "another error")?;
    ensure(!channel::is_open(), "still by the ring")?;
    until("another server", || system::forward_null().is_ok())?;
    open()?;
    null()
}
