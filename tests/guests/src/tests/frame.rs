// SPDX-License-Identifier: MIT OR Apache-2.0
//! A handler that interrupts a task anywhere: it is entered with the right vector and frame, runs from its first
//! instruction on, and what it interrupted goes on as if nothing had been.
//!
//! The client sends at odd times, alternately two vectors; the server runs the task of [`frame_probe`], half the time
//! with a handler below the red zone and half with one on a stack of its own.

use core::sync::atomic::Ordering;

use uintr::{UittEntry, Upid, ndst};

use super::{Failure, expect};
use crate::arch::frame_probe::{self, DAMAGED, INTACT};
use crate::arch::task::{self, HandlerStack, Receiver, Stop, Switch, Task};
use crate::arch::{cpu, record, trap, uintr as user_interrupts};
use crate::boot::Boot;
use crate::channel::{Channel, Side, Word};

const SENDS: u64 = 2_000;
const VECTORS: [u8; 2] = [3, 40];
/// Longest pause between two sends, in ticks.
const PAUSE: u64 = 977;
const PATIENCE_MS: u64 = 500;
/// Interrupted instructions that have to be different ones.
const PLACES: u32 = 10;

/// Runs the test.
pub fn run(boot: &Boot) -> Result<(), Failure> {
    let channel = Channel::first(boot).ok_or(Failure::NoChannel)?;
    if channel.is_client() {
        client(boot, &channel)
    } else {
        server(boot, &channel)
    }
}

fn client(boot: &Boot, channel: &Channel) -> Result<(), Failure> {
    let upid = (&raw const *channel.upid(Side::Peer, 0)).addr() as u64;
    // Slots are aligned and the vectors below 64.
    let target = |vector| UittEntry::new(upid, vector).unwrap_or(UittEntry::INVALID);
    user_interrupts::start(
        channel.upid(Side::Own, 0),
        ndst(boot.first_cpu(), boot.is_x2apic()),
        [target(VECTORS[0]), target(VECTORS[1]), UittEntry::INVALID],
    );
    channel.set_ready(true);
    channel.await_peer();
    let counted = channel.word(Side::Peer, Word::Answer);
    for number in 0..SENDS {
        cpu::delay(number * 37 % PAUSE);
        user_interrupts::send(number as usize % 2);
        let is_counted = || counted.load(Ordering::SeqCst) > number;
        if !cpu::wait_until(boot.ticks(PATIENCE_MS), is_counted) {
            report!("name=frame sent={number}");
            return Err(Failure::Late("delivery-lost"));
        }
    }
    Ok(())
}

fn server(boot: &Boot, channel: &Channel) -> Result<(), Failure> {
    let switch = Switch::new(boot.first_cpu(), boot.is_x2apic(), None);
    let upid = channel.upid(Side::Own, 0);
    let begin = record::logged();
    let mut places = Places::default();
    for (number, stack) in [HandlerStack::RedZone, HandlerStack::Own]
        .into_iter()
        .enumerate()
    {
        upid.reset();
        let mut task = probe_task(number, upid, stack);
        channel.set_ready(true);
        let until = begin + SENDS * (number as u64 + 1) / 2;
        while record::logged() < until {
            let before = record::logged();
            run_once(&mut task, &switch)?;
            for index in before..record::logged() {
                check(&task, index, index - begin, number, stack, &mut places)?;
            }
            let counted = record::logged() - begin;
            channel
                .word(Side::Own, Word::Answer)
                .store(counted, Ordering::SeqCst);
        }
    }
    task::clear();
    report!(
        "name=frame deliveries={} places={}",
        record::logged() - begin,
        places.count()
    );
    expect(
        "deliveries",
        (record::logged() - begin) as i64,
        SENDS as i64,
    )?;
    expect(
        "in-idt",
        trap::count(0, user_interrupts::NOTIFICATION).into(),
        0,
    )?;
    expect("enough-places", (places.count() >= PLACES).into(), 1)
}

fn probe_task(number: usize, upid: &'static Upid, stack: HandlerStack) -> Task {
    let receiver = Receiver {
        upid,
        handler: record::log,
        stack,
        uitt: &[],
    };
    Task::new(number, frame_probe::program, 0, receiver)
}

fn run_once(task: &mut Task, switch: &Switch) -> Result<(), Failure> {
    let before = record::logged();
    match task.resume(switch) {
        Stop::Call(INTACT) if frame_probe::is_intact(task.frame()) => Ok(()),
        Stop::Call(INTACT | DAMAGED) => {
            report!(
                "name=frame delivered={} frame={:x?}",
                record::logged() - before,
                task.frame()
            );
            Err(Failure::Late("interrupted-program-damaged"))
        }
        other => {
            report!("name=frame stop={other:x?}");
            Err(Failure::Late("fault"))
        }
    }
}

fn check(
    task: &Task,
    index: u64,
    number: u64,
    task_number: usize,
    stack: HandlerStack,
    places: &mut Places,
) -> Result<(), Failure> {
    let delivery = record::delivery(index);
    let wanted = VECTORS[number as usize % 2];
    expect("vector", delivery.vector as i64, wanted.into())?;
    if !frame_probe::is_regular(&delivery, task.frame().rsp, task_number, stack) {
        report!(
            "name=frame delivery={delivery:x?} rsp={:#x}",
            task.frame().rsp
        );
        return Err(Failure::Late("irregular-frame"));
    }
    places.add(frame_probe::place(&delivery));
    Ok(())
}

/// Places in the task's code, one bit each.
#[derive(Default)]
struct Places([u64; 4]);

impl Places {
    fn add(&mut self, offset: u64) {
        if let Some(word) = self.0.get_mut(offset as usize / 64) {
            *word |= 1 << (offset % 64);
        }
    }

    fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }
}
