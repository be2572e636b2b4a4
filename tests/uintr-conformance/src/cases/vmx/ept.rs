// SPDX-License-Identifier: MIT OR Apache-2.0
//! EPT violations of what the processor accesses for user interrupts.

use ::uintr::msr;

use super::{expect_no_events, expect_processed, expect_upid, run_to_end};
use crate::bench::{ARRIVAL, Bench};
use crate::case::{Case, Failure, Outcome, Where};
use crate::cases::notification::{post_and_notify, the_only_event};
use crate::machine::apic;
use crate::machine::event::Kind;
use crate::machine::paging::Page;
use crate::machine::run::{Code, Level};
use crate::machine::uintr::{NOTIFICATION, ON, USER_VECTOR, opcode, read_msr, write_msr};
use crate::vmm::exit::ept_violation::{ASYNCHRONOUS, FINAL, LINEAR_VALID, READ, WRITE};
use crate::vmm::exit::{Exit, VALID, external_interrupt, reason};
use crate::vmm::guest::Guest;
use crate::vmm::{Vmm, ept};

const POSTED: u64 = 1 << USER_VECTOR;
const VIOLATIONS: &str = "SDM 3C, Exit Qualification for EPT Violations";

/// Expects an EPT violation of an access to `linear` in this page.
fn expect_violation(exit: &Exit, page: Page, linear: core::ops::Range<u64>) -> Result<(), Failure> {
    let valid = LINEAR_VALID | FINAL;
    ensure!(
        exit.is(reason::EPT_VIOLATION)
            && exit.qualification & valid == valid
            && linear.contains(&exit.linear)
            && exit.physical == page.physical() + exit.linear % 0x1000,
        "expected exit 48 for {linear:#x?}, saw {exit}"
    );
    Ok(())
}

/// SENDUIPI is an instruction like others.
pub const V19: Case = Case::new("V19", "EPT violation of SENDUIPI", VIOLATIONS, v19)
    .place(Where::Bare)
    .deviates("B-11");

fn v19(bench: &mut Bench) -> Outcome {
    let upid = bench.set_up(0)?;
    let before = upid.get();
    let vmm = Vmm::start()?;
    ept::unmap(Page::UPIDS.physical());
    // At CPL 0, so that the notification waits.
    let mut guest = Guest::new(&vmm, Level::Kernel, &Code::new(&opcode::SENDUIPI))?;
    let exit = guest.run()?;
    expect_violation(&exit, Page::UPIDS, upid.linear()..upid.linear() + 16)?;
    ensure!(
        exit.idt_vectoring & VALID == 0
            && exit.rip == Page::code(0).linear()
            && exit.qualification & ASYNCHRONOUS == 0,
        "expected RIP of SENDUIPI, no IDT-vectoring, not asynchronous, saw {exit}"
    );
    expect_upid("exit", upid, before)?;
    ensure!(
        !apic::is_any_requested(),
        "expected no interrupt before the descriptor is mapped"
    );
    let access = exit.qualification & (READ | WRITE);
    ept::map_all();
    run_to_end(&mut guest, "mapped again")?;
    expect_upid("mapped again", upid, (before.0 | ON, POSTED))?;
    ensure!(
        apic::is_requested(NOTIFICATION),
        "mapped again: expected the notification"
    );
    if access == READ {
        return deviant!("the access is a read, not a write; everything else as the manual says");
    }
    ensure!(
        access & WRITE != 0,
        "expected a write, saw qualification {:#x}",
        exit.qualification
    );
    as_manual!("exit 48 for a write, nothing changed; done after mapping")
}

/// A notification that exits is not lost if the hypervisor injects it again.
pub const V20: Case = Case::new(
    "V20",
    "EPT violation of notification processing",
    "SDM 3C, Information for VM Exits That Occur During Event Delivery",
    v20,
)
.place(Where::Bare)
.deviates("B-5");

fn v20(bench: &mut Bench) -> Outcome {
    let upid = bench.set_up(0)?;
    let vmm = Vmm::start()?;
    ept::unmap(Page::UPIDS.physical());
    let mut guest = Guest::new(&vmm, Level::User, &Code::default().then_pause(ARRIVAL))?;
    post_and_notify(upid, POSTED)?;
    let before = upid.get();
    let exit = guest.run()?;
    expect_violation(&exit, Page::UPIDS, upid.linear()..upid.linear() + 16)?;
    expect_upid("exit", upid, before)?;
    ensure!(
        !apic::is_requested(NOTIFICATION) && !apic::is_in_service(NOTIFICATION),
        "exit: expected the interrupt ended"
    );
    ept::map_all();
    guest.inject(external_interrupt(NOTIFICATION))?;
    run_to_end(&mut guest, "injected again")?;
    expect_processed("injected again", upid, 0)?;
    let event = the_only_event()?;
    ensure!(
        (event.kind, event.vector) == (Kind::UserInterrupt, u64::from(USER_VECTOR)),
        "injected again: expected the handler, saw {event:x?}"
    );
    if exit.idt_vectoring & VALID == 0 {
        return deviant!(
            "IDT-vectoring information is not valid; injecting the vector completes it"
        );
    }
    ensure!(
        exit.idt_vectoring == external_interrupt(NOTIFICATION),
        "IDT-vectoring information: expected {:#x}, saw {exit}",
        external_interrupt(NOTIFICATION)
    );
    as_manual!("exit 48 with IDT-vectoring of the notification; injecting it completes it")
}

/// Delivery is neither an instruction nor an event of the IDT.
pub const V21: Case = Case::new("V21", "EPT violation of delivery", VIOLATIONS, v21)
    .place(Where::Bare)
    .deviates("B-13");

fn v21(bench: &mut Bench) -> Outcome {
    bench.set_up(0)?;
    write_msr(msr::IA32_UINTR_RR, POSTED);
    let vmm = Vmm::start()?;
    let stack = Page::stack(0);
    ept::unmap(stack.physical());
    let mut guest = Guest::new(&vmm, Level::User, &Code::new(&[0x90; 8]))?;
    let (rip, rsp) = (Page::code(0).linear(), stack.end());
    let exit = guest.run()?;
    expect_violation(&exit, stack, stack.linear()..stack.end())?;
    let state = (exit.rip, guest.read(x86::vmx::vmcs::guest::RSP)?);
    ensure!(
        exit.idt_vectoring & VALID == 0
            && exit.qualification & WRITE != 0
            && state == (rip, rsp)
            && read_msr(msr::IA32_UINTR_RR) == POSTED,
        "expected a write, no IDT-vectoring, RIP and RSP {:x?}, UIRR kept, saw {exit} and {state:x?}",
        (rip, rsp)
    );
    expect_no_events("exit")?;
    ept::map_all();
    run_to_end(&mut guest, "mapped again")?;
    let event = the_only_event()?;
    ensure!(
        (event.kind, event.vector, event.rip, event.rsp)
            == (Kind::UserInterrupt, u64::from(USER_VECTOR), rip, rsp),
        "mapped again: expected the handler at {rip:#x}, saw {event:x?}"
    );
    if exit.qualification & ASYNCHRONOUS == 0 {
        return deviant!("bit 16 of the qualification is 0; everything else as the manual says");
    }
    as_manual!("exit 48 with bit 16, no IDT-vectoring, state kept; delivered after mapping")
}
