// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pipes, within a thread and between two processes.

use core::time::Duration;

use nimbos_apps::file::{self, File};
use nimbos_apps::{Error, process, time};

use crate::worker::{Kind, Worker, Wrong};

/// Less than a pipe holds.
const MAX_LEN: usize = 8 << 10;
/// Longest time for which a reader waits, in microseconds.
const MAX_WAIT: u64 = 20_000;

/// Writes to a pipe and reads it back.
pub fn within(worker: &mut Worker) -> Result<(), Wrong> {
    worker.begin(Kind::Pipe);
    let (from, to) = worker.call("pipe", file::pipe)?;
    let mut sent = [0; MAX_LEN];
    let len = worker.random.usize(1..MAX_LEN + 1);
    worker.random.fill(&mut sent[..len]);
    worker.call("write", || to.write_all(&sent[..len]))?;
    let copy = worker.call("dup", || to.duplicate())?;
    worker.call("close", || to.close())?;
    worker.call("write", || copy.write_all(b"end"))?;
    let mut received = [0; MAX_LEN];
    let count = worker.call("read", || from.read_full(&mut received[..len]))?;
    worker.check("length", count == len)?;
    worker.check("bytes", received[..len] == sent[..len])?;
    let count = worker.call("read", || from.read(&mut received))?;
    worker.check("end", received[..count] == *b"end")?;
    worker.call("close", || copy.close())?;
    worker.refused("lseek", Error::NO_SEEK, || {
        from.seek(file::SeekFrom::Start(0))
    })?;
    worker.call("close", || from.close())
}

/// Reads from a pipe to which another process writes after a while.
pub fn between(worker: &mut Worker) -> Result<(), Wrong> {
    worker.begin(Kind::Pipe);
    let (from, to) = worker.call("pipe", file::pipe)?;
    let wait = Duration::from_micros(worker.random.u64(0..MAX_WAIT));
    let value = worker.random.u64(..);
    let child = worker.call("fork", || process::run(|| write_late(to, wait, value)))?;
    worker.call("close", || to.close())?;
    let mut bytes = [0; 8];
    let count = worker.call("read", || from.read_full(&mut bytes))?;
    worker.check("bytes", count == 8 && u64::from_le_bytes(bytes) == value)?;
    // The end comes when nobody can write any more.
    let status = worker.call("waitpid", || process::wait(child))?;
    worker.check("status", status.is_success())?;
    let count = worker.call("read", || from.read(&mut bytes))?;
    worker.check("end", count == 0)?;
    worker.call("close", || from.close())
}

fn write_late(to: File, wait: Duration, value: u64) -> i32 {
    let written = time::sleep(wait).and_then(|()| to.write_all(&value.to_le_bytes()));
    i32::from(written.is_err())
}
