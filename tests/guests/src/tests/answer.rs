// SPDX-License-Identifier: MIT OR Apache-2.0
//! The neighbour: answers what the other side of its channel asks, and says again and again that it is alive.
//!
//! A line counts what the neighbour noticed of others: `interrupts`, VM exits that it did not cause (`exits`), state that
//! is not as it left it (`changed`). With the option `posts=N` it posts N times a line to the other side, and says how often
//! that faulted (`faults`).
//!
//! `peer_phase` is what the other side has last written of how far it is.
//!
//! `peer` in these lines goes from `none` to `ready` to `gone`. A line with `gone` was printed after the hypervisor had
//! taken the other side off the channel: after it was stopped.

use core::fmt;
use core::sync::atomic::Ordering;

use hv_abi::hypercall::{CPU_GET_INFO, CPU_STAT_BASE, stat};
use uintr::{UittEntry, Upid, ndst};

use super::Failure;
use crate::arch::apic::Apic;
use crate::arch::probe::{Raised, raised_with};
use crate::arch::state::{self, State};
use crate::arch::{cpu, hypercall, trap, uintr as user_interrupts};
use crate::boot::Boot;
use crate::channel::{Channel, Side, Word};

/// Time between two lines.
const BEAT_MS: u64 = 10;

/// What is known of the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    None,
    Ready,
    Gone,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Ready => "ready",
            Self::Gone => "gone",
        })
    }
}

/// Runs for good.
pub fn run(boot: &Boot) -> Result<(), Failure> {
    let channel = Channel::first(boot);
    if let Some(channel) = &channel {
        channel.set_ready(true);
    }
    cpu::enable_interrupts();
    let poster = boot.options().number("posts").ok().zip(channel);
    if let Some((_, channel)) = &poster {
        start_posting(boot, channel);
    }
    state::mark();
    let apic = Apic::new(boot.is_x2apic());
    let first_state = State::read(apic);
    let first_exits = stat(boot, stat::TOTAL);
    let mut peer = Peer::None;
    for beat in 1_u64.. {
        let start = cpu::tsc();
        while cpu::tsc() - start < boot.ticks(BEAT_MS) {
            if let Some(channel) = &channel {
                answer(channel);
                peer = next(peer, channel.is_peer_ready());
            }
        }
        let answered = channel.map_or(0, |c| {
            c.word(Side::Own, Word::Answer).load(Ordering::SeqCst)
        });
        let phase = channel.map_or(0, |c| {
            c.word(Side::Peer, Word::Phase).load(Ordering::SeqCst)
        });
        let faults = poster.as_ref().map_or(0, |(posts, _)| post(*posts));
        // Each look at the counters is an exit, and counted; so is each notification that is checked.
        let doorbells = stat(boot, stat::DOORBELL);
        let exits = stat(boot, stat::TOTAL) - first_exits - 2 * beat.cast_signed() - doorbells;
        report!(
            "alive={beat} peer={peer} answered={answered} interrupts={} exits={exits} changed={} faults={faults} \
             peer_phase={phase}",
            trap::count_all(0),
            first_state.changes(&State::read(apic))
        );
    }
    Ok(())
}

fn stat(boot: &Boot, class: u64) -> i64 {
    hypercall::call(
        CPU_GET_INFO,
        u64::from(boot.first_cpu()),
        CPU_STAT_BASE + class,
    )
}

/// Makes ready to post to the other side; notifications of its own are not awaited.
fn start_posting(boot: &Boot, channel: &Channel) {
    static OWN: Upid = Upid::new();
    let peer = channel.raw_upid(Side::Peer, 0).address();
    let target = UittEntry::new(peer, 1).unwrap_or(UittEntry::INVALID);
    let own = ndst(boot.first_cpu(), boot.is_x2apic());
    user_interrupts::start(&OWN, own, [target; user_interrupts::TARGETS]);
}

/// Posts so often; returns how many posts faulted.
fn post(times: u64) -> u64 {
    let faulted = |_: &u64| raised_with(user_interrupts::send_to, 0) != Raised::Nothing;
    (0..times).filter(faulted).count() as u64
}

fn answer(channel: &Channel) {
    let question = channel
        .word(Side::Peer, Word::Question)
        .load(Ordering::SeqCst);
    channel
        .word(Side::Own, Word::Answer)
        .store(question, Ordering::SeqCst);
}

fn next(peer: Peer, is_ready: bool) -> Peer {
    match (peer, is_ready) {
        (_, true) => Peer::Ready,
        (Peer::None, false) => Peer::None,
        (_, false) => Peer::Gone,
    }
}
