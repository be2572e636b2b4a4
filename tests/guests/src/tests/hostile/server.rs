// SPDX-License-Identifier: MIT OR Apache-2.0
//! A server that breaks the rules of the ring in the way that the option `how` says.

use core::sync::atomic::Ordering;

use super::super::Failure;
use crate::arch::cpu;
use crate::boot::Boot;
use crate::channel::{Channel, Side};
use crate::ring::{Index, Ring};

const UINTR_INIT: u32 = 100;
/// Answer to UintrInit: slot 0, user vector 0.
const SLOT_0: i64 = 0;
const RESERVED_BITS: u64 = 0xff00_fffc;
/// Rounds in which everything is written over.
const ROUNDS: u64 = 2000;

/// Serves for good.
pub fn run(boot: &Boot) -> Result<(), Failure> {
    let how = boot.options().text("how")?;
    let channel = Channel::first(boot).ok_or(Failure::NoChannel)?;
    let ring = Ring::new(channel);
    channel
        .raw_upid(Side::Own, 0)
        .control
        .store(0, Ordering::SeqCst);
    channel.set_ready(true);
    while let Some((token, opcode)) = ring.next_request(boot) {
        if opcode == UINTR_INIT {
            greet(&ring, &channel, how, token);
        } else {
            break_rules(boot, &ring, &channel, how, token)?;
        }
    }
    report!("name=server how={how} done=true");
    cpu::halt_forever()
}

fn greet(ring: &Ring, channel: &Channel, how: &str, token: u32) {
    match how {
        "bad-partner" => ring.complete(token, 200),
        "corrupt-index" => {
            let tail = ring.index(Index::CompletionTail);
            tail.store(1000, Ordering::SeqCst);
        }
        "reserved-bits" => {
            let upid = channel.raw_upid(Side::Own, 0);
            upid.control.store(RESERVED_BITS, Ordering::SeqCst);
            ring.complete(token, SLOT_0);
        }
        _ => ring.complete(token, SLOT_0),
    }
}

fn break_rules(
    boot: &Boot,
    ring: &Ring,
    channel: &Channel,
    how: &'static str,
    token: u32,
) -> Result<(), Failure> {
    match how {
        "unknown-token" => ring.complete(token + 77, 0),
        "large-result" => ring.complete(token, i64::MAX),
        "least-result" => ring.complete(token, i64::MIN),
        "gone" => channel.set_ready(false),
        "twice" => {
            ring.complete(token, 1);
            ring.complete(token, 1);
        }
        "scribble" => {
            for round in 0..ROUNDS {
                ring.scribble(round);
                cpu::delay(boot.ticks(1) / 16);
            }
            channel.set_ready(false);
        }
        // These come before.
        "bad-partner" | "corrupt-index" | "reserved-bits" => {}
        other => return Err(Failure::UnknownTest(other)),
    }
    Ok(())
}
