// SPDX-License-Identifier: MIT OR Apache-2.0
//! The other side of `tests/linux-load`, on every channel of this cell: sends to the slots that processes of Linux
//! announce, counts what they send, and posts to a slot once more after its owner has given it up.
//!
//! Runs for good; Linux ends the machine. The words and counters are those of `tests/linux-load/src/channel.rs`.

use core::sync::atomic::Ordering;

use hv_abi::channel::UPID_SLOTS;
use spin::Once;
use uintr::{UittEntry, ndst};

use super::{Failure, expect};
use crate::arch::apic::{self, Apic};
use crate::arch::{cpu, trap, uintr as user_interrupts};
use crate::boot::Boot;
use crate::channel::{Channel, Side, Word};

const VECTORS: usize = 64;
/// Posted to a slot that was given up, and never else.
const STALE_VECTOR: usize = VECTORS - 1;
/// In a side's counters, those of what was delivered begin here.
const DELIVERED: usize = 256;
const CHANNELS: usize = 2;
const TARGETS: usize = CHANNELS * UPID_SLOTS * VECTORS;
/// Notification vector of the first channel.
const NOTIFICATION: u8 = 0x29;
const TIMER: u8 = 0x40;
/// How often to look while nobody can be sent anything.
const LOOK_EACH_MS: u64 = 1;
/// Of so many answers with a vector one comes so late that others have the receiver's CPU meanwhile.
const LATE_EACH: u64 = 32;
const LATE_MS: u64 = 10;
/// Phases of the other side, in the low byte of its word; between them: its slot and 1.
const CLOSED: u64 = 0;
const STOPPING: u64 = 0x80;

static UITT: Once<[UittEntry; TARGETS]> = Once::new();

/// One channel.
struct Line {
    number: usize,
    channel: Channel,
    /// Notifications that were looked at.
    seen: u32,
    /// When that was, in ticks.
    seen_at: u64,
    /// The other side's last word.
    phase: u64,
    /// Its last slot.
    slot: Option<usize>,
    is_open: bool,
}

/// Runs for good.
pub fn run(boot: &Boot) -> Result<(), Failure> {
    let count = boot.info.channels().len();
    expect("channels", count as i64, CHANNELS as i64)?;
    let mut lines =
        [0, 1].map(|number| Channel::number(boot, number).map(|c| Line::new(number, c)));
    user_interrupts::send_through(UITT.call_once(|| {
        core::array::from_fn(|target| {
            let (vector, slot) = (target % VECTORS, target / VECTORS % UPID_SLOTS);
            let channel = lines[target / VECTORS / UPID_SLOTS].as_ref();
            channel
                .and_then(|line| {
                    let upid = line.channel.upid(Side::Peer, slot);
                    UittEntry::new((&raw const *upid).addr() as u64, vector as u8).ok()
                })
                .unwrap_or(UittEntry::INVALID)
        })
    }));
    for line in lines.iter_mut().flatten() {
        let upid = line.channel.upid(Side::Own, 0);
        upid.reset();
        upid.init(line.vector(), ndst(boot.first_cpu(), boot.is_x2apic()));
        line.channel.set_ready(true);
    }
    report!("name=load channels={count}");
    let late = boot.ticks(LATE_MS);
    cpu::enable_interrupts();
    Apic::new(boot.is_x2apic()).use_deadlines(TIMER);
    loop {
        for line in lines.iter_mut().flatten() {
            line.receive();
            line.follow();
            line.send(late);
        }
        if !lines.iter().flatten().any(|line| line.is_open) {
            // Linux has the machine's time to itself, to start.
            apic::set_deadline(cpu::tsc() + boot.ticks(LOOK_EACH_MS));
            cpu::halt_until_interrupt();
        }
    }
}

impl Line {
    fn new(number: usize, channel: Channel) -> Self {
        Self {
            number,
            channel,
            seen: 0,
            seen_at: 0,
            phase: 0,
            slot: None,
            is_open: false,
        }
    }

    fn vector(&self) -> u8 {
        NOTIFICATION + self.number as u8
    }

    /// Counts what came, where a notification says that something did.
    fn receive(&mut self) {
        let interrupts = trap::count(0, self.vector());
        if interrupts == self.seen {
            return;
        }
        self.seen = interrupts;
        self.seen_at = cpu::tsc();
        let requests = self.channel.upid(Side::Own, 0).take_requests();
        let counters = &self.channel.counters(Side::Own)[DELIVERED..][..VECTORS];
        for (vector, counter) in counters.iter().enumerate() {
            counter.fetch_add(requests >> vector & 1, Ordering::SeqCst);
        }
    }

    /// Does what the other side has announced, and answers.
    fn follow(&mut self) {
        let phase = self.channel.word(Side::Peer, Word::Phase);
        let phase = phase.load(Ordering::SeqCst);
        if phase == self.phase {
            return;
        }
        self.phase = phase;
        match phase & 0xff {
            CLOSED => {
                if let Some(slot) = self.slot {
                    self.post(slot, STALE_VECTOR);
                }
                self.is_open = false;
            }
            STOPPING => self.is_open = false,
            slot => {
                self.slot = Some((slot as usize - 1) % UPID_SLOTS);
                self.is_open = true;
            }
        }
        let answer = self.channel.word(Side::Own, Word::Answer);
        answer.store(phase, Ordering::SeqCst);
    }

    /// Answers each vector that came with the same one, once the other side has counted the answer before. More would keep
    /// the receiver in its handler for good: it goes on only where nothing is pending.
    fn send(&self, late: u64) {
        let Some(slot) = self.slot.filter(|_| self.is_open) else {
            return;
        };
        let sent = &self.channel.counters(Side::Own)[..STALE_VECTOR];
        let came = &self.channel.counters(Side::Own)[DELIVERED..];
        let counted = &self.channel.counters(Side::Peer)[DELIVERED..];
        for (vector, sent) in sent.iter().enumerate() {
            let before = sent.load(Ordering::SeqCst);
            let is_counted = before == counted[vector].load(Ordering::SeqCst);
            let is_late = before % LATE_EACH == LATE_EACH - 1;
            if is_late && cpu::tsc() - self.seen_at < late {
                continue;
            }
            if is_counted && before < came[vector].load(Ordering::SeqCst) {
                sent.store(before + 1, Ordering::SeqCst);
                self.post(slot, vector);
            }
        }
    }

    fn post(&self, slot: usize, vector: usize) {
        user_interrupts::send((self.number * UPID_SLOTS + slot) * VECTORS + vector);
    }
}
