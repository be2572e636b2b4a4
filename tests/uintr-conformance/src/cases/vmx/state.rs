// SPDX-License-Identifier: MIT OR Apache-2.0
//! State of user interrupts that VM exits and VM entries leave alone, or recognize.

use core::sync::atomic::Ordering;

use ::uintr::{CR4_UINTR, msr};
use hv_abi::Doorbell;
use x86::vmx::vmcs::{control, guest};

use super::{by_place, expect_no_events, run_to_end};
use crate::bench::Bench;
use crate::case::{Case, Failure, Outcome, Where};
use crate::cases::notification::the_only_event;
use crate::machine::at_start::{self, State};
use crate::machine::event::Kind;
use crate::machine::paging::Page;
use crate::machine::run::{Code, Level};
use crate::machine::uintr::{self, MSRS, USER_VECTOR, opcode, read_msr, uif};
use crate::machine::{cpu, smp};
use crate::vmm::exit::reason;
use crate::vmm::guest::Guest;
use crate::vmm::{Vmm, regions};

const TRANSITIONS: &str = "SDM 3A, User-Interrupt Recognition";
const REQUESTED: u64 = 1 << USER_VECTOR;
const HLT: u8 = 0xf4;
/// Ticks for which HLT must last.
const HALT_TICKS: u64 = 50_000;
/// RFLAGS.CF.
const CARRY: u64 = 1 << 0;

/// VM entry recognizes what is pending.
pub const V09: Case =
    Case::new("V09", "UIRR by the MSR-load area", TRANSITIONS, v09).place(Where::Bare);

fn v09(bench: &mut Bench) -> Outcome {
    bench.set_up(0)?;
    let vmm = Vmm::start()?;
    let mut guest = Guest::new(&vmm, Level::User, &Code::new(&[0x90; 8]))?;
    let area = &regions::ENTRY_MSRS;
    area.0[0].store(u64::from(msr::IA32_UINTR_RR), Ordering::SeqCst);
    area.0[1].store(REQUESTED, Ordering::SeqCst);
    guest.write(control::VMENTRY_MSR_LOAD_ADDR_FULL, area.address())?;
    guest.write(control::VMENTRY_MSR_LOAD_COUNT, 1)?;
    run_to_end(&mut guest, "UIRR loaded")?;
    let event = the_only_event()?;
    let start = Page::code(0).linear();
    ensure!(
        (event.kind, event.vector, event.rip)
            == (Kind::UserInterrupt, u64::from(USER_VECTOR), start),
        "expected the handler before the first instruction ({start:#x}), saw {event:x?}"
    );
    as_manual!("delivered before the first instruction")
}

/// Nothing is recognized without CR4.UINTR.
pub const V10: Case = Case::new(
    "V10",
    "user-interrupt state of another guest",
    TRANSITIONS,
    v10,
)
.place(Where::Bare)
.deviates("B-9");

fn v10(bench: &mut Bench) -> Outcome {
    bench.set_up(0)?;
    let vmm = Vmm::start()?;
    let mut second = second_guest(&vmm)?;
    expect_halted(&mut second, "second guest with nothing pending")?;
    // WRMSR of UIRR, at CPL 0, where nothing is delivered.
    let mut first = Guest::new(&vmm, Level::Kernel, &Code::new(&[0x0f, 0x30]))?;
    first.registers.rcx = u64::from(msr::IA32_UINTR_RR);
    first.registers.rax = REQUESTED;
    run_to_end(&mut first, "first guest")?;
    // The emulator stops for good where it delivers with CR4.UINTR clear. That it would do so shows in HLT at CPL 0, which
    // nothing else ends.
    let mut second = second_guest(&vmm)?;
    let exit = second.run()?;
    expect_no_events("second guest, halted")?;
    if exit.is(reason::VMCALL) {
        return deviant!(
            "still pending with CR4.UINTR clear: ends HLT at CPL 0 of the second guest"
        );
    }
    ensure!(
        exit.is(reason::PREEMPTION_TIMER),
        "second guest, halted: expected exit 52, saw {exit}"
    );
    second.restart(Level::User, &Code::new(&[0x90; 8]))?;
    run_to_end(&mut second, "second guest at CPL 3")?;
    expect_no_events("second guest at CPL 3")?;
    let pending = read_msr(msr::IA32_UINTR_RR);
    let is_uif_set = host_uif();
    ensure!(
        (pending, is_uif_set) == (REQUESTED, true),
        "expected UIRR {REQUESTED:#x} and UIF 1, saw {pending:#x} and {is_uif_set}"
    );
    as_manual!("nothing delivered; UIRR and UIF as the first guest left them")
}

/// A cell finds nothing of what ran on its CPUs before it.
fn v25_in_cell(_: &mut Bench, _: Doorbell) -> Outcome {
    let clean = State {
        msrs: [0; MSRS.len()],
        uif: false,
    };
    for index in 0..smp::count() {
        let seen = at_start::get(index);
        ensure!(
            seen == clean,
            "CPU {index} at its start: expected MSRs and UIF 0, saw {seen:x?}"
        );
    }
    as_manual!("{} CPUs began with six MSRs 0 and UIF 0", smp::count())
}

/// Returns UIF, for which the host sets CR4.UINTR for a moment.
fn host_uif() -> bool {
    cpu::set_cr4(CR4_UINTR, true);
    let is_set = uif();
    cpu::set_cr4(CR4_UINTR, false);
    is_set
}

/// Makes the guest without CR4.UINTR, which executes HLT at CPL 0, interrupts enabled, and is taken out of it.
fn second_guest(vmm: &Vmm) -> Result<Guest<'_>, Failure> {
    let guest = Guest::in_slot(vmm, 1, Level::Kernel, &Code::new(&[HLT]))?;
    guest.write(guest::CR4, cpu::cr4() & !CR4_UINTR)?;
    guest.set_flags(cpu::RFLAGS_IF)?;
    guest.write(guest::VMX_PREEMPTION_TIMER_VALUE, HALT_TICKS)?;
    Ok(guest)
}

fn expect_halted(guest: &mut Guest<'_>, when: &str) -> Result<(), Failure> {
    guest.run_until(reason::PREEMPTION_TIMER, when).map(drop)
}

/// What a guest does with the state before it.
pub const V25: Case = Case::new(
    "V25",
    "handover of a CPU",
    "SDM 3A, User-Interrupt State",
    |bench| by_place(bench, v25, v25_in_cell),
);

fn v25(bench: &mut Bench) -> Outcome {
    bench.set_up(0)?;
    let vmm = Vmm::start()?;
    // The first guest leaves all of it set: the MSRs by `set_up` and WRMSR, UIF by STUI.
    let code = Code::new(&[0x0f, 0x30]).then(&opcode::STUI);
    let mut first = Guest::new(&vmm, Level::Kernel, &code)?;
    first.registers.rcx = u64::from(msr::IA32_UINTR_RR);
    first.registers.rax = REQUESTED;
    run_to_end(&mut first, "first guest")?;
    let dirty = MSRS.map(read_msr);
    ensure!(
        dirty.iter().all(|&value| value != 0) && host_uif(),
        "after the first guest: expected all state kept, saw {dirty:x?}"
    );
    uintr::clear();
    let mut second = Guest::in_slot(&vmm, 1, Level::Kernel, &Code::new(&[0x0f, 0x32]))?;
    for number in MSRS {
        second.restart(Level::Kernel, &Code::new(&[0x0f, 0x32]))?;
        second.registers.rcx = u64::from(number);
        run_to_end(&mut second, "second guest")?;
        let seen = (second.registers.rdx, second.registers.rax);
        ensure!(
            seen == (0, 0),
            "second guest: MSR {number:#x}: expected 0, saw {seen:x?}"
        );
    }
    second.restart(Level::User, &Code::new(&opcode::TESTUI))?;
    second.set_flags(CARRY)?;
    run_to_end(&mut second, "second guest, TESTUI")?;
    let flags = second.read(guest::RFLAGS)?;
    ensure!(flags & CARRY == 0, "second guest: UIF: expected 0, saw 1");
    expect_no_events("second guest")?;
    as_manual!(
        "exits keep all of it; cleared by the host: the next guest finds six MSRs 0 and UIF 0"
    )
}
