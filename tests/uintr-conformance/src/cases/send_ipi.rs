// SPDX-License-Identifier: MIT OR Apache-2.0
//! SENDUIPI: what it posts, and the interrupt that it sends.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use uintr_conformance::ApicMode;

use crate::bench::{ARRIVAL, Bench};
use crate::case::{Case, Failure, Outcome};
use crate::machine::event::{self, Kind};
use crate::machine::run::{Code, Level, Run};
use crate::machine::uintr::{
    NOTIFICATION, ON, RawUpid, SN, USER_VECTOR, opcode, read_msr, set_target,
};
use crate::machine::{apic, cpu, smp, uintr as processor};

const SECTION: &str = "SDM 2, SENDUIPI";
const RECEIVER: usize = 1;
/// A vector that no CPU takes as a notification.
const ORDINARY: u8 = 0x50;

/// A post with a notification.
pub const T29: Case = Case::new("T29", "post and notification", SECTION, t29).cpus(2);

fn t29(bench: &mut Bench) -> Outcome {
    let upid = bench.set_up(RECEIVER)?;
    let control = upid.get().0;
    bench.send_well(0)?;
    ensure!(
        bench.is_requested(RECEIVER, NOTIFICATION)?,
        "expected the notification in the receiver's IRR, saw none"
    );
    posted(upid, control | ON, 1 << USER_VECTOR)?;
    // The interrupt goes through the IDT if the receiver has no UINV, and can be counted there.
    bench.on(RECEIVER, forget_uinv, 0)?;
    bench.take_interrupts(RECEIVER)?;
    bench.take_interrupts(RECEIVER)?;
    let seen = event::count_of(Kind::Interrupt, RECEIVER, NOTIFICATION);
    ensure!(seen == 1, "expected one interrupt, saw {seen}");
    as_manual!("PIR and ON set, one interrupt in the receiver's IRR")
}

fn forget_uinv(_: u64) -> u64 {
    processor::clear();
    0
}

/// Posts without a notification.
pub const T30: Case = Case::new("T30", "ON and SN hold notifications back", SECTION, t30).cpus(2);

fn t30(bench: &mut Bench) -> Outcome {
    let upid = bench.set_up(RECEIVER)?;
    let control = upid.get().0;
    for bits in [ON, SN, ON | SN] {
        upid.control().store(control | bits, Ordering::SeqCst);
        upid.pir().store(0, Ordering::SeqCst);
        bench.send_well(0)?;
        ensure!(
            !bench.is_requested(RECEIVER, NOTIFICATION)?,
            "ON and SN {bits:#x}: expected no notification, saw one"
        );
        posted(upid, control | bits, 1 << USER_VECTOR)?;
    }
    as_manual!("PIR set, ON and SN unchanged, nothing sent")
}

/// NV need not be a notification vector.
pub const T31: Case = Case::new("T31", "NV that is not UINV", SECTION, t31).cpus(2);

fn t31(bench: &mut Bench) -> Outcome {
    let upid = bench.set_up(RECEIVER)?;
    upid.set(ORDINARY, smp::apic_id(RECEIVER));
    let control = upid.get().0;
    bench.send_well(0)?;
    ensure!(
        bench.is_requested(RECEIVER, ORDINARY)?,
        "expected vector {ORDINARY:#x} in the receiver's IRR, saw none"
    );
    bench.take_interrupts(RECEIVER)?;
    let seen = event::count_of(Kind::Interrupt, RECEIVER, ORDINARY);
    ensure!(seen == 1, "expected one interrupt by the IDT, saw {seen}");
    posted(upid, control | ON, 1 << USER_VECTOR)?;
    as_manual!("taken through the IDT; PIR and ON remain")
}

/// The ICR is really written.
pub const T32: Case = Case::new("T32", "the ICR in x2APIC mode", SECTION, t32)
    .cpus(2)
    .apic(ApicMode::X2apic);

fn t32(bench: &mut Bench) -> Outcome {
    bench.set_up(RECEIVER)?;
    bench.send_well(0)?;
    let wanted = u64::from(smp::apic_id(RECEIVER)) << 32 | u64::from(NOTIFICATION);
    let seen = apic::command();
    ensure!(seen == wanted, "ICR: expected {wanted:#x}, saw {seen:#x}");
    as_manual!("ICR reads NV and NDST")
}

/// In xAPIC mode one byte of NDST counts.
pub const T33: Case = Case::new("T33", "NDST in xAPIC mode", SECTION, t33)
    .cpus(2)
    .apic(ApicMode::Xapic);

fn t33(bench: &mut Bench) -> Outcome {
    const JUNK: u64 = 0xa5a5_00a5;
    let upid = bench.set_up(RECEIVER)?;
    upid.control().fetch_or(JUNK << 32, Ordering::SeqCst);
    bench.send_well(0)?;
    ensure!(
        bench.is_requested(RECEIVER, NOTIFICATION)?,
        "expected the notification in the receiver's IRR, saw none"
    );
    let seen = apic::command();
    let wanted = u64::from(smp::apic_id(RECEIVER));
    ensure!(
        seen >> 56 == wanted && seen & 0xffff_ffff == u64::from(NOTIFICATION),
        "ICR: expected destination {wanted:#x} and command {NOTIFICATION:#x}, saw {seen:#x}"
    );
    as_manual!("sent to the ID in NDST[15:8], which ICR[63:56] reads; the other bits do not matter")
}

/// Vectors below 16 cannot be sent.
pub const T34: Case = Case::new(
    "T34",
    "NV below 16",
    "SDM 3A, Error Handling of the local APIC",
    t34,
)
.cpus(2)
.deviates("B-16");

fn t34(bench: &mut Bench) -> Outcome {
    const ILLEGAL: u8 = 0x0f;
    let upid = bench.set_up(RECEIVER)?;
    upid.set(ILLEGAL, smp::apic_id(RECEIVER));
    let control = upid.get().0;
    bench.send_well(0)?;
    ensure!(
        !bench.is_requested(RECEIVER, ILLEGAL)?,
        "vector {ILLEGAL:#x} reached the receiver's IRR"
    );
    bench.take_interrupts(RECEIVER)?;
    ensure!(
        event::count() == 0,
        "expected no interrupt, saw {}",
        event::count()
    );
    posted(upid, control | ON, 1 << USER_VECTOR)?;
    let at_sender = apic::take_errors();
    let at_receiver = bench.on(RECEIVER, take_errors, 0)? as u32;
    if at_sender & apic::ESR_SEND_ILLEGAL_VECTOR != 0 {
        as_manual!("nothing delivered, ON stays, the sender's ESR has bit 5")
    } else if (at_sender | at_receiver) & !apic::ESR_RECEIVED_ILLEGAL_VECTOR == 0 {
        // The target logs it. With a filter that is the sender: the hypervisor has its APIC send to itself.
        deviant!(
            "nothing delivered, ON stays, but ESR {at_sender:#x} at the sender and {at_receiver:#x} at the receiver"
        )
    } else {
        wrong!(
            "expected ESR bit 5 at the sender, saw {at_sender:#x}, at the receiver {at_receiver:#x}"
        )
    }
}

fn take_errors(_: u64) -> u64 {
    u64::from(apic::take_errors())
}

/// A broadcast reaches everybody.
pub const T35: Case = Case::new("T35", "broadcast", SECTION, t35).cpus(2);

fn t35(bench: &mut Bench) -> Outcome {
    const EVERYBODY: u64 = 0xffff_ffff;
    let upid = bench.set_up(RECEIVER)?;
    upid.control().store(
        EVERYBODY << 32 | u64::from(ORDINARY) << 16,
        Ordering::SeqCst,
    );
    let code = Code::default()
        .then_load_rax(0)
        .then(&opcode::SENDUIPI)
        .then_pause(ARRIVAL);
    let trap = bench.user(&code);
    ensure!(trap.is_end(), "SENDUIPI: {trap}");
    for index in 0..smp::count() {
        bench.take_interrupts(index)?;
        let seen = event::count_of(Kind::Interrupt, index, ORDINARY);
        ensure!(seen == 1, "CPU {index}: expected one interrupt, saw {seen}");
    }
    as_manual!(
        "{} CPUs, the sender among them, took one interrupt each",
        smp::count()
    )
}

/// Nothing is lost between two senders and a receiver.
pub const T36: Case = Case::new(
    "T36",
    "two senders, nothing lost",
    "SDM 3A, User-Interrupt Notification Processing",
    t36,
)
.cpus(2);

/// Posts of each sender in T36.
const POSTS: u64 = 2000;
/// Whether the sender of T36 on another CPU has posted its last.
static IS_POSTED: [AtomicBool; 2] = [const { AtomicBool::new(false) }; 2];
/// Faults of the senders.
static FAULTS: AtomicU64 = AtomicU64::new(0);

/// CPU 0 receives. Two others send, or one other and CPU 0 itself. Each waits after each post until the handler ran for
/// it, so that a vector that is lost is missed at once.
fn t36(bench: &mut Bench) -> Outcome {
    let upid = bench.set_up(0)?;
    let senders: &[usize] = if smp::count() > 2 { &[1, 2] } else { &[1] };
    for sender in 1..3 {
        set_target(sender, upid, vector_of(sender));
    }
    FAULTS.store(0, Ordering::SeqCst);
    for &sender in senders {
        IS_POSTED[sender - 1].store(false, Ordering::SeqCst);
        smp::begin(sender, post_many, sender as u64);
    }
    let ended = receive(senders);
    for &sender in senders {
        smp::finish(sender).map_err(|failed| Failure(failed.text(sender)))?;
    }
    ended?;
    let faults = FAULTS.load(Ordering::SeqCst);
    ensure!(faults == 0, "{faults} SENDUIPI faulted");
    for sender in 1..3 {
        let seen = event::delivered(vector_of(sender));
        ensure!(
            seen == POSTS,
            "vector {}: expected {POSTS} deliveries, saw {seen}",
            vector_of(sender)
        );
    }
    let (control, pir) = upid.get();
    let pending = read_msr(uintr::msr::IA32_UINTR_RR);
    ensure!(
        control & ON == 0 && pir == 0 && pending == 0,
        "at the end: expected ON, PIR and UIRR 0, saw {control:#x} {pir:#x} {pending:#x}"
    );
    as_manual!(
        "{POSTS} posts each by two senders, each delivered; at the end PIR, ON and UIRR are 0"
    )
}

fn vector_of(sender: usize) -> u8 {
    10 + sender as u8
}

/// Receives at CPL 3 until all has been delivered. Where there is one sender only, this CPU is the second.
fn receive(senders: &[usize]) -> Result<(), Failure> {
    let sends = senders.len() == 1;
    let own = vector_of(2);
    let mut posted = 0;
    let start = cpu::tsc();
    loop {
        let mut code = Code::default();
        if sends && posted < POSTS && event::delivered(own) == posted {
            posted += 1;
            code = code.then_load_rax(2).then(&opcode::SENDUIPI);
        }
        let trap = Run::new(Level::User, &code.then_pause(64)).go();
        ensure!(trap.is_end(), "the receiver at CPL 3: {trap}");
        let is_done = senders
            .iter()
            .all(|&sender| IS_POSTED[sender - 1].load(Ordering::SeqCst));
        if is_done && (!sends || event::delivered(own) == POSTS) {
            break;
        }
        ensure!(
            cpu::tsc() - start < 3 * crate::machine::BUDGET,
            "a post was not delivered: UPID {:x?}, deliveries {} and {}",
            RawUpid::new(0).get(),
            event::delivered(vector_of(1)),
            event::delivered(own)
        );
    }
    Ok(())
}

/// Posts many times and waits each time until the handler ran.
fn post_many(sender: u64) -> u64 {
    processor::become_sender();
    let vector = vector_of(sender as usize);
    let code = Code::default()
        .then_load_rax(sender)
        .then(&opcode::SENDUIPI);
    let run = Run::new(Level::User, &code);
    for posted in 1..=POSTS {
        if !run.go().is_end() {
            FAULTS.fetch_add(1, Ordering::SeqCst);
            break;
        }
        if !cpu::wait_until(crate::machine::BUDGET, || {
            event::delivered(vector) == posted
        }) {
            break;
        }
    }
    IS_POSTED[sender as usize - 1].store(true, Ordering::SeqCst);
    0
}

/// Expects this control word and these requests.
fn posted(upid: RawUpid, control: u64, pir: u64) -> Result<(), Failure> {
    let seen = upid.get();
    ensure!(
        seen == (control, pir),
        "UPID: expected {control:#x} {pir:#x}, saw {:#x} {:#x}",
        seen.0,
        seen.1
    );
    Ok(())
}
