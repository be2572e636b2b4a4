// SPDX-License-Identifier: MIT OR Apache-2.0
//! A cell of two CPUs that is stopped in the middle of a storm: both storm, the first one then has a triple fault. The
//! second one goes on saying that the cell is there, until it is stopped, too.

use core::sync::atomic::{AtomicBool, Ordering};

use hv_abi::hypercall::{CPU_GET_INFO, CPU_STATE};
use spin::Once;
use uintr::{UittEntry, Upid, ndst};

use super::super::Failure;
use crate::arch::apic::{Apic, FIXED, INIT, NMI, STARTUP, Target};
use crate::arch::attack::Attack;
use crate::arch::probe::raised_with;
use crate::arch::uintr::{self as user_interrupts, RawUpid};
use crate::arch::{cpu, hypercall, port, second_cpu};
use crate::boot::Boot;
use crate::channel::{Channel, Side, Word};

/// Steps of the first CPU before its triple fault.
const STEPS: u64 = 3000;
const PATIENCE_MS: u64 = 500;
const VECTOR: u32 = 0x41;
/// A port that is nobody's.
const PORT: u16 = 0x80;
const ON: u64 = 1;

/// What is stormed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Fixed interrupts and NMIs between the CPUs, SIPIs, broadcasts.
    Interrupts,
    /// INITs and SIPIs of the second CPU, which spins in real mode then; an NMI would find no stack there.
    Inits,
    Hypercalls,
    /// SENDUIPI to the CPU itself, each with a notification.
    Posts,
    Ports,
}

/// What both CPUs need.
struct Storm {
    kind: Kind,
    apic: Apic,
    first: u32,
    second: u32,
    channel: Channel,
}

static STORM: Once<Storm> = Once::new();
static IS_STORMING: AtomicBool = AtomicBool::new(false);
static OWN: Upid = Upid::new();
static TARGET: RawUpid = RawUpid::new();

/// Runs the storm in the option `kind`.
pub fn run(boot: &Boot) -> Result<(), Failure> {
    let kind = match boot.options().text("kind")? {
        "interrupts" => Kind::Interrupts,
        "inits" => Kind::Inits,
        "hypercalls" => Kind::Hypercalls,
        "posts" => Kind::Posts,
        "ports" => Kind::Ports,
        other => return Err(Failure::UnknownTest(other)),
    };
    let &[first, second, ..] = boot.info.cpus() else {
        return Err(Failure::Late("second-cpu"));
    };
    let page = boot.info.memory().iter().find(|range| range.base < 1 << 20);
    let page = page.ok_or(Failure::Late("low-memory"))?.base;
    let channel = Channel::first(boot).ok_or(Failure::NoChannel)?;
    channel.set_ready(true);
    channel.await_peer();
    channel.ask(3);
    let apic = Apic::new(boot.is_x2apic());
    let storm = STORM.call_once(|| Storm {
        kind,
        apic,
        first,
        second,
        channel,
    });
    let target = UittEntry::new(TARGET.address(), 1).unwrap_or(UittEntry::INVALID);
    let own = ndst(first, boot.is_x2apic());
    user_interrupts::start(&OWN, own, [target; user_interrupts::TARGETS]);
    second_cpu::start(
        apic,
        boot.is_x2apic(),
        second,
        page,
        second_storms,
        boot.ticks(1),
    );
    if !cpu::wait_until(boot.ticks(PATIENCE_MS), || {
        IS_STORMING.load(Ordering::SeqCst)
    }) {
        return Err(Failure::Late("second-cpu"));
    }
    second_cpu::spin_at_start(page);
    cpu::enable_interrupts();
    for number in 0..STEPS {
        storm.step(number, true);
    }
    report!("attack=storm kind={kind:?} steps={STEPS}");
    // Posted and not taken when the cell ends.
    TARGET.control.store(ON, Ordering::SeqCst);
    Attack::TripleFault.carry_out();
    Err(Failure::Survived)
}

/// What the second CPU does for good.
fn second_storms() {
    let Some(storm) = STORM.get() else { return };
    let phase = storm.channel.word(Side::Own, Word::Phase);
    IS_STORMING.store(true, Ordering::SeqCst);
    for number in 0_u64.. {
        storm.channel.set_ready(true);
        // For the neighbour's posts.
        let own = storm.channel.raw_upid(Side::Own, 0);
        own.control.store(storm.control(), Ordering::SeqCst);
        phase.store(number, Ordering::SeqCst);
        storm.step(number, false);
    }
}

impl Storm {
    fn step(&self, number: u64, is_first: bool) {
        match self.kind {
            Kind::Interrupts | Kind::Inits => self.interrupt(number, is_first),
            Kind::Hypercalls => {
                hypercall::call(CPU_GET_INFO, u64::from(self.first), CPU_STATE);
                hypercall::call(number, number, number);
            }
            Kind::Posts if is_first => {
                TARGET.control.store(self.control(), Ordering::SeqCst);
                raised_with(user_interrupts::send_to, 0);
            }
            Kind::Posts => {}
            Kind::Ports => {
                port::write(PORT, 0);
                port::read(PORT);
            }
        }
    }

    /// Returns the control word of a descriptor that notifies the first CPU.
    fn control(&self) -> u64 {
        let ndst = ndst(self.first, self.apic.is_x2apic());
        u64::from(ndst) << 32 | u64::from(VECTOR) << 16
    }

    fn interrupt(&self, number: u64, is_first: bool) {
        if !is_first {
            self.apic.send(Target::Id(self.first), FIXED | VECTOR);
            return;
        }
        let second = Target::Id(self.second);
        let others = Target::AllExcludingSelf;
        let (target, command) = match (number % 8, self.kind) {
            (0, _) => (second, FIXED | VECTOR),
            (1, Kind::Interrupts) => (second, NMI),
            // The CPU runs: lost.
            (2, _) => (second, STARTUP | 8),
            (3, Kind::Interrupts) => (others, NMI),
            (4, _) => (others, FIXED | VECTOR),
            (5, Kind::Inits) => (second, INIT),
            (6, Kind::Inits) => (others, INIT),
            _ => (Target::AllIncludingSelf, FIXED | VECTOR),
        };
        self.apic.send(target, command);
    }
}
