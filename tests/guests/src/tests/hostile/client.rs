// SPDX-License-Identifier: MIT OR Apache-2.0
//! A client that breaks the rules of the ring, with a server that has to answer with errors, or to close the channel, and
//! to come back: three times, with other attacks each.

use core::sync::atomic::Ordering;

use uintr::{UittEntry, Upid, ndst};

use super::super::{Failure, expect};
use crate::arch::cpu;
use crate::arch::probe::raised_with;
use crate::arch::uintr as user_interrupts;
use crate::boot::Boot;
use crate::channel::{Channel, Side};
use crate::ring::{Index, Ring};

const READ: u32 = 0;
const WRITE: u32 = 1;
const OPEN: u32 = 2;
const CLOSE: u32 = 3;
const UINTR_INIT: u32 = 100;
const NULL: u32 = 101;
const COUNTERS: u32 = 102;
const HOSTILE: [u64; 8] = [
    31,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    1 << 32,
    1 << 63,
    u64::MAX - 1,
    u64::MAX,
];
const RESERVED_BITS: u64 = 0xff00_fffc;
/// Nobody's notifications: this cell polls.
const SUPPRESSED: u64 = 2;
const PATIENCE_MS: u64 = 1_000_000;

static OWN: Upid = Upid::new();

/// Runs the attacks.
pub fn run(boot: &Boot) -> Result<(), Failure> {
    let channel = Channel::first(boot).ok_or(Failure::NoChannel)?;
    let ring = Ring::new(channel);
    connect(boot, &channel, &ring)?;
    let answered = arguments(boot, &ring)?;
    report!("name=client attack=arguments answered={answered}");
    let dropped = tokens(boot, &ring)?;
    report!("name=client attack=tokens dropped={dropped}");
    ring.index(Index::RequestTail)
        .fetch_add(1000, Ordering::SeqCst);
    ring_doorbell();
    await_gone(boot, &channel)?;
    report!("name=client attack=index closed=true");

    mend(&ring);
    connect(boot, &channel, &ring)?;
    let own = channel.raw_upid(Side::Own, 0);
    own.control.store(RESERVED_BITS, Ordering::SeqCst);
    ring.submit(0, NULL, [0; 4]);
    ring_doorbell();
    await_gone(boot, &channel)?;
    report!("name=client attack=reserved-bits closed=true");

    own.control.store(SUPPRESSED, Ordering::SeqCst);
    mend(&ring);
    connect(boot, &channel, &ring)?;
    for seed in 0..64 {
        ring.scribble(seed);
        ring_doorbell();
    }
    await_gone(boot, &channel)?;
    report!("name=client attack=scribble closed=true");
    channel.set_ready(false);
    Ok(())
}

/// Waits for the server and exchanges slots, not before hostile ones.
fn connect(boot: &Boot, channel: &Channel, ring: &Ring) -> Result<(), Failure> {
    let own = channel.raw_upid(Side::Own, 0);
    own.control.store(SUPPRESSED, Ordering::SeqCst);
    channel.set_ready(true);
    if !cpu::wait_until(boot.ticks(PATIENCE_MS), || channel.is_peer_ready()) {
        return Err(Failure::Late("server"));
    }
    for (slot, vector) in [(32, 0), (0, 64), (u64::MAX, 0), (0, u64::MAX)] {
        let result = call(boot, ring, UINTR_INIT, [slot, vector, 0, 0])?;
        expect("init", i64::from(result < 0), 1)?;
    }
    let result = call(boot, ring, UINTR_INIT, [0, 0, 0, 0])?;
    expect("init-answer", i64::from(result >= 0), 1)?;
    let (slot, vector) = ((result & 0xff) as usize, (result >> 8 & 0x3f) as u8);
    let address = channel.raw_upid(Side::Peer, slot).address();
    let target = UittEntry::new(address, vector).unwrap_or(UittEntry::INVALID);
    user_interrupts::start(
        &OWN,
        ndst(boot.first_cpu(), boot.is_x2apic()),
        [target; user_interrupts::TARGETS],
    );
    Ok(())
}

fn ring_doorbell() {
    // A fault is the channel's, whose other end may be gone.
    raised_with(user_interrupts::send_to, 0);
}

/// Calls with one token and waits.
fn call(boot: &Boot, ring: &Ring, opcode: u32, arguments: [u64; 4]) -> Result<i64, Failure> {
    ring.submit(7, opcode, arguments);
    if opcode != UINTR_INIT {
        ring_doorbell();
    }
    let (token, result) = ring.next_completion(boot).ok_or(Failure::Late("answer"))?;
    expect("token", token.into(), 7)?;
    Ok(result)
}

/// Every call with hostile arguments: errors, and the server goes on.
fn arguments(boot: &Boot, ring: &Ring) -> Result<u32, Failure> {
    let mut answered = 0;
    for opcode in [
        READ,
        WRITE,
        OPEN,
        CLOSE,
        COUNTERS,
        4,
        59,
        61,
        99,
        103,
        u32::MAX,
    ] {
        for first in HOSTILE {
            for second in [0, 1 << 20, u64::MAX] {
                let result = call(boot, ring, opcode, [first, second, first, first])?;
                expect("refused", i64::from(result < 0), 1)?;
                answered += 1;
            }
        }
    }
    expect("null", call(boot, ring, NULL, [u64::MAX; 4])?, 0)?;
    Ok(answered)
}

/// Tokens that there are not are dropped; the next call is answered.
fn tokens(boot: &Boot, ring: &Ring) -> Result<u32, Failure> {
    let mut dropped = 0;
    for token in [32, 33, 0xff, 0x8000_0000, u32::MAX] {
        ring.submit(token, NULL, [0; 4]);
        expect("after-token", call(boot, ring, NULL, [0; 4])?, 0)?;
        dropped += 1;
    }
    Ok(dropped)
}

fn await_gone(boot: &Boot, channel: &Channel) -> Result<(), Failure> {
    if cpu::wait_until(boot.ticks(PATIENCE_MS), || !channel.is_peer_ready()) {
        Ok(())
    } else {
        Err(Failure::Late("end-of-server"))
    }
}

/// Makes the ring an empty one, as far as this side can.
fn mend(ring: &Ring) {
    for index in [
        Index::RequestTail,
        Index::RequestHead,
        Index::CompletionTail,
        Index::CompletionHead,
    ] {
        ring.index(index).store(0, Ordering::SeqCst);
    }
}
