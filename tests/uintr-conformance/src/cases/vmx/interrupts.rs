// SPDX-License-Identifier: MIT OR Apache-2.0
//! Physical notifications and guests, and notifications that VM entry injects.

use ::uintr::{CR4_UINTR, msr};
use x86::vmx::vmcs::{control, guest};

use super::{expect_no_events, expect_processed, expect_upid, run_to_end};
use crate::bench::{ARRIVAL, Bench};
use crate::case::{Case, Failure, Outcome, Where};
use crate::cases::notification::{post_and_notify, the_only_event};
use crate::machine::event::{self, Kind};
use crate::machine::run::{Code, Level};
use crate::machine::uintr::{NOTIFICATION, ON, RawUpid, USER_VECTOR, opcode, read_msr};
use crate::machine::{apic, cpu};
use crate::vmm::Vmm;
use crate::vmm::control::{Controls, EXIT_ACKNOWLEDGE, PIN_EXTERNAL_INTERRUPT};
use crate::vmm::exit::{SOFTWARE_INTERRUPT, VALID, external_interrupt, reason};
use crate::vmm::guest::Guest;

const INJECTION: &str = "SDM 3C, Event Injection";
const ACTIVITY_HLT: u64 = 1;
const POSTED: u64 = 1 << USER_VECTOR;

/// External-interrupt exiting comes before identification.
pub const V05: Case = Case::new(
    "V05",
    "external-interrupt exiting and notifications",
    "SDM 3C, Other Causes of VM Exits",
    v05,
)
.place(Where::Bare)
.deviates("B-22");

fn v05(bench: &mut Bench) -> Outcome {
    let upid = bench.set_up(0)?;
    let vmm = Vmm::start()?;
    for is_acknowledged in [false, true] {
        let mut guest = exiting_guest(&vmm, is_acknowledged)?;
        guest.set_flags(cpu::RFLAGS_IF)?;
        post_and_notify(upid, POSTED)?;
        expect_exit(&mut guest, is_acknowledged, "IF=1")?;
        expect_upid("IF=1", upid, (upid.get().0 | ON, POSTED))?;
        take_back(upid);
        // CLI, then the guest notifies itself.
        let code = Code::new(&[0xfa])
            .then(&opcode::SENDUIPI)
            .then_pause(ARRIVAL);
        guest.restart(Level::Kernel, &code)?;
        guest.set_flags(cpu::RFLAGS_IF)?;
        expect_exit(&mut guest, is_acknowledged, "IF cleared by the guest")?;
        expect_upid("IF=0", upid, (upid.get().0 | ON, POSTED))?;
        take_back(upid);
    }
    let mut guest = exiting_guest(&vmm, false)?;
    post_and_notify(upid, POSTED)?;
    let exit = guest.run()?;
    expect_upid("entered with IF=0", upid, (upid.get().0 | ON, POSTED))?;
    ensure!(
        apic::is_requested(NOTIFICATION),
        "entered with IF=0: expected the notification in the IRR"
    );
    if exit.is(reason::VMCALL) {
        return deviant!(
            "no exit for an interrupt that is pending at VM entry with guest IF=0; all others as the manual says"
        );
    }
    ensure!(
        exit.is(reason::EXTERNAL_INTERRUPT),
        "entered with IF=0: expected exit 1, saw {exit}"
    );
    as_manual!(
        "exit 1 with guest IF 0 and 1; not acknowledged: still in the IRR; acknowledged: vector {NOTIFICATION:#x}; \
         descriptor untouched"
    )
}

/// Makes a guest at CPL 0 that external interrupts take out, acknowledged or not.
fn exiting_guest(vmm: &Vmm, is_acknowledged: bool) -> Result<Guest<'_>, Failure> {
    let guest = Guest::new(vmm, Level::Kernel, &Code::default().then_pause(ARRIVAL))?;
    guest.set(Controls::Pin, PIN_EXTERNAL_INTERRUPT)?;
    if is_acknowledged {
        guest.set(Controls::Exit, EXIT_ACKNOWLEDGE)?;
    }
    Ok(guest)
}

/// Expects the exit of a notification and that it is still requested, or in service if it was acknowledged; then ends it.
fn expect_exit(guest: &mut Guest<'_>, is_acknowledged: bool, when: &str) -> Result<(), Failure> {
    let exit = guest.run_until(reason::EXTERNAL_INTERRUPT, when)?;
    let seen = (
        exit.interruption,
        apic::is_requested(NOTIFICATION),
        apic::is_in_service(NOTIFICATION),
    );
    let is_as_wanted = if is_acknowledged {
        seen == (external_interrupt(NOTIFICATION), false, true)
    } else {
        seen.0 & VALID == 0 && (seen.1, seen.2) == (true, false)
    };
    ensure!(
        is_as_wanted,
        "{when}, acknowledge {is_acknowledged}: interruption information, IRR, ISR: saw {seen:x?}"
    );
    expect_no_events(when)?;
    if is_acknowledged {
        apic::end_of_interrupt();
    }
    Ok(())
}

/// Takes what is requested of the host, and empties the descriptor.
fn take_back(upid: RawUpid) {
    cpu::take_interrupts();
    event::clear();
    upid.set(NOTIFICATION, apic::id());
}

/// What exited is put back.
pub const V06: Case =
    Case::new("V06", "injecting a notification", INJECTION, v06).place(Where::Bare);

fn v06(bench: &mut Bench) -> Outcome {
    let upid = bench.set_up(0)?;
    let vmm = Vmm::start()?;
    let mut guest = exiting_guest(&vmm, true)?;
    guest.set_flags(cpu::RFLAGS_IF)?;
    post_and_notify(upid, POSTED)?;
    let exit = guest.run_until(reason::EXTERNAL_INTERRUPT, "notification pending")?;
    guest.inject(exit.interruption)?;
    run_to_end(&mut guest, "injected at CPL 0")?;
    expect_processed("injected at CPL 0", upid, POSTED)?;
    expect_no_events("injected at CPL 0")?;
    ensure!(
        apic::is_in_service(NOTIFICATION),
        "injected: expected no EOI, but the vector is not in service any more"
    );
    apic::end_of_interrupt();
    guest.restart(Level::User, &Code::new(&[0x90; 8]))?;
    run_to_end(&mut guest, "CPL 3")?;
    let event = the_only_event()?;
    ensure!(
        (event.kind, event.vector) == (Kind::UserInterrupt, u64::from(USER_VECTOR)),
        "CPL 3: expected the handler, saw {event:x?}"
    );
    as_manual!("processed, no IDT, no EOI; the handler runs at CPL 3")
}

/// Only external interrupts are notifications.
pub const V07: Case = Case::new(
    "V07",
    "injecting a software interrupt with the number of UINV",
    INJECTION,
    v07,
)
.place(Where::Bare)
.deviates("B-6");

fn v07(bench: &mut Bench) -> Outcome {
    let upid = bench.set_up(0)?;
    let vmm = Vmm::start()?;
    let mut guest = Guest::new(&vmm, Level::Kernel, &Code::new(&[0x90; 8]))?;
    post(upid);
    let before = upid.get();
    guest.set_flags(cpu::RFLAGS_IF)?;
    guest.inject(external_interrupt(NOTIFICATION) | SOFTWARE_INTERRUPT)?;
    guest.write(control::VMENTRY_INSTRUCTION_LEN, 2)?;
    run_to_end(&mut guest, "INT n injected")?;
    if event::count() == 0
        && upid.get() == (before.0 & !ON, 0)
        && read_msr(msr::IA32_UINTR_RR) == POSTED
    {
        return deviant!("a software interrupt was processed like a notification");
    }
    let event = the_only_event()?;
    ensure!(
        (event.kind, event.vector) == (Kind::Interrupt, u64::from(NOTIFICATION)),
        "expected vector {NOTIFICATION:#x} through the IDT, saw {event:x?}"
    );
    expect_upid("INT n injected", upid, before)?;
    as_manual!("delivered through the IDT, descriptor untouched")
}

/// Posts [`POSTED`] with ON set, without an interrupt.
fn post(upid: RawUpid) {
    use core::sync::atomic::Ordering;
    upid.pir().store(POSTED, Ordering::SeqCst);
    upid.control().fetch_or(ON, Ordering::SeqCst);
}

/// A notification is no reason to wake up.
pub const V08: Case = Case::new("V08", "injecting a notification into HLT", INJECTION, v08)
    .place(Where::Bare)
    .deviates("B-7");

fn v08(bench: &mut Bench) -> Outcome {
    const TIMER: u64 = 50_000;
    let upid = bench.set_up(0)?;
    let vmm = Vmm::start()?;
    let mut guest = Guest::new(&vmm, Level::Kernel, &Code::new(&[0x90; 8]))?;
    let start = guest.read(guest::RIP)?;
    guest.set_flags(cpu::RFLAGS_IF)?;
    guest.write(guest::ACTIVITY_STATE, ACTIVITY_HLT)?;
    guest.write(guest::VMX_PREEMPTION_TIMER_VALUE, TIMER)?;
    let halted = guest.run_until(reason::PREEMPTION_TIMER, "halted, nothing injected")?;
    let activity = guest.read(guest::ACTIVITY_STATE)?;
    ensure!(
        (halted.rip, activity) == (start, ACTIVITY_HLT),
        "nothing injected: expected the guest halted at {start:#x}, saw activity {activity} and {halted}"
    );
    post(upid);
    guest.inject(external_interrupt(NOTIFICATION))?;
    let exit = guest.run()?;
    let activity = guest.read(guest::ACTIVITY_STATE)?;
    expect_processed("injected", upid, POSTED)?;
    expect_no_events("injected")?;
    if exit.is(reason::VMCALL) {
        return deviant!("processed, but the guest did not stay halted");
    }
    ensure!(
        exit.is(reason::PREEMPTION_TIMER) && (exit.rip, activity) == (start, ACTIVITY_HLT),
        "expected the guest halted at {start:#x} until the timer, saw activity {activity} and {exit}"
    );
    as_manual!("processed; the guest stays halted")
}

/// The host is not the receiver.
pub const V27: Case = Case::new(
    "V27",
    "a notification in root operation",
    "SDM 3A, User-Interrupt Notification Identification",
    v27,
)
.place(Where::Bare);

fn v27(bench: &mut Bench) -> Outcome {
    let upid = bench.set_up(0)?;
    let vmm = Vmm::start()?;
    let mut guest = Guest::new(&vmm, Level::User, &Code::default())?;
    run_to_end(&mut guest, "before")?;
    ensure!(
        cpu::cr4() & CR4_UINTR == 0,
        "the host's CR4.UINTR: expected 0, saw 1"
    );
    post_and_notify(upid, POSTED)?;
    let before = upid.get();
    cpu::take_interrupts();
    let event = the_only_event()?;
    ensure!(
        (event.kind, event.vector) == (Kind::Interrupt, u64::from(NOTIFICATION)),
        "expected vector {NOTIFICATION:#x} through the host's IDT, saw {event:x?}"
    );
    expect_upid("in root operation", upid, before)?;
    let pending = read_msr(msr::IA32_UINTR_RR);
    ensure!(pending == 0, "UIRR: expected 0, saw {pending:#x}");
    as_manual!("taken through the host's IDT, the guest's descriptor untouched")
}
