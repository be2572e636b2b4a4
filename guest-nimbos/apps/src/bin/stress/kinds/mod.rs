// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a thread does of each kind.

mod files;
mod pipes;
mod processes;
mod sockets;

use core::time::Duration;

use nimbos_apps::{process, system, time};

use crate::worker::{Kind, Worker, Wrong};
use files::Contents;
use sockets::Port;

/// Longest sleep, in microseconds.
const MAX_SLEEP: u64 = 20_000;

/// Makes calls of all kinds while `goes_on` says so.
pub fn run(worker: &mut Worker, goes_on: impl Fn() -> bool) {
    // What is wrong has been counted; without its file or its port a thread does the rest.
    let mut contents = Contents::create(worker).ok();
    let port = Port::open(worker).ok();
    while goes_on() {
        // Likewise: the next round shows whether more is wrong.
        let _ = round(worker, contents.as_mut(), port.as_ref());
    }
    let _ = contents.map_or(Ok(()), |contents| contents.remove(worker));
    let _ = port.map_or(Ok(()), |port| port.close(worker));
}

fn round(
    worker: &mut Worker,
    contents: Option<&mut Contents>,
    port: Option<&Port>,
) -> Result<(), Wrong> {
    // The dearer ones less often, so that all get a good part of the time.
    match worker.random.u32(0..64) {
        0..16 => null(worker),
        16..24 => local(worker),
        24..40 => contents.map_or(Ok(()), |contents| contents.change(worker)),
        40..46 => files::names(worker),
        46..53 => pipes::within(worker),
        53..55 => pipes::between(worker),
        55..59 => port.map_or(Ok(()), |port| port.exchange(worker)),
        59..61 => processes::run(worker),
        61..63 => processes::kill(worker),
        _ => sleep(worker),
    }
}

fn null(worker: &mut Worker) -> Result<(), Wrong> {
    worker.begin(Kind::Null);
    worker.call("null", system::forward_null)
}

fn local(worker: &mut Worker) -> Result<(), Wrong> {
    worker.begin(Kind::Local);
    let before = worker.call("time", time::now)?;
    let own = worker.call("getpid", || Ok(system::process_id() as u32))?;
    worker.call("yield", || {
        system::yield_now();
        Ok(())
    })?;
    let thread = worker.call("gettid", || Ok(system::thread_id() as u32))?;
    // A thread that is not the first has a number of its own.
    worker.check("gettid", thread != own)?;
    worker.call("kill 0", || process::kill(own, 0))?;
    let after = worker.call("time", time::now)?;
    worker.check("time", before <= after)
}

fn sleep(worker: &mut Worker) -> Result<(), Wrong> {
    worker.begin(Kind::Sleep);
    let asked = Duration::from_micros(worker.random.u64(0..MAX_SLEEP));
    let before = worker.call("time", time::now)?;
    worker.call("nanosleep", || time::sleep(asked))?;
    let after = worker.call("time", time::now)?;
    worker.check("nanosleep", after - before >= asked)?;
    let bad = nimbos_apps::abi::TimeSpec {
        seconds: 0,
        nanoseconds: u64::MAX,
    };
    worker.refused("nanosleep", nimbos_apps::Error::INVALID, || {
        system::sleep(bad)
    })
}
