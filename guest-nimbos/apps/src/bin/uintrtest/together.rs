// SPDX-License-Identifier: MIT OR Apache-2.0
//! Senders and receivers that run at the same time: on two CPUs, if the cell has them.

use core::hint::spin_loop;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use nimbos_apps::abi::counter;
use nimbos_apps::process::{self, ExitStatus};
use nimbos_apps::registers::{self, Registers};
use nimbos_apps::system::uintr;
use nimbos_apps::{alarm_handler, eprintln, interrupt, system};

use crate::ends::FAULTED;
use crate::{
    Reason, SENDS, allow, allow_all, child, count, ensure, hold, receive, sender, this_thread,
    wait_until,
};

/// Changes of the CPU that the migrating receiver must have seen, where there are several.
const MIGRATIONS: u64 = 200;
const NO_CPU: u32 = u32::MAX;

static RECEIVER: AtomicU32 = AtomicU32::new(0);
static IS_OVER: AtomicBool = AtomicBool::new(false);
/// What the sender has sent in all, once that is known.
static SENT: AtomicU64 = AtomicU64::new(0);
static SENDERS_CPU: AtomicU32 = AtomicU32::new(NO_CPU);
/// The index with which a thread sends.
static INDEX: AtomicU64 = AtomicU64::new(0);
static ALARMS: AtomicU64 = AtomicU64::new(0);

fn has_several_cpus() -> bool {
    system::counter(counter::CPUS).is_ok_and(|cpus| cpus > 1)
}

/// Lets another thread go on: one on another CPU does so by itself.
fn let_others(are_several: bool) {
    if are_several {
        spin_loop();
    } else {
        system::yield_now();
    }
}

fn start(main: fn(usize)) -> Result<(), Reason> {
    RECEIVER.store(this_thread(), Ordering::Release);
    process::spawn_thread(main, 0)
        .map(drop)
        .map_err(|_| "spawn_thread")
}

/// Ends the process where a thread's part went wrong.
fn part(result: Result<(), Reason>) {
    if let Err(reason) = result {
        eprintln!("uintrtest: thread: {reason}");
        system::exit(1);
    }
}

/// A receiver that runs gets each post, without the kernel in between where sender and receiver have a CPU each.
pub fn running() -> Result<(), Reason> {
    const VECTOR: u8 = 22;
    receive()?;
    start(|_| part(stream(VECTOR)))?;
    allow();
    let are_several = has_several_cpus();
    let sends = SENDS.load(Ordering::Relaxed);
    while count(VECTOR.into()) < sends {
        let_others(are_several);
    }
    let cpu = system::cpu().map_err(|_| "getcpu")?;
    while SENDERS_CPU.load(Ordering::Acquire) == NO_CPU {
        let_others(are_several);
    }
    ensure(count(VECTOR.into()) == sends, "one came twice")?;
    let is_apart = SENDERS_CPU.load(Ordering::Acquire) != cpu;
    ensure(is_apart == are_several, "not on two CPUs")?;
    eprintln!("uintrtest: running sends={sends} apart={is_apart}");
    Ok(())
}

fn stream(vector: u8) -> Result<(), Reason> {
    let are_several = has_several_cpus();
    let sender = sender(RECEIVER.load(Ordering::Acquire), vector)?;
    for sent in 1..=SENDS.load(Ordering::Relaxed) {
        sender.send();
        while count(vector.into()) < sent {
            let_others(are_several);
        }
    }
    let cpu = system::cpu().map_err(|_| "getcpu")?;
    SENDERS_CPU.store(cpu, Ordering::Release);
    Ok(())
}

/// A receiver that goes from CPU to CPU, running and waiting, gets each post once.
pub fn migrations() -> Result<(), Reason> {
    const VECTOR: u8 = 23;
    const POSTS: u64 = 2_000;
    receive()?;
    start(|_| part(send_one_by_one(VECTOR)))?;
    // One thread more than CPUs, all of which give up their turns, so that everybody comes everywhere.
    start(|_| {
        while !IS_OVER.load(Ordering::Acquire) {
            system::yield_now();
        }
    })?;
    let cpu = || system::cpu().map_err(|_| "getcpu");
    let wanted = if has_several_cpus() { MIGRATIONS } else { 0 };
    let (mut last, mut changes) = (cpu()?, 0);
    for turn in 0_u64.. {
        let came = count(VECTOR.into());
        if came >= POSTS && changes >= wanted {
            break;
        }
        if turn.is_multiple_of(8) {
            wait_until(VECTOR.into(), came + 1)?;
            allow();
        } else {
            system::yield_now();
        }
        let now = cpu()?;
        changes += u64::from(now != last);
        last = now;
    }
    IS_OVER.store(true, Ordering::Release);
    while SENT.load(Ordering::Acquire) == 0 {
        system::yield_now();
    }
    let sent = SENT.load(Ordering::Acquire);
    ensure(count(VECTOR.into()) == sent, "not one for one")?;
    eprintln!("uintrtest: migrations={changes} sent={sent}");
    Ok(())
}

fn send_one_by_one(vector: u8) -> Result<(), Reason> {
    let sender = sender(RECEIVER.load(Ordering::Acquire), vector)?;
    let mut sent = 0;
    while !IS_OVER.load(Ordering::Acquire) {
        sender.send();
        sent += 1;
        while count(vector.into()) < sent {
            system::yield_now();
        }
    }
    SENT.store(sent, Ordering::Release);
    Ok(())
}

/// A receiver that runs, waits, or registers again and again is killed while another process posts to it without pause: that one
/// does not notice.
pub fn under_fire() -> Result<(), Reason> {
    const ROUNDS: u64 = 12;
    receive()?;
    allow_all()?;
    let parent = this_thread();
    let are_several = has_several_cpus();
    for round in 1..=ROUNDS {
        let target = child(|| {
            receive()?;
            allow_all()?;
            sender(parent, 1)?.send();
            wait_until(4, 1)?;
            loop {
                match round % 3 {
                    0 => let_others(are_several),
                    1 => interrupt::wait().map_err(|_| "uintr_wait")?,
                    _ => {
                        interrupt::unregister_handler().map_err(|_| "unregister_handler")?;
                        receive()?;
                    }
                }
                allow();
                hold();
            }
        })?;
        wait_until(1, round)?;
        let firing = child(|| {
            let fire = sender(target, 4)?;
            let tell = sender(parent, 2)?;
            loop {
                for _ in 0..100 {
                    fire.send();
                }
                tell.send();
                let_others(are_several);
            }
        })?;
        let before = count(2);
        wait_until(2, before + 3)?;
        process::kill(target, 9).map_err(|_| "kill")?;
        ensure(
            process::wait(target) == Ok(ExitStatus::KILLED),
            "the receiver was not killed",
        )?;
        let after = count(2);
        wait_until(2, after + 3)?;
        process::kill(firing, 9).map_err(|_| "kill")?;
        ensure(
            process::wait(firing) == Ok(ExitStatus::KILLED),
            "the sender was not there any more",
        )?;
    }
    Ok(())
}

/// One thread gives back the index with which another one sends: that faults, and harms nobody else.
pub fn given_back() -> Result<(), Reason> {
    for _ in 0..10 {
        let faulting = child(|| {
            receive()?;
            let index = uintr::register_sender(this_thread(), 6).map_err(|_| "register_sender")?;
            INDEX.store(index, Ordering::Release);
            start(|_| {
                loop {
                    crate::ends::senduipi(INDEX.load(Ordering::Acquire));
                }
            })?;
            wait_until(6, 20)?;
            uintr::unregister_sender(index).map_err(|_| "unregister_sender")?;
            loop {
                system::yield_now();
            }
        })?;
        ensure(process::wait(faulting) == Ok(FAULTED), "no fault")?;
    }
    Ok(())
}

alarm_handler!(alarm, on_alarm);

fn on_alarm() {
    registers::spoil();
    registers::tell_interrupted();
    ALARMS.fetch_add(1, Ordering::Relaxed);
}

/// Alarms and user interrupts interrupt the same code, and each other.
pub fn alarms() -> Result<(), Reason> {
    const ROUNDS: u64 = 100;
    receive()?;
    allow_all()?;
    let receiver = this_thread();
    let are_several = has_several_cpus();
    let posting = child(|| {
        let sender = sender(receiver, 9)?;
        loop {
            sender.send();
            // Where there is one CPU, the other process has a whole tick then.
            for _ in 0..if are_several { 100 } else { 1 } {
                let_others(are_several);
            }
        }
    })?;
    allow();
    // SAFETY: the handler changes nothing but counters.
    unsafe { interrupt::set_alarm(1, alarm) }.map_err(|_| "sigalarm")?;
    let mut seed = 0;
    while seed < ROUNDS || ALARMS.load(Ordering::Relaxed) < ROUNDS {
        let pattern = Registers::pattern(seed);
        if registers::hold(&pattern) != pattern {
            return Err("a register has changed");
        }
        seed += 1;
    }
    interrupt::stop_alarm().map_err(|_| "sigalarm(0, 0)")?;
    process::kill(posting, 9).map_err(|_| "kill")?;
    process::wait(posting).map_err(|_| "wait")?;
    ensure(count(9) >= ROUNDS, "too few user interrupts")
}
