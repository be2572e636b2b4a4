// SPDX-License-Identifier: MIT OR Apache-2.0
//! Instruction boundaries: what blocks delivery, what goes before it, and waiting instructions.

use core::sync::atomic::{AtomicBool, Ordering};

use uintr::{CR4_UINTR, msr};

use super::notification::{ended, post_and_notify, request, the_only_event};
use crate::bench::{ARRIVAL, Bench};
use crate::case::{Case, Failure, Outcome};
use crate::machine::event::{self, Kind};
use crate::machine::paging::Page;
use crate::machine::run::{Code, Level, Run};
use crate::machine::trap::Registers;
use crate::machine::uintr::{USER_VECTOR, opcode, read_msr, write_msr};
use crate::machine::{BUDGET, cpu, smp, uintr as processor};

const DELIVERY: &str = "SDM 3A, User-Interrupt Delivery";
const SENDER: usize = 1;
/// An ordinary vector of lower priority than the notification's.
const ORDINARY: u8 = 0x60;
const PENDING: u64 = 1 << USER_VECTOR;
const IOPL_3: u64 = 3 << 12;
/// Ticks after which another CPU posts for a CPU that is waiting by then.
const LATER: u64 = 50_000;
/// Ticks after which a waiting instruction ends by itself.
const LONG: u64 = BUDGET / 4;

/// The boundary behind MOV SS.
pub const T58: Case = Case::new("T58", "MOV SS blocks delivery", DELIVERY, t58).cpus(2);

/// Posts of T58.
const POSTS: u64 = 300;
static IS_POSTED: AtomicBool = AtomicBool::new(false);

/// Another CPU posts at all times relative to a loop with MOV SS in it.
fn t58(bench: &mut Bench) -> Outcome {
    // MOV EAX, USER_DATA; MOV ECX, rounds; L: MOV SS, EAX; NOP; NOP; SUB ECX, 1; JNE L. Five instructions, so that the loop
    // does not keep time with CPUs that take turns after a power of two.
    const CODE: [u8; 19] = [
        0xb8, 0x1b, 0, 0, 0, 0xb9, 0x80, 0, 0, 0, 0x8e, 0xd0, 0x90, 0x90, 0x83, 0xe9, 0x01, 0x75,
        0xf7,
    ];
    const LOOP: u64 = 10;
    const BLOCKED: u64 = 12;
    const BEHIND: u64 = 13;
    bench.set_up(0)?;
    IS_POSTED.store(false, Ordering::SeqCst);
    smp::begin(SENDER, post_at_all_times, 0);
    let run = Run::new(Level::User, &Code::new(&CODE));
    let start = cpu::tsc();
    let mut faulted = None;
    while !IS_POSTED.load(Ordering::SeqCst) && cpu::tsc() - start < BUDGET {
        let trap = run.go();
        if !trap.is_end() {
            faulted = Some(trap);
            break;
        }
    }
    smp::finish(SENDER).map_err(|failed| Failure(failed.text(SENDER)))?;
    if let Some(trap) = faulted {
        wrong!("the loop: {trap}");
    }
    let seen = event::delivered(USER_VECTOR);
    ensure!(seen == POSTS, "expected {POSTS} deliveries, saw {seen}");
    let at = |offset| {
        event::all()
            .filter(|event| event.rip == run.0.rip + offset)
            .count()
    };
    let (blocked, near) = (at(BLOCKED), at(LOOP) + at(BEHIND));
    ensure!(
        blocked == 0,
        "{blocked} deliveries between MOV SS and the next instruction"
    );
    ensure!(
        near > 0,
        "none of the deliveries came near MOV SS: the case shows nothing"
    );
    as_manual!(
        "{seen} deliveries, none right behind MOV SS, {near} at the boundaries before and after that"
    )
}

fn post_at_all_times(_: u64) -> u64 {
    processor::become_sender();
    for posted in 1..=POSTS {
        let code = Code::default()
            .then_pause(1 + (posted % 23) as u32)
            .then_load_rax(0)
            .then(&opcode::SENDUIPI);
        if !Run::new(Level::User, &code).go().is_end()
            || !cpu::wait_until(BUDGET / 4, || event::delivered(USER_VECTOR) == posted)
        {
            break;
        }
    }
    IS_POSTED.store(true, Ordering::SeqCst);
    0
}

/// The boundary behind STI.
pub const T59: Case = Case::new("T59", "STI does not block delivery", DELIVERY, t59);

fn t59(bench: &mut Bench) -> Outcome {
    bench.set_up(0)?;
    write_msr(msr::IA32_UINTR_RR, PENDING);
    // STI is the third instruction.
    let run = Run::new(
        Level::User,
        &Code::new(&[0x90, 0x90, 0xfb, 0x90, 0x90, 0x90, 0x90]),
    )
    .with_flags(IOPL_3)
    .without_flags(cpu::RFLAGS_IF);
    ended(&run.go())?;
    let event = the_only_event()?;
    let behind_sti = run.0.rip + 3;
    ensure!(
        event.kind == Kind::UserInterrupt && event.rip <= behind_sti,
        "expected delivery at {behind_sti:#x} at the latest, saw {event:x?}"
    );
    as_manual!("delivered at offset {} of at most 3", event.rip - run.0.rip)
}

/// RFLAGS.IF is for maskable interrupts.
pub const T60: Case = Case::new("T60", "delivery with IF clear", DELIVERY, t60).deviates("B-8");

fn t60(bench: &mut Bench) -> Outcome {
    const CLI: u8 = 0xfa;
    let upid = bench.set_up(0)?;
    // IF clear from the first instruction on.
    write_msr(msr::IA32_UINTR_RR, PENDING);
    let run = Run::new(Level::User, &Code::new(&[0x90; 8]))
        .with_flags(IOPL_3)
        .without_flags(cpu::RFLAGS_IF);
    ended(&run.go())?;
    let event = the_only_event()?;
    ensure!(
        event.kind == Kind::UserInterrupt && event.rflags & cpu::RFLAGS_IF == 0,
        "expected a delivery with IF=0 in the frame, saw {event:x?}"
    );
    // A notification is processed, and CLI is the next instruction.
    event::clear();
    post_and_notify(upid, PENDING)?;
    let code = Code::new(&[CLI]).then(&[0x90; 8]);
    ended(&Run::new(Level::User, &code).with_flags(IOPL_3).go())?;
    if event::count() == 0 && read_msr(msr::IA32_UINTR_RR) == PENDING {
        return deviant!("delivered with IF=0 by IRET, but CLI holds delivery back; still pending");
    }
    let event = the_only_event()?;
    ensure!(
        event.kind == Kind::UserInterrupt,
        "expected a delivery, saw {event:x?}"
    );
    as_manual!("delivered with IF=0, after IRET and after CLI")
}

/// A notification is an interrupt among others until it is processed.
pub const T61: Case = Case::new(
    "T61",
    "notification, interrupt, delivery: the order",
    DELIVERY,
    t61,
);

fn t61(bench: &mut Bench) -> Outcome {
    let upid = bench.set_up(0)?;
    post_and_notify(upid, PENDING)?;
    request(ORDINARY)?;
    interrupt_then_delivery(bench)?;
    as_manual!("processed, then the interrupt through the IDT, then the handler")
}

/// Interrupts go before user interrupts.
pub const T62: Case = Case::new("T62", "an interrupt goes before delivery", DELIVERY, t62);

fn t62(bench: &mut Bench) -> Outcome {
    bench.set_up(0)?;
    write_msr(msr::IA32_UINTR_RR, PENDING);
    request(ORDINARY)?;
    interrupt_then_delivery(bench)?;
    as_manual!("the interrupt through the IDT first, then the handler")
}

/// Waiting at CPL 3.
pub const T63: Case = Case::new("T63", "wakes from UMWAIT and TPAUSE", DELIVERY, t63).cpus(2);

fn t63(bench: &mut Bench) -> Outcome {
    const UMONITOR_RBX: [u8; 4] = [0xf3, 0x0f, 0xae, 0xf3];
    const UMWAIT_ECX: [u8; 4] = [0xf2, 0x0f, 0xae, 0xf1];
    const TPAUSE_ECX: [u8; 4] = [0x66, 0x0f, 0xae, 0xf1];
    if !cpu::has_waitpkg() {
        return recorded!("the processor has neither UMWAIT nor TPAUSE");
    }
    for (name, code) in [
        ("UMWAIT", Code::new(&UMONITOR_RBX).then(&UMWAIT_ECX)),
        ("TPAUSE", Code::new(&TPAUSE_ECX)),
    ] {
        bench.reset()?;
        bench.set_up(0)?;
        let behind = Page::code(0).linear() + code.len();
        let deadline = cpu::tsc() + LONG;
        smp::begin(SENDER, post_later, 0);
        let trap = Run::new(Level::User, &code.then(&[0x90; 4]))
            .with(waiting_until(deadline))
            .go();
        let ended_at = cpu::tsc();
        smp::finish(SENDER).map_err(|failed| Failure(failed.text(SENDER)))?;
        ended(&trap)?;
        let event = the_only_event()?;
        ensure!(
            event.kind == Kind::UserInterrupt && (behind..behind + 4).contains(&event.rip),
            "{name}: expected delivery behind it, from {behind:#x} on, saw {event:x?}"
        );
        ensure!(ended_at < deadline, "{name}: woken by its time limit only");
    }
    as_manual!("both woken long before their time, the handler's frame behind them")
}

/// Registers for UMONITOR RBX, and UMWAIT and TPAUSE of ECX: state C0.2.
pub fn waiting_until(deadline: u64) -> Registers {
    Registers {
        rax: deadline & 0xffff_ffff,
        rdx: deadline >> 32,
        rbx: Page::SPARE.linear(),
        ..Registers::default()
    }
}

fn post_later(_: u64) -> u64 {
    processor::become_sender();
    cpu::delay(LATER);
    let code = Code::default().then_load_rax(0).then(&opcode::SENDUIPI);
    u64::from(Run::new(Level::User, &code).go().is_end())
}

/// HLT is a state of CPL 0, where nothing is delivered.
pub const T64: Case = Case::new(
    "T64",
    "HLT goes on",
    "SDM 3A, User-Interrupt Notification Processing",
    t64,
)
.cpus(2)
.deviates("B-7");

fn t64(bench: &mut Bench) -> Outcome {
    bench.set_up(0)?;
    smp::begin(SENDER, post_later, 0);
    let after_notification = bench.stays_halted();
    smp::finish(SENDER).map_err(|failed| Failure(failed.text(SENDER)))?;
    let after_notification = after_notification?;
    ensure!(
        read_msr(msr::IA32_UINTR_RR) == PENDING,
        "expected the notification processed, saw UIRR {:#x}",
        read_msr(msr::IA32_UINTR_RR)
    );
    let while_pending = bench.stays_halted()?;
    if after_notification && while_pending {
        return as_manual!("halted through a notification and with UIRR set");
    }
    deviant!(
        "HLT at CPL 0 ends: by a notification {}, by UIRR {}",
        !after_notification,
        !while_pending
    )
}

/// CR4.UINTR set after UIRR.
pub const T71: Case = Case::new(
    "T71",
    "CR4.UINTR set with UIRR set (open question 14)",
    "SDM 3A, User-Interrupt Recognition",
    t71,
);

fn t71(bench: &mut Bench) -> Outcome {
    bench.set_up(0)?;
    cpu::set_cr4(CR4_UINTR, false);
    write_msr(msr::IA32_UINTR_RR, PENDING);
    cpu::set_cr4(CR4_UINTR, true);
    ended(&bench.user(&Code::new(&[0x90; 16])))?;
    match event::count_of(Kind::UserInterrupt, 0, USER_VECTOR) {
        0 => recorded!("not delivered"),
        1 => recorded!("delivered"),
        count => wrong!("expected one delivery at most, saw {count}"),
    }
}

/// CR4.UINTR cleared after UIRR.
pub const T72: Case = Case::new(
    "T72",
    "no delivery with CR4.UINTR clear",
    "SDM 3A, User-Interrupt Delivery",
    t72,
)
.deviates("B-9");

fn t72(bench: &mut Bench) -> Outcome {
    bench.set_up(0)?;
    write_msr(msr::IA32_UINTR_RR, PENDING);
    cpu::set_cr4(CR4_UINTR, false);
    // The emulator stops for good where it delivers with CR4.UINTR clear. That it would do so shows in HLT at CPL 0, which
    // nothing ends otherwise.
    if !bench.stays_halted()? {
        return deviant!("still pending with CR4.UINTR clear: ends HLT at CPL 0");
    }
    // The common handler would use TESTUI and UIRET, which do not exist now: a page that traps tells a delivery.
    Code::default().write_to(Page::SPARE);
    write_msr(msr::IA32_UINTR_HANDLER, Page::SPARE.linear());
    let trap = bench.user(&Code::new(&[0x90; 16]));
    cpu::set_cr4(CR4_UINTR, true);
    ended(&trap)?;
    let code = Page::code(0).linear()..Page::code(0).end();
    ensure!(
        code.contains(&trap.frame.rip),
        "delivered although CR4.UINTR is clear: {trap}"
    );
    ensure!(
        read_msr(msr::IA32_UINTR_RR) == PENDING,
        "expected UIRR kept, saw {:#x}",
        read_msr(msr::IA32_UINTR_RR)
    );
    as_manual!("not delivered, UIRR kept")
}

/// Enables interrupts by going to CPL 3, and expects the ordinary one first and then the handler.
fn interrupt_then_delivery(bench: &Bench) -> Result<(), Failure> {
    ended(&bench.user(&Code::new(&[0x90; 8]).then_pause(ARRIVAL)))?;
    let seen =
        [event::get(0), event::get(1)].map(|event| event.map(|event| (event.kind, event.vector)));
    let wanted = [
        Some((Kind::Interrupt, u64::from(ORDINARY))),
        Some((Kind::UserInterrupt, u64::from(USER_VECTOR))),
    ];
    ensure!(
        event::count() == 2 && seen == wanted,
        "expected the interrupt and then the delivery, saw {} events: {seen:x?}",
        event::count()
    );
    Ok(())
}
