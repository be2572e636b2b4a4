// SPDX-License-Identifier: MIT OR Apache-2.0
//! The neighbour: answers what the other side of its channel asks, and says again and again that it is alive.
//!
//! `peer` in these lines goes from `none` to `ready` to `gone`. A line with `gone` was printed after the hypervisor had
//! taken the other side off the channel: after it was stopped.

use core::fmt;
use core::sync::atomic::Ordering;

use super::Failure;
use crate::arch::{cpu, trap};
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
        report!(
            "alive={beat} peer={peer} answered={answered} interrupts={}",
            trap::count_all(0)
        );
    }
    Ok(())
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
