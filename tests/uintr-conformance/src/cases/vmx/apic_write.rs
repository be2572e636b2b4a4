// SPDX-License-Identifier: MIT OR Apache-2.0
//! What becomes of the IPI of a guest's SENDUIPI, and of its other accesses to the APIC.

use core::sync::atomic::Ordering;

use uintr_conformance::ApicMode;
use x86::vmx::vmcs::{control, guest};

use super::{by_place, counters, expect_upid, run_to_end};
use crate::bench::{ARRIVAL, Bench};
use crate::case::{Case, Failure, Outcome, Where};
use crate::cases::notification::request;
use crate::machine::run::{Code, Level};
use crate::machine::uintr::{NOTIFICATION, ON, RawUpid, SN, USER_VECTOR, opcode};
use crate::machine::{apic, cpu, event, smp};
use crate::vmm::control::{
    Controls, EXIT_ACKNOWLEDGE, PIN_EXTERNAL_INTERRUPT, PRIMARY_TPR_SHADOW,
    SECONDARY_APIC_ACCESSES, SECONDARY_X2APIC,
};
use crate::vmm::exit::{Exit, VALID, reason};
use crate::vmm::guest::Guest;
use crate::vmm::{Vmm, ept, regions};

const SENDING: &str = "SDM 3C, Virtualizing SENDUIPI";
const RECEIVER: usize = 1;
const POSTED: u64 = 1 << USER_VECTOR;
/// Offsets in the virtual-APIC page.
const VTPR: usize = 0x80;
const VICR_LOW: usize = 0x300;
const VICR_X2APIC_HIGH: usize = 0x304;
const VICR_XAPIC_HIGH: usize = 0x310;
/// What no write leaves in VICR.
const JUNK: u32 = 0xa5a5_a5a5;
/// A destination that is no CPU's, with all parts different.
const DESTINATION: u32 = 0x1234_5678;
const XAPIC_PAGE: u64 = 0xfee0_0000;
const X2APIC_TPR: u32 = 0x808;
const X2APIC_EOI: u32 = 0x80b;
const X2APIC_ICR: u32 = 0x830;
const WRMSR: [u8; 2] = [0x0f, 0x30];
const RDMSR: [u8; 2] = [0x0f, 0x32];

/// Makes a guest that executes SENDUIPI 0, with these controls.
fn sender<'vmm>(vmm: &'vmm Vmm, controls: &[(Controls, u32)]) -> Result<Guest<'vmm>, Failure> {
    let guest = Guest::new(vmm, Level::User, &Code::new(&opcode::SENDUIPI))?;
    for &(controls, bits) in controls {
        guest.set(controls, bits)?;
    }
    guest.write(
        control::APIC_ACCESS_ADDR_FULL,
        regions::APIC_ACCESS.address(),
    )?;
    Ok(guest)
}

/// The physical interrupt command register, whatever the hypervisor intercepts.
pub const V11: Case = Case::new("V11", "SENDUIPI without TPR shadow", SENDING, |bench| {
    by_place(bench, v11, counters::v11)
})
.cpus(2);

fn v11(bench: &mut Bench) -> Outcome {
    let upid = bench.set_up(RECEIVER)?;
    let (control, _) = upid.get();
    let vmm = Vmm::start()?;
    regions::intercept_write(X2APIC_ICR);
    ept::unmap(XAPIC_PAGE);
    let mut guest = sender(&vmm, &[])?;
    run_to_end(&mut guest, "SENDUIPI")?;
    expect_upid("SENDUIPI", upid, (control | ON, POSTED))?;
    ensure!(
        bench.is_requested(RECEIVER, NOTIFICATION)?,
        "expected a physical interrupt at CPU {RECEIVER}"
    );
    // The way that is watched.
    let (code, wanted) = match bench.mode {
        ApicMode::X2apic => (Code::new(&WRMSR), reason::WRMSR),
        // mov [rcx], eax
        ApicMode::Xapic => (Code::new(&[0x89, 0x01]), reason::EPT_VIOLATION),
    };
    guest.restart(Level::Kernel, &code)?;
    guest.registers.rcx = match bench.mode {
        ApicMode::X2apic => u64::from(X2APIC_ICR),
        ApicMode::Xapic => XAPIC_PAGE + 0x300,
    };
    guest.run_until(wanted, "the guest's own write of the ICR")?;
    as_manual!("no exit and a physical interrupt, although the guest's own ICR writes exit")
}

/// The 64-bit form.
pub const V12: Case = Case::new("V12", "SENDUIPI with TPR shadow", SENDING, |bench| {
    by_place(bench, v12, counters::v12)
})
.cpus(2);

fn v12(bench: &mut Bench) -> Outcome {
    let tpr_shadow = (Controls::Primary, PRIMARY_TPR_SHADOW);
    for controls in [
        &[tpr_shadow][..],
        &[tpr_shadow, (Controls::Secondary, SECONDARY_X2APIC)],
    ] {
        let slot = notify(bench, controls)?;
        let seen = [VICR_LOW, VICR_X2APIC_HIGH, VICR_XAPIC_HIGH]
            .map(|offset| regions::virtual_register(slot, offset));
        let wanted = [u32::from(NOTIFICATION), DESTINATION, JUNK];
        ensure!(
            seen == wanted,
            "300H, 304H, 310H: expected {wanted:x?}, saw {seen:x?}"
        );
    }
    as_manual!(
        "exit 56, qualification 300H, RIP behind; 64-bit VICR; posted; no interrupt; virtualize x2APIC 0 and 1"
    )
}

/// The 32-bit form.
pub const V13: Case = Case::new(
    "V13",
    "SENDUIPI with virtualized APIC accesses",
    SENDING,
    v13,
)
.cpus(2)
.place(Where::Bare);

fn v13(bench: &mut Bench) -> Outcome {
    let slot = notify(
        bench,
        &[
            (Controls::Primary, PRIMARY_TPR_SHADOW),
            (Controls::Secondary, SECONDARY_APIC_ACCESSES),
        ],
    )?;
    let seen = [VICR_LOW, VICR_XAPIC_HIGH].map(|offset| regions::virtual_register(slot, offset));
    let wanted = [u32::from(NOTIFICATION), (DESTINATION >> 8 & 0xff) << 24];
    ensure!(
        seen == wanted,
        "300H, 310H: expected {wanted:x?}, saw {seen:x?}"
    );
    as_manual!("exit 56, qualification 300H; 310H[31:24] is NDST[15:8], 300H NV")
}

/// Lets a guest with these controls notify [`DESTINATION`], and expects the APIC-write exit and nothing physical. Returns
/// the number of the guest.
fn notify(bench: &Bench, controls: &[(Controls, u32)]) -> Result<usize, Failure> {
    let upid = bench.set_up(RECEIVER)?;
    name_destination(upid);
    let (control, _) = upid.get();
    let vmm = Vmm::start()?;
    let mut guest = sender(&vmm, controls)?;
    let start = guest.read(guest::RIP)?;
    for offset in [VICR_LOW, VICR_X2APIC_HIGH, VICR_XAPIC_HIGH] {
        regions::set_virtual_register(guest.slot(), offset, JUNK);
    }
    let command = apic::command();
    let exit = guest.run_until(reason::APIC_WRITE, "SENDUIPI")?;
    expect_apic_write(&exit, start)?;
    expect_upid("SENDUIPI", upid, (control | ON, POSTED))?;
    ensure!(
        apic::command() == command,
        "the physical ICR: expected {command:#x} as before, saw {:#x}",
        apic::command()
    );
    for index in 0..smp::count() {
        ensure!(
            bench.on(index, is_any_requested, 0)? == 0,
            "expected no physical interrupt, but CPU {index} has one requested"
        );
    }
    run_to_end(&mut guest, "after the exit")?;
    Ok(guest.slot())
}

fn is_any_requested(_: u64) -> u64 {
    cpu::delay(u64::from(ARRIVAL));
    u64::from(apic::is_any_requested())
}

/// Gives the descriptor a destination that is none, as it stands there in x2APIC mode.
fn name_destination(upid: RawUpid) {
    let control = u64::from(DESTINATION) << 32 | u64::from(NOTIFICATION) << 16;
    upid.control().store(control, Ordering::SeqCst);
}

fn expect_apic_write(exit: &Exit, start: u64) -> Result<(), Failure> {
    let behind = start + opcode::SENDUIPI.len() as u64;
    ensure!(
        (exit.qualification, exit.rip, exit.idt_vectoring & VALID) == (0x300, behind, 0),
        "expected qualification 0x300 and RIP {behind:#x}, saw {exit}"
    );
    Ok(())
}

/// Coalesced posts are the guest's own affair.
pub const V14: Case = Case::new(
    "V14",
    "no exit for posts that do not notify",
    SENDING,
    |bench| by_place(bench, v14, counters::v14),
)
.cpus(2);

fn v14(bench: &mut Bench) -> Outcome {
    for bits in [ON, SN, ON | SN] {
        let upid = bench.set_up(0)?;
        let control = upid.control().fetch_or(bits, Ordering::SeqCst) | bits;
        let vmm = Vmm::start()?;
        let mut guest = sender(&vmm, &[(Controls::Primary, PRIMARY_TPR_SHADOW)])?;
        regions::set_virtual_register(guest.slot(), VICR_LOW, JUNK);
        run_to_end(&mut guest, "SENDUIPI")?;
        expect_upid("SENDUIPI", upid, (control, POSTED))?;
        ensure!(
            regions::virtual_register(guest.slot(), VICR_LOW) == JUNK && !apic::is_any_requested(),
            "ON, SN {bits:#x}: expected no interrupt, neither virtual nor physical"
        );
    }
    as_manual!("posted without an exit with ON, with SN, and with both")
}

/// The exit comes before the single-step trap, which is kept.
pub const V15: Case = Case::new(
    "V15",
    "SENDUIPI with TPR shadow and single-stepping",
    SENDING,
    v15,
)
.place(Where::Bare);

fn v15(bench: &mut Bench) -> Outcome {
    const TRAP_FLAG: u64 = 1 << 8;
    const SINGLE_STEP: u64 = 1 << 14;
    const DEBUG: u32 = 1;
    bench.set_up(0)?;
    let vmm = Vmm::start()?;
    let mut guest = sender(&vmm, &[(Controls::Primary, PRIMARY_TPR_SHADOW)])?;
    let start = guest.read(guest::RIP)?;
    guest.set_flags(TRAP_FLAG)?;
    let exit = guest.run_until(reason::APIC_WRITE, "SENDUIPI")?;
    expect_apic_write(&exit, start)?;
    let pending = guest.read(guest::PENDING_DBG_EXCEPTIONS)?;
    ensure!(
        pending & SINGLE_STEP != 0,
        "pending debug exceptions: expected BS, saw {pending:#x}"
    );
    let trap = guest.run_until(reason::EXCEPTION, "resumed")?;
    ensure!(
        trap.interruption & (VALID | 0xff) == VALID | DEBUG
            && trap.qualification & SINGLE_STEP != 0
            && trap.rip == exit.rip,
        "resumed: expected #DB with BS at {:#x}, saw {trap}",
        exit.rip
    );
    as_manual!("exit 56 with BS in the pending debug exceptions; #DB right after the next entry")
}

/// What the TPR shadow changes for the rest of the APIC.
pub const V16: Case = Case::new(
    "V16",
    "TPR shadow and the other x2APIC registers",
    "SDM 3C, Virtualizing MSR-Based APIC Accesses",
    v16,
)
.apic(ApicMode::X2apic)
.place(Where::Bare);

fn v16(bench: &mut Bench) -> Outcome {
    const VECTOR: u8 = 0x60;
    const PRIORITY: u64 = 0x50;
    /// MOV CR8, RAX and MOV RAX, CR8.
    const TO_CR8: [u8; 4] = [0x44, 0x0f, 0x22, 0xc0];
    const FROM_CR8: [u8; 4] = [0x44, 0x0f, 0x20, 0xc0];
    bench.set_up(0)?;
    let vmm = Vmm::start()?;
    regions::intercept_write(X2APIC_ICR);
    let mut guest = sender(
        &vmm,
        &[
            (Controls::Primary, PRIMARY_TPR_SHADOW),
            (Controls::Secondary, SECONDARY_X2APIC),
            (Controls::Pin, PIN_EXTERNAL_INTERRUPT),
            (Controls::Exit, EXIT_ACKNOWLEDGE),
        ],
    )?;
    request(VECTOR)?;
    guest.set_flags(cpu::RFLAGS_IF)?;
    guest.run_until(reason::EXTERNAL_INTERRUPT, "an interrupt to end")?;
    guest.clear(Controls::Pin, PIN_EXTERNAL_INTERRUPT)?;
    write_register(&mut guest, X2APIC_EOI, 0)?;
    run_to_end(&mut guest, "WRMSR 80BH")?;
    ensure!(
        !apic::is_in_service(VECTOR),
        "WRMSR 80BH: expected the physical EOI, but the vector is still in service"
    );
    write_register(&mut guest, X2APIC_ICR, 0)?;
    guest.run_until(reason::WRMSR, "WRMSR 830H")?;
    let vtpr = |guest: &Guest<'_>| regions::virtual_register(guest.slot(), VTPR);
    write_register(&mut guest, X2APIC_TPR, PRIORITY)?;
    run_to_end(&mut guest, "WRMSR 808H")?;
    let seen = (vtpr(&guest), apic::task_priority());
    ensure!(
        seen == (PRIORITY as u32, 0),
        "WRMSR 808H: expected VTPR {PRIORITY:#x}, TPR 0, saw {seen:x?}"
    );
    guest.restart(Level::Kernel, &Code::new(&TO_CR8))?;
    guest.registers.rax = 3;
    run_to_end(&mut guest, "MOV to CR8")?;
    let seen = (vtpr(&guest), apic::task_priority());
    ensure!(
        seen == (0x30, 0),
        "MOV to CR8: expected VTPR 0x30, TPR 0, saw {seen:x?}"
    );
    guest.restart(Level::Kernel, &Code::new(&FROM_CR8))?;
    run_to_end(&mut guest, "MOV from CR8")?;
    let cr8 = guest.registers.rax;
    guest.restart(Level::Kernel, &Code::new(&RDMSR))?;
    guest.registers.rcx = u64::from(X2APIC_TPR);
    run_to_end(&mut guest, "RDMSR 808H")?;
    ensure!(
        (cr8, guest.registers.rax) == (3, 0x30),
        "reading back: expected CR8 3 and TPR 0x30, saw {cr8:#x} and {:#x}",
        guest.registers.rax
    );
    event::clear();
    as_manual!("EOI is physical without an exit; the ICR's bitmap exits; TPR and CR8 are VTPR")
}

fn write_register(guest: &mut Guest<'_>, msr: u32, value: u64) -> Result<(), Failure> {
    guest.restart(Level::Kernel, &Code::new(&WRMSR))?;
    guest.registers.rcx = u64::from(msr);
    guest.registers.rax = value;
    Ok(())
}
