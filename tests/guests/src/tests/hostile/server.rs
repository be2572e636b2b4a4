// SPDX-License-Identifier: MIT OR Apache-2.0
//! A server that breaks the rules of the ring in the way that the option `how` says.

use core::sync::atomic::Ordering;

use forward_ring::opcode;
use spin::Once;
use uintr::UittEntry;

use super::super::Failure;
use crate::arch::cpu;
use crate::arch::uintr as user_interrupts;
use crate::boot::Boot;
use crate::channel::{Channel, Side};
use crate::ring::{Index, Ring, Session};

/// Answer to UintrInit: slot 0, user vector 0.
const SLOT_0: i64 = 0;
const RESERVED_BITS: u64 = 0xff00_fffc;
/// Rounds in which everything is written over.
const ROUNDS: u64 = 2000;
/// A client that asks nothing for so long has ended.
const PATIENCE_MS: u64 = 20_000;
/// What `accepts-late` takes.
const LATE_MS: u64 = 500;

/// The client's first UPID slot, user vector 0.
static UITT: Once<[UittEntry; 1]> = Once::new();

/// Serves for good.
pub fn run(boot: &Boot) -> Result<(), Failure> {
    let how = boot.options().text("how")?;
    let channel = Channel::first(boot).ok_or(Failure::NoChannel)?;
    let ring = Ring::new(channel);
    user_interrupts::send_through(UITT.call_once(|| {
        let upid = (&raw const *channel.upid(Side::Peer, 0)).addr() as u64;
        [UittEntry::new(upid, 0).unwrap_or(UittEntry::INVALID)]
    }));
    channel
        .raw_upid(Side::Own, 0)
        .control
        .store(0, Ordering::SeqCst);
    if how == "accepts-unasked" {
        // There seem to be completions already.
        ring.index(Index::CompletionTail).store(5, Ordering::SeqCst);
    }
    ring.announce();
    channel.set_ready(true);
    if how == "accepts-late" {
        cpu::delay(boot.ticks(LATE_MS));
    }
    let mut accepted = 0;
    while let Some((token, opcode)) = next_request(boot, &ring, how, &mut accepted) {
        if opcode == opcode::UINTR_INIT {
            answer_init(&ring, &channel, how, token);
        } else {
            break_rules(boot, &ring, &channel, how, token)?;
        }
    }
    report!("name=server how={how} done=true");
    cpu::halt_forever()
}

/// Waits for the next request, of this session or the next, and takes it; `None` if there is none for long.
fn next_request(boot: &Boot, ring: &Ring, how: &str, accepted: &mut u32) -> Option<(u32, u32)> {
    let start = cpu::tsc();
    while cpu::tsc() - start < boot.ticks(PATIENCE_MS) {
        if how == "accepts-unasked" {
            accept_unasked(ring, accepted);
        } else {
            ring.accept();
        }
        // A client that is just beginning a session sets its index: no request is announced by that.
        if ring.is_accepted()
            && let Some(request) = ring.next_request()
        {
            return Some(request);
        }
        core::hint::spin_loop();
    }
    None
}

/// Says that each client is accepted before it has greeted; `accepted` is the last one that has. It asks nothing before its
/// timer's next tick, so that nothing is lost by leaving out what came before.
fn accept_unasked(ring: &Ring, accepted: &mut u32) {
    let client = ring
        .session(Session::ClientGeneration)
        .load(Ordering::SeqCst);
    ring.session(Session::Accepted)
        .store(client, Ordering::SeqCst);
    if *accepted != client && ring.is_accepted() {
        let tail = ring.index(Index::RequestTail).load(Ordering::SeqCst);
        ring.index(Index::RequestHead).store(tail, Ordering::SeqCst);
        *accepted = client;
    }
}

fn answer_init(ring: &Ring, channel: &Channel, how: &str, token: u32) {
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

/// Completes a call and notifies the client.
fn complete(ring: &Ring, token: u32, result: i64) {
    ring.complete(token, result);
    user_interrupts::send(0);
}

fn break_rules(
    boot: &Boot,
    ring: &Ring,
    channel: &Channel,
    how: &'static str,
    token: u32,
) -> Result<(), Failure> {
    match how {
        "unknown-token" => complete(ring, token + 77, 0),
        "large-result" => complete(ring, token, i64::MAX),
        "least-result" => complete(ring, token, i64::MIN),
        "gone" | "accepts-late" | "accepts-unasked" => channel.set_ready(false),
        // The client would begin anew for each of its calls.
        "twice" => {
            ring.complete(token, 1);
            complete(ring, token, 1);
            channel.set_ready(false);
        }
        // It says that it is another one, and the next call is that one's.
        "begins-anew" => ring.announce(),
        "forges-client" => {
            let client = ring.session(Session::ClientGeneration);
            client.fetch_add(1, Ordering::SeqCst);
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
