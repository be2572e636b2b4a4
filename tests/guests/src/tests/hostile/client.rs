// SPDX-License-Identifier: MIT OR Apache-2.0
//! A client that breaks the rules of the ring, with a server that has to answer with errors, or to close the channel, and
//! to come back: three times, with other attacks each.

use core::sync::atomic::Ordering;

use forward_ring::{Call, Message, opcode};
use uintr::{UittEntry, Upid, ndst};

use super::super::{Failure, expect};
use crate::arch::cpu;
use crate::arch::probe::raised_with;
use crate::arch::uintr as user_interrupts;
use crate::boot::Boot;
use crate::channel::{Channel, Side};
use crate::ring::{Index, Ring, Session};

/// Calls that every hostile argument makes an error: those of Linux that take a descriptor, a path or data, those of the
/// client's own that name something, and numbers of no call.
const REFUSED: [u32; 34] = [
    opcode::READ,
    opcode::WRITE,
    opcode::OPEN,
    opcode::CLOSE,
    // stat, fstat, lseek, pread64, pwrite64
    4,
    5,
    8,
    17,
    18,
    // dup, connect, accept, sendto, recvfrom, bind, listen
    32,
    42,
    43,
    44,
    45,
    49,
    50,
    // fcntl, fsync, ftruncate, mkdir, unlink, getdents64, openat, dup3
    72,
    74,
    77,
    83,
    87,
    217,
    257,
    292,
    opcode::COUNTERS,
    opcode::RING_OPEN,
    opcode::RING_CLOSE,
    // Not forwarded.
    9,
    56,
    61,
    99,
    106,
    294,
    u32::MAX,
];
/// As a C int, a descriptor that there is not.
const HOSTILE: [u64; 8] = [
    31,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    1 << 32 | 31,
    1 << 63 | 31,
    u64::MAX - 1,
    u64::MAX,
];
const RESERVED_BITS: u64 = 0xff00_fffc;
/// Nobody's notifications: this cell polls.
const SUPPRESSED: u64 = 2;
const PATIENCE_MS: u64 = 1_000_000;
/// Sessions that end in the middle of a call.
const SESSIONS: u32 = 5;
/// Status that the server is to end with.
const STATUS: i32 = 1;

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
    sessions(boot, &channel, &ring)?;
    report!("name=client attack=sessions begun={SESSIONS}");
    ring.index(Index::RequestTail)
        .fetch_add(1000, Ordering::SeqCst);
    ring_doorbell();
    await_gone(boot, &channel)?;
    report!("name=client attack=index closed=true");

    connect(boot, &channel, &ring)?;
    let own = channel.raw_upid(Side::Own, 0);
    own.control.store(RESERVED_BITS, Ordering::SeqCst);
    ring.submit(0, &Call::Null.encode());
    ring_doorbell();
    await_gone(boot, &channel)?;
    report!("name=client attack=reserved-bits closed=true");

    own.control.store(SUPPRESSED, Ordering::SeqCst);
    connect(boot, &channel, &ring)?;
    for seed in 0..64 {
        ring.scribble(seed);
        ring_doorbell();
    }
    // The session's words too: the server may take that for a client that has begun anew, and wait for it.
    if begin_session(boot, &channel, &ring) {
        connect_notifications(boot, &channel, &ring)?;
        expect("null", call(boot, &ring, &Call::Null.encode())?, 0)?;
        let end = Call::End { status: STATUS };
        expect("end", call(boot, &ring, &end.encode())?, 0)?;
    }
    await_gone(boot, &channel)?;
    report!("name=client attack=scribble closed=true");
    channel.set_ready(false);
    Ok(())
}

/// Waits for the server, begins a session, and exchanges slots.
fn connect(boot: &Boot, channel: &Channel, ring: &Ring) -> Result<(), Failure> {
    let own = channel.raw_upid(Side::Own, 0);
    own.control.store(SUPPRESSED, Ordering::SeqCst);
    channel.set_ready(true);
    if !cpu::wait_until(boot.ticks(PATIENCE_MS), || channel.is_peer_ready()) {
        return Err(Failure::Late("server"));
    }
    if !begin_session(boot, channel, ring) {
        return Err(Failure::Late("session"));
    }
    connect_notifications(boot, channel, ring)
}

/// Greets until the server accepts; `false` if it is gone.
fn begin_session(boot: &Boot, channel: &Channel, ring: &Ring) -> bool {
    let start = cpu::tsc();
    while cpu::tsc() - start < boot.ticks(PATIENCE_MS) && channel.is_peer_ready() {
        ring.greet();
        let is_over = || ring.is_accepted() || ring.is_server_new() || !channel.is_peer_ready();
        if cpu::wait_until(boot.ticks(PATIENCE_MS), is_over) && ring.is_accepted() {
            return true;
        }
    }
    false
}

/// Exchanges slots, not before hostile ones.
fn connect_notifications(boot: &Boot, channel: &Channel, ring: &Ring) -> Result<(), Failure> {
    for args in [[32, 0], [0, 64], [u64::MAX, 0], [0, u64::MAX]] {
        let result = call(boot, ring, &Message::new(opcode::UINTR_INIT, &args))?;
        expect("init", i64::from(result < 0), 1)?;
    }
    let init = Call::UintrInit { slot: 0, vector: 0 };
    let result = call(boot, ring, &init.encode())?;
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
fn call(boot: &Boot, ring: &Ring, message: &Message) -> Result<i64, Failure> {
    ring.submit(7, message);
    if message.opcode != opcode::UINTR_INIT {
        ring_doorbell();
    }
    let (token, result) = ring.next_completion(boot).ok_or(Failure::Late("answer"))?;
    expect("token", token.into(), 7)?;
    Ok(result)
}

/// Every call with hostile arguments, of processes and for slots that there are not: errors, and the server goes on.
fn arguments(boot: &Boot, ring: &Ring) -> Result<u32, Failure> {
    let mut answered = 0;
    for opcode in REFUSED {
        for first in HOSTILE {
            for second in [0, 1 << 20, u64::MAX] {
                let message = Message {
                    opcode,
                    process: first as u32,
                    reply_slot: first as u32,
                    args: [first, second, first, first, second, first],
                };
                let result = call(boot, ring, &message)?;
                expect("refused", i64::from(result < 0), 1)?;
                answered += 1;
            }
        }
    }
    let null = Message::new(opcode::NULL, &[u64::MAX; 6]);
    expect("null", call(boot, ring, &null)?, 0)?;
    Ok(answered)
}

/// Tokens that there are not are dropped; the next call is answered.
fn tokens(boot: &Boot, ring: &Ring) -> Result<u32, Failure> {
    let null = Call::Null.encode();
    let mut dropped = 0;
    for token in [32, 33, 0xff, 0x8000_0000, u32::MAX] {
        ring.submit(token, &null);
        expect("after-token", call(boot, ring, &null)?, 0)?;
        dropped += 1;
    }
    Ok(dropped)
}

/// Begins anew in the middle of a call, and writes over the server's words: the server gives the session up and begins the
/// next.
fn sessions(boot: &Boot, channel: &Channel, ring: &Ring) -> Result<(), Failure> {
    for round in 0..SESSIONS {
        ring.submit(round, &Call::Null.encode());
        if round % 2 == 1 {
            for word in [Session::ServerGeneration, Session::Accepted] {
                ring.session(word).store(round, Ordering::SeqCst);
            }
        }
        if !begin_session(boot, channel, ring) {
            return Err(Failure::Late("session"));
        }
        connect_notifications(boot, channel, ring)?;
        expect("null", call(boot, ring, &Call::Null.encode())?, 0)?;
    }
    Ok(())
}

fn await_gone(boot: &Boot, channel: &Channel) -> Result<(), Failure> {
    if cpu::wait_until(boot.ticks(PATIENCE_MS), || !channel.is_peer_ready()) {
        Ok(())
    } else {
        Err(Failure::Late("end-of-server"))
    }
}
