// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whose a ring is.

use core::ffi::CStr;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nimbos_apps::abi::{RingInfo, SIGSEGV, STATUS_SIGNAL};
use nimbos_apps::interrupt::RED_ZONE;
use nimbos_apps::process::{self, ExitStatus};
use nimbos_apps::system::uintr;
use nimbos_apps::{Error, channel, interrupt, system};

use crate::{Reason, child, ensure, handler, null, open, reap, refused, until, word};

/// Rings of processes that a channel of 16 MiB has.
const RINGS: usize = 3;
const VECTOR: u64 = 5;
/// Where a ring's requests begin that its page of control has; see the layout in docs/interfaces.md.
const REQUESTS: u64 = 0x800;

const FAULTED: ExitStatus = ExitStatus(STATUS_SIGNAL + SIGSEGV);

/// Becomes a receiver that the server can post to.
fn receive() -> Result<(), Reason> {
    // SAFETY: the handler changes one counter, and preserves all registers.
    unsafe { uintr::register_channel_handler(handler, RED_ZONE) }.map_err(|_| "register_handler")
}

/// Asks for a ring without the library, as a receiver.
fn ask() -> Result<RingInfo, Reason> {
    let mut info = Err("no ring");
    until("no ring", || {
        info = uintr::ring_open(VECTOR).map_err(|_| "no ring");
        info.is_ok()
    })?;
    info
}

/// What the kernel refuses.
pub fn arguments() -> Result<(), Reason> {
    refused(uintr::ring_open(VECTOR), Error::INVALID, "no handler")?;
    refused(uintr::ring_close(), Error::INVALID, "no ring to close")?;
    // SAFETY: as in `receive`.
    unsafe { uintr::register_handler(handler, RED_ZONE) }.map_err(|_| "register_handler")?;
    refused(
        uintr::ring_open(VECTOR),
        Error::INVALID,
        "a handler that the server cannot reach",
    )?;
    interrupt::unregister_handler().map_err(|_| "unregister_handler")?;
    receive()?;
    refused(uintr::ring_open(64), Error::INVALID, "no such vector")?;
    for address in [0x1000, 0x4210_0000, 0xffff_8000_0000_0000] {
        refused(
            uintr::ring_open_at(address, VECTOR),
            Error::FAULT,
            "a bad address",
        )?;
    }
    ask()?;
    refused(uintr::ring_open(VECTOR), Error::BUSY, "a second ring")?;
    refused(channel::open(), Error::BUSY, "a second ring by the library")?;
    process::spawn_thread(
        |_| {
            if uintr::ring_close() != Err(Error::INVALID) {
                system::exit(1);
            }
            IS_READY.store(true, Ordering::Release);
        },
        0,
    )
    .map_err(|_| "spawn_thread")?;
    while !IS_READY.load(Ordering::Acquire) {
        system::yield_now();
    }
    uintr::ring_close().map_err(|_| "ring_close")?;
    refused(uintr::ring_close(), Error::INVALID, "closed twice")
}

static IS_READY: AtomicBool = AtomicBool::new(false);

/// A child has no ring, but can have one beside its parent's.
pub fn fork() -> Result<(), Reason> {
    open()?;
    let other = child(|| {
        ensure(!channel::is_open(), "the parent's ring")?;
        system::forward_null().map_err(|_| "null call by the kernel")?;
        open()?;
        (0..100).try_for_each(|_| null())
    })?;
    (0..100).try_for_each(|_| null())?;
    reap(other)
}

/// More processes than rings; the next one gets that of one that ends.
pub fn exhaustion() -> Result<(), Reason> {
    let mut owners = [0; RINGS];
    for owner in &mut owners {
        let (from, to) = nimbos_apps::file::pipe().map_err(|_| "pipe")?;
        *owner = child(|| {
            open()?;
            to.write(b"x").map_err(|_| "write")?;
            loop {
                null()?;
            }
        })?;
        ensure(from.read(&mut [0]) == Ok(1), "it has none")?;
    }
    refused(channel::open(), Error::BUSY, "a fourth ring")?;
    for owner in owners {
        process::kill(owner, 9).map_err(|_| "kill")?;
        ensure(process::wait(owner) == Ok(ExitStatus::KILLED), "its end")?;
        open()?;
        null()?;
        channel::close().map_err(|_| "close")?;
    }
    Ok(())
}

/// A ring comes back however its owner ends.
pub fn given_back() -> Result<(), Reason> {
    const ENDS: [fn() -> Result<(), Reason>; 4] = [
        || channel::close().map_err(|_| "close"),
        || Ok(()),
        || {
            let arguments: [&CStr; 2] = [c"ringtest", c"executed"];
            process::execute(c"ringtest", arguments.into_iter());
            Err("exec")
        },
        || interrupt::unregister_handler().map_err(|_| "unregister_handler"),
    ];
    for round in 0..20 {
        let end = ENDS[round % ENDS.len()];
        reap(child(|| {
            open()?;
            null()?;
            end()
        })?)?;
    }
    // One that is killed while it asks for a ring.
    for _ in 0..10 {
        let asking = child(|| {
            loop {
                open()?;
                channel::close().map_err(|_| "close")?;
            }
        })?;
        system::sleep_ms(3).map_err(|_| "sleep")?;
        process::kill(asking, 9).map_err(|_| "kill")?;
        ensure(process::wait(asking) == Ok(ExitStatus::KILLED), "its end")?;
    }
    open()?;
    null()
}

static RING: AtomicU64 = AtomicU64::new(0);

/// A thread that still writes to a ring that another one gives back, on another CPU if there is one, faults.
pub fn taken_away() -> Result<(), Reason> {
    for _ in 0..5 {
        let faulting = child(|| {
            receive()?;
            let ring = ask()?;
            RING.store(ring.address + REQUESTS, Ordering::Release);
            process::spawn_thread(
                |_| {
                    loop {
                        // SAFETY: memory of the ring, as long as that is mapped.
                        unsafe { word(RING.load(Ordering::Acquire)) }
                            .fetch_add(1, Ordering::Relaxed);
                        IS_READY.store(true, Ordering::Release);
                    }
                },
                0,
            )
            .map_err(|_| "spawn_thread")?;
            while !IS_READY.load(Ordering::Acquire) {
                system::yield_now();
            }
            uintr::ring_close().map_err(|_| "ring_close")?;
            loop {
                system::yield_now();
            }
        })?;
        ensure(process::wait(faulting) == Ok(FAULTED), "no fault")?;
        open()?;
        null()?;
        channel::close().map_err(|_| "close")?;
    }
    Ok(())
}

/// A process writes nonsense into its ring: nobody else notices.
pub fn spoilt() -> Result<(), Reason> {
    open()?;
    for offset in [0_u64, 0xc0, 0x40, 0x80] {
        let (from, to) = nimbos_apps::file::pipe().map_err(|_| "pipe")?;
        let spoiling = child(|| {
            receive()?;
            let ring = ask()?;
            // SAFETY: a word of the ring's page of control; nobody but the server has to do with it.
            let index = unsafe { word(ring.address + offset) };
            for value in [0x1000_0000, 33, 1] {
                index.fetch_add(value, Ordering::Relaxed);
                // SAFETY: the kernel has given the index.
                unsafe { core::arch::asm!("senduipi {}", in(reg) ring.index, options(nostack)) };
                to.write(b"x").map_err(|_| "write by the kernel")?;
            }
            loop {
                system::yield_now();
            }
        })?;
        for _ in 0..3 {
            ensure(from.read(&mut [0]) == Ok(1), "read")?;
            null()?;
        }
        process::kill(spoiling, 9).map_err(|_| "kill")?;
        ensure(process::wait(spoiling) == Ok(ExitStatus::KILLED), "its end")?;
        for file in [from, to] {
            file.close().map_err(|_| "close")?;
        }
    }
    (0..100).try_for_each(|_| null())
}
