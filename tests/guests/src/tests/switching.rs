// SPDX-License-Identifier: MIT OR Apache-2.0
//! Load: two cells, each of which switches its CPU between [`TASKS`] tasks by the APIC's timer, and every task sends to
//! every task of the other cell.
//!
//! A task has [`VECTORS_EACH`] vectors to each task there, and posts one again only after the other side has counted it:
//! so no two posts are one, every post is delivered exactly once, and both sides' counters are the same at the end. What
//! can go wrong ends the test: an exception, a handler in the wrong task or while UIF ought to be 0, UIF that is 0 where
//! it ought to be 1, a delivery too many, and, where nothing moves for [`PATIENCE_MS`], a post that is lost.
//!
//! Options: `sends=` of this cell (the same for both), `slice=` ticks at most between switches, `defect=` for a mistake in the
//! switch ([`crate::arch::task::Defect`]).

use core::sync::atomic::{AtomicU64, Ordering};

use spin::Once;
use uintr::UittEntry;

use super::{Failure, expect};
use crate::arch::apic::{self, Apic};
use crate::arch::record::{self, TALLIES};
use crate::arch::task::{
    self, Defect, HandlerStack, MAX_TASKS, PickUp, Receiver, Stop, Switch, Task,
};
use crate::arch::{cpu, hypercall, uintr as user_interrupts};
use crate::boot::Boot;
use crate::channel::{Channel, Side};

const TASKS: usize = MAX_TASKS;
/// Vectors of a task to each task of the other side.
const VECTORS_EACH: usize = 16;
/// Targets of a task, and vectors that a task receives.
const TARGETS: usize = TASKS * VECTORS_EACH;
/// In a side's counters, those of what was delivered begin here, and those of what was sent at 0.
const DELIVERED: usize = TASKS * TARGETS;

const TIMER: u8 = 0x40;
const DEFAULT_SENDS: u64 = 25_000;
const DEFAULT_SLICE: u64 = 3_000;
const SHORTEST_SLICE: u64 = 200;
/// How many switches lie between two looks at all counters.
const LOOK_EACH: u64 = 64;
const PATIENCE_MS: u64 = 500;

/// Why a task calls the kernel.
const YIELD: u64 = 0;
const TOO_MANY: u64 = 1;
const UIF_STUCK: u64 = 2;

static CHANNEL: Once<Channel> = Once::new();
/// How much each task still has to send.
static LEFT: [AtomicU64; TASKS] = [const { AtomicU64::new(0) }; TASKS];
static UITTS: [Once<[UittEntry; TARGETS]>; TASKS] = [const { Once::new() }; TASKS];

/// What the kernel counts.
#[derive(Default)]
struct Seen {
    switches: u64,
    in_closed: u64,
    with_pending: u64,
    with_posts: u64,
    stray: u64,
}

/// Runs the test.
pub fn run(boot: &Boot) -> Result<(), Failure> {
    let options = boot.options();
    let sends = options.number("sends").unwrap_or(DEFAULT_SENDS);
    let slice = options.number("slice").unwrap_or(DEFAULT_SLICE);
    let defect = defect(options.text("defect").ok())?;
    let channel = Channel::first(boot).ok_or(Failure::NoChannel)?;
    CHANNEL.call_once(|| channel);
    for left in &LEFT {
        left.store(sends / TASKS as u64, Ordering::SeqCst);
    }
    let total = sends / TASKS as u64 * TASKS as u64;
    record::count_in(&channel.counters(Side::Own)[DELIVERED..]);
    let mut switch = Switch::new(boot.first_cpu(), boot.is_x2apic(), defect);
    let mut tasks = core::array::from_fn(|number| new_task(&channel, number));
    Apic::new(boot.is_x2apic()).use_deadlines(TIMER);
    channel.set_ready(true);
    channel.await_peer();

    let before = hypercall::total_exits(boot.first_cpu());
    let seen = schedule(boot, &channel, &mut switch, &mut tasks, total, slice)?;
    let exits = hypercall::total_exits(boot.first_cpu()) - before - 1;
    apic::set_deadline(0);
    task::clear();
    let delivered = sum(channel.counters(Side::Own), DELIVERED);
    report!(
        "name=switching sends={} delivered={delivered} faults=0 lost=0 switches={} closed={} pending={} posts={} stray={} exits={exits}",
        sum(channel.counters(Side::Own), 0),
        seen.switches,
        seen.in_closed,
        seen.with_pending,
        seen.with_posts,
        seen.stray
    );
    expect("stray", seen.stray as i64, 0)
}

fn new_task(channel: &Channel, number: usize) -> Task {
    let uitt = UITTS[number].call_once(|| {
        core::array::from_fn(|target| {
            let upid = channel.upid(Side::Peer, target / VECTORS_EACH);
            let vector = number * VECTORS_EACH + target % VECTORS_EACH;
            // Slots are aligned and the vectors below 64.
            UittEntry::new((&raw const *upid).addr() as u64, vector as u8)
                .unwrap_or(UittEntry::INVALID)
        })
    });
    let upid = channel.upid(Side::Own, number);
    upid.reset();
    let receiver = Receiver {
        upid,
        handler: TALLIES[number],
        stack: if number.is_multiple_of(2) {
            HandlerStack::RedZone
        } else {
            HandlerStack::Own
        },
        uitt,
    };
    Task::new(number, program, number as u64, receiver)
}

/// Runs the tasks in turn until both sides have sent and received everything.
fn schedule(
    boot: &Boot,
    channel: &Channel,
    switch: &mut Switch,
    tasks: &mut [Task; TASKS],
    total: u64,
    slice: u64,
) -> Result<Seen, Failure> {
    let mut seen = Seen::default();
    let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ u64::from(boot.first_cpu() + 1));
    let mut progress = (0, cpu::tsc());
    loop {
        let task = &mut tasks[random.below(TASKS as u64) as usize];
        switch.pick_up = if random.below(2) == 0 {
            PickUp::Register
        } else {
            PickUp::SelfInterrupt
        };
        apic::set_deadline(cpu::tsc() + SHORTEST_SLICE + random.below(slice));
        seen.with_posts += u64::from(task.has_posts());
        let stop = task.resume(switch);
        seen.switches += 1;
        seen.in_closed += u64::from(!task.uif());
        seen.with_pending += u64::from(task.requests() != 0);
        check(stop, &mut seen)?;
        if seen.switches.is_multiple_of(LOOK_EACH) {
            let counters = channel.counters(Side::Own);
            let (sent, delivered) = (sum(counters, 0), sum(counters, DELIVERED));
            if sent == total && delivered == total && is_answered(channel) {
                return Ok(seen);
            }
            if progress.0 != sent + delivered {
                progress = (sent + delivered, cpu::tsc());
            } else if cpu::tsc() - progress.1 > boot.ticks(PATIENCE_MS) {
                report_lost(channel, tasks);
                return Err(Failure::Late("delivery-lost"));
            }
        }
    }
}

/// Tells whether the other side has counted everything that was sent from here.
fn is_answered(channel: &Channel) -> bool {
    sum(channel.counters(Side::Peer), DELIVERED) == sum(channel.counters(Side::Own), 0)
}

fn check(stop: Stop, seen: &mut Seen) -> Result<(), Failure> {
    match stop {
        Stop::Interrupt { vector: TIMER } | Stop::Call(YIELD) => Ok(()),
        Stop::Interrupt { .. } => {
            seen.stray += 1;
            Ok(())
        }
        Stop::Call(TOO_MANY) => Err(Failure::Late("too-many-deliveries")),
        Stop::Call(UIF_STUCK) => Err(Failure::Late("uif-stuck-at-0")),
        Stop::Call(code) => expect("call", code as i64, YIELD as i64),
        Stop::Exception {
            vector,
            error_code,
            rip,
        } => {
            report!("name=fault vector={vector} error_code={error_code:#x} rip={rip:#x}");
            Err(Failure::Late("fault"))
        }
    }
}

/// Says which posts were lost, and what the receivers look like.
fn report_lost(channel: &Channel, tasks: &[Task; TASKS]) {
    for (receiver, task) in tasks.iter().enumerate() {
        let upid = channel.upid(Side::Own, receiver);
        let delivered = &channel.counters(Side::Own)[DELIVERED + receiver * TARGETS..][..TARGETS];
        let missing = |vector: usize| {
            let from =
                vector / VECTORS_EACH * TARGETS + receiver * VECTORS_EACH + vector % VECTORS_EACH;
            channel.counters(Side::Peer)[from].load(Ordering::SeqCst)
                - delivered[vector].load(Ordering::SeqCst)
        };
        let lost: u64 = (0..TARGETS).map(missing).sum();
        report!(
            "name=lost task={receiver} lost={lost} pir={:#x} on={} sn={} nv={:#x} ndst={:#x} uirr={:#x} uif={}",
            upid.requests(),
            u8::from(upid.is_outstanding()),
            u8::from(upid.is_suppressed()),
            upid.notification_vector(),
            upid.notification_destination(),
            task.requests(),
            u8::from(task.uif())
        );
    }
}

fn sum(counters: &[AtomicU64], first: usize) -> u64 {
    let counters = &counters[first..][..TASKS * TARGETS];
    counters.iter().map(|n| n.load(Ordering::SeqCst)).sum()
}

/// A task, at CPL 3.
extern "C" fn program(number: u64) -> ! {
    let number = number as usize;
    let Some(channel) = CHANNEL.get() else {
        task::call(TOO_MANY);
        unreachable!("the kernel ends the test")
    };
    let sent = &channel.counters(Side::Own)[number * TARGETS..][..TARGETS];
    let delivered = &channel.counters(Side::Peer)[DELIVERED..];
    let mut random = Random(number as u64 + 1);
    user_interrupts::enable(true);
    loop {
        let has_sent = send_round(
            number,
            sent,
            delivered,
            random.below(TARGETS as u64) as usize,
        );
        if !task::is_enabled() {
            task::call(UIF_STUCK);
        }
        stay_closed(number, random.below(32));
        if !has_sent {
            task::call(YIELD);
        }
    }
}

/// Posts to every target that has counted the post before. Returns whether there was one.
fn send_round(number: usize, sent: &[AtomicU64], delivered: &[AtomicU64], start: usize) -> bool {
    let mut has_sent = false;
    for target in (start..TARGETS).chain(0..start) {
        let left = LEFT[number].load(Ordering::Relaxed);
        if left == 0 {
            break;
        }
        let receiver = target / VECTORS_EACH;
        let vector = number * VECTORS_EACH + target % VECTORS_EACH;
        let before = sent[target].load(Ordering::Relaxed);
        let counted = delivered[receiver * TARGETS + vector].load(Ordering::SeqCst);
        if counted > before {
            task::call(TOO_MANY);
        }
        if counted == before {
            sent[target].store(before + 1, Ordering::SeqCst);
            user_interrupts::send(target);
            LEFT[number].store(left - 1, Ordering::Relaxed);
            has_sent = true;
        }
    }
    has_sent
}

/// Takes no user interrupts for a while.
fn stay_closed(number: usize, rounds: u64) {
    user_interrupts::enable(false);
    record::set_closed(number, true);
    for _ in 0..rounds {
        core::hint::spin_loop();
    }
    record::set_closed(number, false);
    user_interrupts::enable(true);
}

/// Returns the mistake of this name.
pub fn defect(name: Option<&'static str>) -> Result<Option<Defect>, Failure> {
    let Some(name) = name else { return Ok(None) };
    Ok(Some(match name {
        "uif-lost" => Defect::UifLost,
        "uif-set" => Defect::UifSet,
        "requests-lost" => Defect::RequestsLost,
        "uinv-kept" => Defect::UinvKept,
        "posts-ignored" => Defect::PostsIgnored,
        "suppress-kept" => Defect::SuppressKept,
        "destination-stale" => Defect::DestinationStale,
        "vector-stale" => Defect::VectorStale,
        "state-kept" => Defect::StateKept,
        "uitt-cut" => Defect::UittCut,
        other => return Err(Failure::UnknownTest(other)),
    }))
}

/// A pseudo-random sequence (xorshift), the same at each run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit.max(1)
    }
}
