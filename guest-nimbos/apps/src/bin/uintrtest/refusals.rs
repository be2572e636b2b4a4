// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the kernel refuses.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nimbos_apps::interrupt::Sender;
use nimbos_apps::system::uintr;
use nimbos_apps::{Error, interrupt, process, system};

use crate::{
    Reason, allow_all, child, ensure, handler, reap, receive, refused, sender, this_thread,
};

/// Most receivers at a time.
const RECEIVERS: u64 = 32;
/// Targets of a process: entry 0 of a table is the kernel's.
const TARGETS: usize = 63;

/// Arguments that are none.
pub fn arguments() -> Result<(), Reason> {
    let address = (handler as *const ()).addr() as u64;
    let before = [
        (uintr::unregister_handler(), Error::INVALID),
        (uintr::wait(None), Error::INVALID),
        (uintr::allow(1, 1), Error::INVALID),
        (
            uintr::register_sender(this_thread(), 1).map(drop),
            Error::INVALID,
        ),
        (uintr::register_handler_at(0, 128, 0), Error::FAULT),
        (
            uintr::register_handler_at(0x4210_0000, 128, 0),
            Error::FAULT,
        ),
        (uintr::register_handler_at(1 << 63, 128, 0), Error::FAULT),
        (uintr::register_handler_at(address, 128, 2), Error::INVALID),
        (
            uintr::register_handler_at(address, 1 << 56, 0),
            Error::INVALID,
        ),
        (
            uintr::register_handler_at(address, u64::MAX, 0),
            Error::INVALID,
        ),
    ];
    for (result, error) in before {
        refused(result, error, "before there is a handler")?;
    }
    receive()?;
    let after = [
        (uintr::register_handler_at(address, 128, 0), Error::BUSY),
        (uintr::allow(64, 1), Error::INVALID),
        (uintr::allow(1, 1 << 32), Error::INVALID),
        (uintr::unregister_sender(0), Error::INVALID),
        (uintr::unregister_sender(1), Error::INVALID),
        (uintr::unregister_sender(64), Error::INVALID),
        (uintr::unregister_sender(u64::MAX), Error::INVALID),
        (
            uintr::register_sender(this_thread(), 64).map(drop),
            Error::INVALID,
        ),
        (
            uintr::register_sender(this_thread(), u64::MAX).map(drop),
            Error::INVALID,
        ),
        (
            uintr::register_sender(u32::MAX, 1).map(drop),
            Error::NO_PROCESS,
        ),
    ];
    for (result, error) in after {
        refused(result, error, "with a handler")?;
    }
    foreigners()
}

/// Only who was allowed to may become a sender.
fn foreigners() -> Result<(), Reason> {
    let receiver = this_thread();
    let try_vectors = |expected: [bool; 2]| {
        reap(child(|| {
            for (vector, is_allowed) in (1..).zip(expected) {
                match Sender::new(receiver, vector) {
                    Ok(_) if is_allowed => {}
                    Err(Error::ACCESS) if !is_allowed => {}
                    _ => return Err("allowed to the wrong one"),
                }
            }
            Ok(())
        })?)
    };
    try_vectors([false, false])?;
    interrupt::allow(2, u64::MAX).map_err(|_| "allow")?;
    try_vectors([false, true])?;
    // A process of another number.
    interrupt::allow(2, 1).map_err(|_| "allow")?;
    try_vectors([false, false])?;
    allow_all()?;
    try_vectors([true, true])
}

static REGISTERED: AtomicU64 = AtomicU64::new(0);
static REFUSED: AtomicU64 = AtomicU64::new(0);
static IS_OVER: AtomicBool = AtomicBool::new(false);

/// More receivers and more targets than there are places.
pub fn exhaustion() -> Result<(), Reason> {
    const EXTRA: u64 = 4;
    let many = child(|| {
        for _ in 0..RECEIVERS + EXTRA {
            process::spawn_thread(register, 0).map_err(|_| "spawn_thread")?;
        }
        let counts = || [&REGISTERED, &REFUSED].map(|count| count.load(Ordering::Acquire));
        while counts().iter().sum::<u64>() < RECEIVERS + EXTRA {
            system::yield_now();
        }
        ensure(
            counts() == [RECEIVERS, EXTRA],
            "another number of receivers",
        )?;
        IS_OVER.store(true, Ordering::Release);
        Ok(())
    })?;
    reap(many)?;
    receive()?;
    for _ in 0..2 {
        let senders: [Option<Sender>; TARGETS] =
            core::array::from_fn(|_| sender(this_thread(), 0).ok());
        ensure(senders.iter().all(Option::is_some), "too few targets")?;
        refused(
            Sender::new(this_thread(), 0),
            Error::BUSY,
            "too many targets",
        )?;
    }
    Ok(())
}

fn register(_: usize) {
    let address = (handler as *const ()).addr() as u64;
    let count = match uintr::register_handler_at(address, 128, 0) {
        Ok(()) => &REGISTERED,
        Err(Error::BUSY) => &REFUSED,
        Err(_) => system::exit(1),
    };
    count.fetch_add(1, Ordering::Release);
    while !IS_OVER.load(Ordering::Acquire) {
        system::yield_now();
    }
}
