// SPDX-License-Identifier: MIT OR Apache-2.0
//! User interrupts between two cells: round trips with their cost, and priority. Sending is no VM exit where the channel
//! is direct and one where it is filtered; receiving never is one.
//!
//! The client sends and waits, the server answers each delivery. Then the server holds delivery back while the client
//! posts a low and a high vector: the high one has to come first.

use core::sync::atomic::{AtomicU32, Ordering};

use spin::Once;
use test_guests::Summary;
use uintr::{UittEntry, ndst};

use super::{Failure, expect};
use crate::arch::{cpu, hypercall, uintr as user_interrupts, user};
use crate::boot::Boot;
use crate::channel::{Channel, Side, Word};

const ROUNDS: usize = 10_000;
const PING: u8 = 5;
const LOW: u8 = 3;
const HIGH: u8 = 40;
/// Indices in the UITT.
const SEND_PING: usize = 0;
const SEND_LOW: usize = 1;
const SEND_HIGH: usize = 2;

/// [`Word::Phase`]: the server holds delivery back.
const HELD_BACK: u64 = 1;
/// [`Word::Phase`]: the client has posted both.
const POSTED: u64 = 2;

static CHANNEL: Once<Channel> = Once::new();
static SAMPLES: [AtomicU32; ROUNDS] = [const { AtomicU32::new(0) }; ROUNDS];

/// What had been delivered to the server while delivery was held back.
static HELD: AtomicU32 = AtomicU32::new(0);

/// Runs the test.
pub fn run(boot: &Boot) -> Result<(), Failure> {
    let channel = Channel::first(boot).ok_or(Failure::NoChannel)?;
    CHANNEL.call_once(|| channel);
    let target = |vector| {
        let upid = (&raw const *channel.upid(Side::Peer, 0)).addr() as u64;
        // Slots are aligned and the vectors below 64.
        UittEntry::new(upid, vector).unwrap_or(UittEntry::INVALID)
    };
    let apic_id = boot.first_cpu();
    user_interrupts::start(
        channel.upid(Side::Own, 0),
        ndst(apic_id, boot.is_x2apic()),
        [target(PING), target(LOW), target(HIGH)],
    );
    channel.set_ready(true);
    channel.await_peer();

    let is_client = channel.is_client();
    let before = hypercall::total_exits(apic_id);
    user::run(if is_client { client } else { server });
    let after = hypercall::total_exits(apic_id);
    // The call itself is an exit, and counted.
    let exits = after - before - 1;
    report_rounds(is_client, exits);
    let sent = if is_client { ROUNDS + 2 } else { ROUNDS };
    let wanted = if channel.is_filtered() { sent } else { 0 };
    expect("exits", exits, wanted as i64)?;
    let wanted = if is_client { ROUNDS } else { ROUNDS + 2 };
    expect(
        "delivered",
        user_interrupts::delivered() as i64,
        wanted as i64,
    )?;
    if !is_client {
        check_priority()?;
    }
    Ok(())
}

/// Client, in user mode.
extern "C" fn client() {
    let Some(channel) = CHANNEL.get() else { return };
    user_interrupts::enable(true);
    for (round, sample) in (1..).zip(&SAMPLES) {
        let start = cpu::tsc();
        user_interrupts::send(SEND_PING);
        await_delivered(round);
        let ticks = u32::try_from(cpu::tsc() - start).unwrap_or(u32::MAX);
        sample.store(ticks, Ordering::Relaxed);
    }
    await_phase(channel, HELD_BACK);
    user_interrupts::send(SEND_LOW);
    user_interrupts::send(SEND_HIGH);
    channel
        .word(Side::Own, Word::Phase)
        .store(POSTED, Ordering::SeqCst);
}

/// Server, in user mode.
extern "C" fn server() {
    let Some(channel) = CHANNEL.get() else { return };
    user_interrupts::enable(true);
    for round in 1..=ROUNDS as u64 {
        await_delivered(round);
        user_interrupts::send(SEND_PING);
    }
    user_interrupts::enable(false);
    channel
        .word(Side::Own, Word::Phase)
        .store(HELD_BACK, Ordering::SeqCst);
    await_phase(channel, POSTED);
    // Both notifications have been processed once nothing is posted or outstanding.
    let upid = channel.upid(Side::Own, 0);
    while upid.requests() != 0 || upid.is_outstanding() {
        core::hint::spin_loop();
    }
    HELD.store(user_interrupts::delivered() as u32, Ordering::SeqCst);
    user_interrupts::enable(true);
    await_delivered(ROUNDS as u64 + 2);
}

fn check_priority() -> Result<(), Failure> {
    let first = user_interrupts::delivered_vector(ROUNDS as u64);
    let second = user_interrupts::delivered_vector(ROUNDS as u64 + 1);
    let held = HELD.load(Ordering::SeqCst);
    report!("name=priority held={held} first={first} second={second}");
    expect("held", i64::from(held), ROUNDS as i64)?;
    expect("first", i64::from(first), i64::from(HIGH))?;
    expect("second", i64::from(second), i64::from(LOW))
}

fn report_rounds(is_client: bool, exits: i64) {
    if !is_client {
        report!("name=pingpong role=server rounds={ROUNDS} exits={exits}");
        return;
    }
    let mut samples = [0; ROUNDS];
    for (to, from) in samples.iter_mut().zip(&SAMPLES) {
        *to = from.load(Ordering::Relaxed);
    }
    if let Some(Summary { min, median, p99 }) = Summary::of(&mut samples) {
        report!(
            "name=pingpong role=client rounds={ROUNDS} min={min} median={median} p99={p99} exits={exits}"
        );
    }
}

fn await_delivered(count: u64) {
    while user_interrupts::delivered() < count {
        core::hint::spin_loop();
    }
}

fn await_phase(channel: &Channel, phase: u64) {
    let word = channel.word(Side::Peer, Word::Phase);
    while word.load(Ordering::SeqCst) != phase {
        core::hint::spin_loop();
    }
}
