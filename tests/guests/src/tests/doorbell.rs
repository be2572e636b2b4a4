// SPDX-License-Identifier: MIT OR Apache-2.0
//! A filtered doorbell in detail: posts that a busy receiver has not looked at yet, user vectors that are not allowed,
//! and the task priority, which the filter has to hand through.
//!
//! The client sends, with interrupts of the server's CPU disabled and then enabled; `server_vectors` of the channel
//! is to allow [`ALLOWED`] alone.

use forward_ring::{Call, Client};
use hv_abi::hypercall::stat;
use uintr::{UittEntry, ndst};

use super::{Failure, expect};
use crate::arch::apic::{Apic, FIXED, Target};
use crate::arch::{cpu, hypercall, trap, uintr as user_interrupts, user};
use crate::boot::Boot;
use crate::channel::{Channel, Side, Word};

/// User vector that the server may be sent.
const ALLOWED: u8 = 5;
const NOT_ALLOWED: u8 = 6;
/// Indices in the UITT.
const SEND_ALLOWED: usize = 0;
const SEND_NOT_ALLOWED: usize = 1;
/// Posts to a server that does not look.
const POSTS: i64 = 10;
/// Vector of priority class 5.
const VECTOR: u8 = 0x51;
/// What a round trip through the local APIC takes at most, in ticks.
const SETTLE: u64 = 10_000;

/// Phases of the server: interrupts disabled, then served.
const DEAF: u64 = 1;
const SERVED: u64 = 2;
/// Phases of the client.
const POSTED: u64 = 1;
const REFUSED: u64 = 2;

/// Runs the test.
pub fn run(boot: &Boot) -> Result<(), Failure> {
    let channel = Channel::first(boot).ok_or(Failure::NoChannel)?;
    let target = |vector| {
        let upid = (&raw const *channel.upid(Side::Peer, 0)).addr() as u64;
        // Slots are aligned and the vectors below 64.
        UittEntry::new(upid, vector).unwrap_or(UittEntry::INVALID)
    };
    user_interrupts::start(
        channel.upid(Side::Own, 0),
        ndst(boot.first_cpu(), boot.is_x2apic()),
        [target(ALLOWED), target(NOT_ALLOWED), UittEntry::INVALID],
    );
    task_priority(boot)?;
    channel.set_ready(true);
    channel.await_peer();
    if channel.is_client() {
        client(boot, &channel)
    } else {
        server(&channel)
    }
}

fn client(boot: &Boot, channel: &Channel) -> Result<(), Failure> {
    await_phase(channel, DEAF);
    let before = Counters::read(boot);
    for _ in 0..POSTS {
        user_interrupts::send(SEND_ALLOWED);
    }
    let posted = Counters::read(boot).since(&before);
    report!(
        "name=coalesced posts={POSTS} doorbells={} sent={} dropped={}",
        posted.doorbells,
        posted.sent,
        posted.dropped
    );
    burst(boot, channel)?;
    set_phase(channel, POSTED);
    await_phase(channel, SERVED);
    expect("sent", posted.sent, 1)?;
    expect("dropped", posted.dropped, 0)?;

    let before = Counters::read(boot);
    for _ in 0..POSTS {
        user_interrupts::send(SEND_NOT_ALLOWED);
    }
    let refused = Counters::read(boot).since(&before);
    report!(
        "name=refused posts={POSTS} doorbells={} sent={} dropped={}",
        refused.doorbells,
        refused.sent,
        refused.dropped
    );
    set_phase(channel, REFUSED);
    expect("sent", refused.sent, 0)?;
    expect("dropped", refused.dropped, POSTS)
}

/// Calls of a client that keeps the ring's protocol, to a server that does not look: one exit for all of them.
fn burst(boot: &Boot, channel: &Channel) -> Result<(), Failure> {
    let mut ring = Client::new(channel.mapped_ring().ok_or(Failure::NoChannel)?);
    let before = Counters::read(boot);
    for _ in 0..POSTS {
        let token = ring.reserve().map_err(|_| Failure::Late("token"))?;
        if ring.submit(token, &Call::Null.encode()).notify {
            user_interrupts::send(SEND_ALLOWED);
        }
    }
    let burst = Counters::read(boot).since(&before);
    report!("name=burst calls={POSTS} doorbells={}", burst.doorbells);
    expect("doorbells", burst.doorbells, 1)
}

fn server(channel: &Channel) -> Result<(), Failure> {
    cpu::disable_interrupts();
    set_phase(channel, DEAF);
    await_phase(channel, POSTED);
    let upid = channel.upid(Side::Own, 0);
    expect("requests", upid.requests() as i64, 1 << ALLOWED)?;
    // In user mode interrupts are enabled.
    user::run(take_delivery);
    expect("delivered", user_interrupts::delivered() as i64, 1)?;
    set_phase(channel, SERVED);
    await_phase(channel, REFUSED);
    cpu::delay(SETTLE);
    let outstanding = i64::from(upid.is_outstanding());
    report!(
        "name=received requests={:#x} outstanding={outstanding} delivered={}",
        upid.requests(),
        user_interrupts::delivered()
    );
    expect("requests", upid.requests() as i64, 0)?;
    expect("outstanding", outstanding, 0)?;
    expect("delivered", user_interrupts::delivered() as i64, 1)
}

/// Server, in user mode.
extern "C" fn take_delivery() {
    user_interrupts::enable(true);
    while user_interrupts::delivered() == 0 {
        core::hint::spin_loop();
    }
}

/// CR8 holds interrupts of its class and below back, and only those.
fn task_priority(boot: &Boot) -> Result<(), Failure> {
    let send = |apic: Apic| apic.send(Target::Id(boot.first_cpu()), FIXED | u32::from(VECTOR));
    let apic = Apic::new(boot.is_x2apic());
    let taken = || i64::from(trap::count(0, VECTOR));
    let class = u64::from(VECTOR >> 4);
    cpu::enable_interrupts();
    cpu::write_cr8(class);
    expect("cr8", cpu::read_cr8() as i64, class as i64)?;
    expect("tpr", i64::from(apic.task_priority()), (class << 4) as i64)?;
    send(apic);
    cpu::delay(SETTLE);
    expect("masked", taken(), 0)?;
    cpu::write_cr8(class - 1);
    if !cpu::wait_until(SETTLE, || taken() == 1) {
        return Err(Failure::Late("unmasked"));
    }
    apic.set_task_priority(0xf0);
    expect("cr8", cpu::read_cr8() as i64, 15)?;
    send(apic);
    cpu::delay(SETTLE);
    expect("masked", taken(), 1)?;
    cpu::write_cr8(0);
    if !cpu::wait_until(SETTLE, || taken() == 2) {
        return Err(Failure::Late("unmasked"));
    }
    report!("name=task-priority interrupts={}", taken());
    Ok(())
}

/// Counters of the hypervisor for this CPU.
struct Counters {
    doorbells: i64,
    sent: i64,
    dropped: i64,
}

impl Counters {
    fn read(boot: &Boot) -> Self {
        let count = |class| hypercall::count(boot.first_cpu(), class);
        Self {
            doorbells: count(stat::DOORBELL),
            sent: count(stat::NOTIFICATIONS_SENT),
            dropped: count(stat::NOTIFICATIONS_DROPPED),
        }
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            doorbells: self.doorbells - before.doorbells,
            sent: self.sent - before.sent,
            dropped: self.dropped - before.dropped,
        }
    }
}

fn set_phase(channel: &Channel, phase: u64) {
    channel
        .word(Side::Own, Word::Phase)
        .store(phase, core::sync::atomic::Ordering::SeqCst);
}

fn await_phase(channel: &Channel, phase: u64) {
    let word = channel.word(Side::Peer, Word::Phase);
    while word.load(core::sync::atomic::Ordering::SeqCst) < phase {
        core::hint::spin_loop();
    }
}
