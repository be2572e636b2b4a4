// SPDX-License-Identifier: MIT OR Apache-2.0
//! Delivery across context switches, step by step: one CPU, tasks that the kernel runs as it likes, and posts by
//! themselves or by the kernel.
//!
//! A task tells its UIF each time it calls and does what it is answered. Option: `defect=`, as for `test=switching`.

mod pair;
mod pick_up;
mod stale;
mod uif;

use spin::Once;
use uintr::{UittEntry, Upid};

use super::{Failure, expect, switching};
use crate::arch::apic::{self, Apic};
use crate::arch::record::{self, Delivery};
use crate::arch::task::{self, HandlerStack, MAX_TASKS, PickUp, Receiver, Stop, Switch, Task};
use crate::arch::uintr::NOTIFICATION;
use crate::arch::{cpu, trap, uintr as user_interrupts};
use crate::boot::Boot;

const TIMER: u8 = 0x40;
/// What a task does between two calls takes less.
const PATIENCE: u64 = 100_000;
/// Rounds in which a task waits for what it sent to itself.
const SPINS: u32 = 200;
const USER_VECTORS: usize = 64;

/// What a task says when it calls: its UIF.
const CLOSED: u64 = 0x100;
const OPEN: u64 = 0x101;

static UPIDS: [Upid; MAX_TASKS] = [const { Upid::new() }; MAX_TASKS];
/// Target number n of a task is its own UPID with vector n.
static UITTS: [Once<[UittEntry; USER_VECTORS]>; MAX_TASKS] = [const { Once::new() }; MAX_TASKS];

/// What a task is to do next.
#[derive(Clone, Copy, Debug)]
enum Order {
    /// STUI.
    Enable,
    /// CLUI.
    Disable,
    /// SENDUIPI to itself, once for each vector.
    Send(u8, u8),
    /// Nothing.
    Nothing,
}

impl Order {
    const ENABLE: u64 = 1 << 16;
    const DISABLE: u64 = 2 << 16;
    const SEND: u64 = 3 << 16;

    fn encode(self) -> u64 {
        match self {
            Self::Enable => Self::ENABLE,
            Self::Disable => Self::DISABLE,
            Self::Send(first, second) => Self::SEND | u64::from(first) << 8 | u64::from(second),
            Self::Nothing => 0,
        }
    }
}

/// Runs the test.
pub fn run(boot: &Boot) -> Result<(), Failure> {
    let defect = switching::defect(boot.options().text("defect").ok())?;
    Apic::new(boot.is_x2apic()).use_deadlines(TIMER);
    let mut kernel = Kernel {
        switch: Switch::new(boot.first_cpu(), boot.is_x2apic(), defect),
    };
    for pick_up in [PickUp::Register, PickUp::SelfInterrupt] {
        kernel.switch.pick_up = pick_up;
        uif::run(&kernel)?;
        pick_up::run(&kernel)?;
        pair::run(&kernel)?;
        stale::run(&kernel)?;
        report!(
            "name=delivery pick_up={pick_up:?} delivered={}",
            record::logged()
        );
    }
    task::clear();
    expect(
        "notifications-in-idt",
        trap::count(0, NOTIFICATION).into(),
        0,
    )
}

/// Runs tasks by hand.
struct Kernel {
    switch: Switch,
}

impl Kernel {
    /// Makes a task that owns its UPID from now on.
    fn new_task(&self, number: usize) -> Task {
        UPIDS[number].reset();
        Self::inherit(number)
    }

    /// Makes a task with the UPID as it is.
    fn inherit(number: usize) -> Task {
        let upid = &UPIDS[number];
        let uitt = UITTS[number].call_once(|| {
            core::array::from_fn(|vector| {
                // UPIDs are aligned and the vectors below 64.
                UittEntry::new((&raw const *upid).addr() as u64, vector as u8)
                    .unwrap_or(UittEntry::INVALID)
            })
        });
        let receiver = Receiver {
            upid,
            handler: record::log,
            stack: HandlerStack::RedZone,
            uitt,
        };
        Task::new(number, obey, 0, receiver)
    }

    /// Posts to a task, which does not run.
    fn post(&self, number: usize, vector: u8) {
        if let Some(notification) = UPIDS[number].post(1 << vector) {
            self.switch.interrupt(notification.vector);
        }
    }

    /// Lets a task obey and call again; returns what it says.
    fn order(&self, task: &mut Task, order: Order) -> Result<u64, Failure> {
        task.answer(order.encode());
        self.go_on(task)
    }

    /// The same for a task that has not called.
    fn go_on(&self, task: &mut Task) -> Result<u64, Failure> {
        apic::set_deadline(cpu::tsc() + PATIENCE);
        match task.resume(&self.switch) {
            Stop::Call(code) => Ok(code),
            Stop::Interrupt { vector } => {
                report!("name=interrupted vector={vector:#x}");
                Err(Failure::Late("call"))
            }
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

    /// The same, and what it says has to be `wanted`, after `deliveries` user interrupts.
    fn expect(
        &self,
        what: &'static str,
        task: &mut Task,
        order: Order,
        wanted: u64,
        deliveries: &[u8],
    ) -> Result<(), Failure> {
        let before = record::logged();
        let said = self.order(task, order)?;
        expect(what, said as i64, wanted as i64)?;
        expect_delivered(what, before, deliveries)
    }

    /// Makes a task that takes user interrupts.
    fn open_task(&self, number: usize) -> Result<Task, Failure> {
        let mut task = self.new_task(number);
        self.expect("new-task", &mut task, Order::Nothing, CLOSED, &[])?;
        self.expect("opened-task", &mut task, Order::Enable, OPEN, &[])?;
        Ok(task)
    }
}

/// Fails unless exactly these vectors have been delivered since `before`, in this order.
fn expect_delivered(what: &'static str, before: u64, vectors: &[u8]) -> Result<(), Failure> {
    let delivered = record::logged() - before;
    expect(what, delivered as i64, vectors.len() as i64)?;
    for (index, &vector) in (before..).zip(vectors) {
        let Delivery { vector: got, .. } = record::delivery(index);
        expect(what, got as i64, i64::from(vector))?;
    }
    Ok(())
}

/// A task, at CPL 3.
extern "C" fn obey(_: u64) -> ! {
    loop {
        let order = task::call(if task::is_enabled() { OPEN } else { CLOSED });
        match order & !0xffff {
            Order::ENABLE => user_interrupts::enable(true),
            Order::DISABLE => user_interrupts::enable(false),
            Order::SEND => {
                user_interrupts::send((order >> 8 & 0x3f) as usize);
                user_interrupts::send((order & 0x3f) as usize);
            }
            _ => {}
        }
        // What is on its way arrives before the next call.
        for _ in 0..SPINS {
            core::hint::spin_loop();
        }
    }
}
