// SPDX-License-Identifier: MIT OR Apache-2.0
//! A cell with two CPUs: start, interrupts both ways, broadcasts that stay inside the cell, NMI, a second start.

use core::sync::atomic::{AtomicBool, Ordering};

use spin::Once;

use super::{Failure, expect};
use crate::arch::apic::{Apic, FIXED, NMI, Target};
use crate::arch::{cpu, second_cpu, trap};
use crate::boot::Boot;
use crate::channel::Channel;

const PING: u8 = 0x41;
const PONG: u8 = 0x42;
const BROADCAST: u8 = 0x43;
const NMI_VECTOR: u8 = 2;
const ROUNDS: u32 = 100;
const PATIENCE_MS: u64 = 500;
/// How long a broadcast may take to reach every CPU that it reaches.
const SETTLE_MS: u64 = 1;

const FIRST: usize = 0;
const SECOND: usize = second_cpu::INDEX as usize;

/// What the second CPU needs to answer.
static ANSWER: Once<(Apic, u32)> = Once::new();
/// Tells the second CPU to stay away from interrupts.
static IS_OVER: AtomicBool = AtomicBool::new(false);

/// Runs the test.
pub fn run(boot: &Boot) -> Result<(), Failure> {
    let &[first, second, ..] = boot.info.cpus() else {
        return expect("cpus", boot.info.cpus().len() as i64, 2);
    };
    let page = boot.info.memory().iter().find(|range| range.base < 1 << 20);
    let page = page.ok_or(Failure::Late("low-memory"))?.base;
    let channel = Channel::first(boot).ok_or(Failure::NoChannel)?;
    channel.set_ready(true);
    channel.await_peer();
    channel.ask(1);
    let apic = Apic::new(boot.is_x2apic());
    ANSWER.call_once(|| (apic, first));
    cpu::enable_interrupts();

    start(boot, apic, second, page, 1)?;
    both_ways(boot, apic, second)?;
    broadcasts(boot, apic)?;
    apic.send(Target::Id(second), NMI);
    await_count(boot, SECOND, NMI_VECTOR, 1, "nmi")?;
    report!("name=nmi count={}", trap::count(SECOND, NMI_VECTOR));
    // INIT takes the CPU out of its work, wherever it is.
    start(boot, apic, second, page, 2)?;
    IS_OVER.store(true, Ordering::SeqCst);
    channel.ask(1);
    channel.set_ready(false);
    Ok(())
}

/// What the second CPU does.
fn answer() {
    let Some(&(apic, first)) = ANSWER.get() else {
        return;
    };
    let mut answered = trap::count(SECOND, PING);
    while !IS_OVER.load(Ordering::SeqCst) {
        if trap::count(SECOND, PING) > answered {
            answered += 1;
            apic.send(Target::Id(first), FIXED | u32::from(PONG));
        }
        core::hint::spin_loop();
    }
}

fn start(boot: &Boot, apic: Apic, apic_id: u32, page: u64, times: u32) -> Result<(), Failure> {
    second_cpu::start(apic, boot.is_x2apic(), apic_id, page, answer, boot.ticks(1));
    let is_up = || second_cpu::starts() == times;
    if !cpu::wait_until(boot.ticks(PATIENCE_MS), is_up) {
        return Err(Failure::Late("second-cpu"));
    }
    report!("name=start apic_id={apic_id} starts={times}");
    Ok(())
}

fn both_ways(boot: &Boot, apic: Apic, second: u32) -> Result<(), Failure> {
    for round in 1..=ROUNDS {
        apic.send(Target::Id(second), FIXED | u32::from(PING));
        await_count(boot, FIRST, PONG, round, "pong")?;
    }
    report!(
        "name=ipi there={} back={}",
        trap::count(SECOND, PING),
        trap::count(FIRST, PONG)
    );
    expect("there", trap::count(SECOND, PING).into(), ROUNDS.into())
}

/// Each kind of broadcast, and what it adds to the first and the second CPU's count.
fn broadcasts(boot: &Boot, apic: Apic) -> Result<(), Failure> {
    let (mut first, mut second) = (0, 0);
    for (name, target, adds) in [
        ("others", Target::AllExcludingSelf, (0, 1)),
        ("all", Target::AllIncludingSelf, (1, 1)),
        ("destination", Target::Broadcast, (1, 1)),
    ] {
        apic.send(target, FIXED | u32::from(BROADCAST));
        (first, second) = (first + adds.0, second + adds.1);
        await_count(boot, SECOND, BROADCAST, second, name)?;
        await_count(boot, FIRST, BROADCAST, first, name)?;
        cpu::delay(boot.ticks(SETTLE_MS));
        expect(name, trap::count(FIRST, BROADCAST).into(), first.into())?;
        expect(name, trap::count(SECOND, BROADCAST).into(), second.into())?;
        report!("name=broadcast kind={name} first={first} second={second}");
    }
    Ok(())
}

fn await_count(
    boot: &Boot,
    index: usize,
    vector: u8,
    count: u32,
    what: &'static str,
) -> Result<(), Failure> {
    let has_come = || trap::count(index, vector) >= count;
    if cpu::wait_until(boot.ticks(PATIENCE_MS), has_come) {
        Ok(())
    } else {
        Err(Failure::Late(what))
    }
}
