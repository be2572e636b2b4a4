// SPDX-License-Identifier: MIT OR Apache-2.0
//! A receiver that is a kernel: NV is an ordinary interrupt, and the kernel clears ON and takes the requests itself, as
//! NimbOS does. Posts come at any time, also between the two steps.
//!
//! The client posts two vectors one after the other, and the next two only after the server has counted both.

use core::sync::atomic::{AtomicU64, Ordering};

use spin::Once;
use uintr::{UittEntry, ndst};

use super::{Failure, expect};
use crate::arch::{cpu, trap, uintr as user_interrupts};
use crate::boot::Boot;
use crate::channel::{Channel, Side};

const VECTORS: usize = 64;
const ROUNDS: u64 = 10_000;
const SENDS: u64 = 2 * ROUNDS;
/// Between two posts, in ticks: longer than the server takes for one.
const LONGEST_PAUSE: u64 = 1_500;
/// Notification vector of the server.
const NOTIFICATION: u8 = 0x29;
const PATIENCE_MS: u64 = 500;

static UITT: Once<[UittEntry; VECTORS]> = Once::new();

/// Runs the test.
pub fn run(boot: &Boot) -> Result<(), Failure> {
    let channel = Channel::first(boot).ok_or(Failure::NoChannel)?;
    let done = if channel.is_client() {
        client(boot, &channel)
    } else {
        server(boot, &channel)
    }?;
    report!("name=inbox sends_or_receipts={done}");
    expect("done", done as i64, SENDS as i64)
}

fn client(boot: &Boot, channel: &Channel) -> Result<u64, Failure> {
    let upid = (&raw const *channel.upid(Side::Peer, 0)).addr() as u64;
    let uitt = UITT.call_once(|| {
        core::array::from_fn(|vector| {
            // Slots are aligned and the vectors below 64.
            UittEntry::new(upid, vector as u8).unwrap_or(UittEntry::INVALID)
        })
    });
    user_interrupts::send_through(uitt);
    channel.set_ready(true);
    channel.await_peer();
    let sent = &channel.counters(Side::Own)[..VECTORS];
    let counted = &channel.counters(Side::Peer)[..VECTORS];
    let mut pause = 0;
    for round in 0..ROUNDS {
        // The second one of a pair meets the server while it takes the first, now at one step, now at another.
        let pair = [2 * round, 2 * round + 1].map(|number| number as usize % VECTORS);
        for vector in pair {
            sent[vector].fetch_add(1, Ordering::SeqCst);
            user_interrupts::send(vector);
            pause = (pause + 7) % LONGEST_PAUSE;
            cpu::delay(pause);
        }
        let is_counted = || pair.iter().all(|&v| read(&sent[v]) == read(&counted[v]));
        if !cpu::wait_until(boot.ticks(PATIENCE_MS), is_counted) {
            report!("name=inbox sent={} counted={}", total(sent), total(counted));
            return Err(Failure::Late("delivery-lost"));
        }
    }
    Ok(total(sent))
}

fn server(boot: &Boot, channel: &Channel) -> Result<u64, Failure> {
    let upid = channel.upid(Side::Own, 0);
    upid.reset();
    upid.init(NOTIFICATION, ndst(boot.first_cpu(), boot.is_x2apic()));
    channel.set_ready(true);
    let counters = &channel.counters(Side::Own)[..VECTORS];
    let sent = &channel.counters(Side::Peer)[..VECTORS];
    cpu::enable_interrupts();
    let mut seen = 0;
    while total(counters) < SENDS {
        let interrupts = trap::count(0, NOTIFICATION);
        if interrupts == seen {
            // The client says so when nothing comes any more.
            core::hint::spin_loop();
            continue;
        }
        seen = interrupts;
        let requests = upid.take_requests();
        for (vector, counter) in counters.iter().enumerate() {
            if requests >> vector & 1 != 0 {
                // Before it is counted: then the client goes on.
                let posted = read(&sent[vector]);
                let count = counter.fetch_add(1, Ordering::SeqCst) + 1;
                expect("exactly-once", count as i64, posted as i64)?;
            }
        }
    }
    cpu::disable_interrupts();
    Ok(total(counters))
}

fn total(counters: &[AtomicU64]) -> u64 {
    counters.iter().map(read).sum()
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::SeqCst)
}
