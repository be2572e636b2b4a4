// SPDX-License-Identifier: MIT OR Apache-2.0
//! Control-flow enforcement in user mode: shadow stack and indirect-branch tracking across delivery and UIRET.

use core::sync::atomic::Ordering;

use uintr::msr;

use super::notification::ended;
use crate::bench::Bench;
use crate::case::{Case, Failure, Outcome};
use crate::machine::cpu;
use crate::machine::event;
use crate::machine::paging::{DIRTY, PRESENT, Page, USER};
use crate::machine::run::{Code, Level};
use crate::machine::trap::{CONTROL_PROTECTION, Trap};
use crate::machine::uintr::{USER_VECTOR, opcode, try_read_msr, try_write_msr, uif, write_msr};

const SECTION: &str = "SDM 1, Control-flow Enforcement Technology (CET)";
const IA32_U_CET: u32 = 0x6a0;
const IA32_PL3_SSP: u32 = 0x6a7;
/// IA32_U_CET: shadow stack, indirect-branch tracking.
const SH_STK_EN: u64 = 1 << 0;
const ENDBR_EN: u64 = 1 << 2;
/// Error codes of #CP.
const CP_FAR_RET_OR_IRET: u64 = 2;
const CP_ENDBRANCH: u64 = 3;
const ENDBR64: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfa];
const PENDING: u64 = 1 << USER_VECTOR;
/// Handler that does nothing: ENDBR64; ADD RSP, 8; UIRET.
const DISCARD_VECTOR: [u8; 4] = [0x48, 0x83, 0xc4, 0x08];
/// INC QWORD [RSP]: the return address, once the vector is discarded.
const TAMPER: [u8; 4] = [0x48, 0xff, 0x04, 0x24];
const HANDLER: Page = Page::SPARE;
const SHADOW_STACK: Page = Page::SPARE.next(1);

/// The shadow stack has RIP alone.
pub const T69: Case = Case::new(
    "T69",
    "shadow stack across delivery and UIRET",
    SECTION,
    t69,
)
.deviates("B-15");

fn t69(bench: &mut Bench) -> Outcome {
    if !cpu::has_shadow_stacks() {
        return skipped!("the processor offers no shadow stacks here");
    }
    let top = SHADOW_STACK.end();
    prepare(bench, SH_STK_EN)?;
    handler(&Code::new(&DISCARD_VECTOR).then(&opcode::UIRET));
    let trap = deliver(bench)?;
    ended(&trap)?;
    let start = Page::code(0).linear();
    let pushed = SHADOW_STACK.words()[511].load(Ordering::SeqCst);
    ensure!(
        pushed == start && ssp()? == top && uif(),
        "expected RIP {start:#x} pushed, SSP {top:#x} and UIF set again, saw {pushed:#x}, {:#x}",
        ssp()?
    );
    // A return address that does not match.
    handler(
        &Code::new(&DISCARD_VECTOR)
            .then(&TAMPER)
            .then(&opcode::UIRET),
    );
    let trap = deliver(bench)?;
    bench.expect(
        "UIRET with a changed return address",
        &trap,
        CONTROL_PROTECTION,
        CP_FAR_RET_OR_IRET,
    )?;
    ensure!(!uif(), "UIF after a UIRET that faulted: expected 0, saw 1");
    let seen = ssp()?;
    if seen == top {
        return deviant!("RIP pushed and matched; #CP(2) on a mismatch, but SSP has moved");
    }
    ensure!(
        seen == top - 8,
        "SSP after the fault: expected {:#x}, saw {seen:#x}",
        top - 8
    );
    as_manual!("RIP pushed and matched; #CP(2) on a mismatch, SSP unchanged")
}

/// A handler is the target of an indirect branch.
pub const T70: Case = Case::new("T70", "branch tracking at delivery", SECTION, t70);

fn t70(bench: &mut Bench) -> Outcome {
    if !cpu::has_branch_tracking() {
        return skipped!("the processor offers no indirect-branch tracking here");
    }
    prepare(bench, ENDBR_EN)?;
    let body = Code::new(&DISCARD_VECTOR).then(&opcode::UIRET);
    handler(&Code::new(&ENDBR64).then(body.bytes()));
    ended(&deliver(bench)?)?;
    handler(&Code::new(&[0x90]).then(body.bytes()));
    let trap = deliver(bench)?;
    bench.expect(
        "a handler without ENDBR64",
        &trap,
        CONTROL_PROTECTION,
        CP_ENDBRANCH,
    )?;
    as_manual!("a handler with ENDBR64 runs, one without gets #CP(3)")
}

/// Sets this CPU up with these bits of IA32_U_CET.
fn prepare(bench: &Bench, enabled: u64) -> Result<(), Failure> {
    bench.set_up(0)?;
    SHADOW_STACK.map(PRESENT | DIRTY | USER);
    cpu::set_cr4(cpu::CR4_CET, true);
    write(IA32_U_CET, enabled)
}

fn handler(code: &Code) {
    code.write_to(HANDLER);
    write_msr(msr::IA32_UINTR_HANDLER, HANDLER.linear());
}

/// Runs code at CPL 3 before whose first instruction an interrupt is delivered, with an empty shadow stack.
fn deliver(bench: &Bench) -> Result<Trap, Failure> {
    event::clear();
    write(IA32_PL3_SSP, SHADOW_STACK.end())?;
    crate::machine::uintr::set_uif(true);
    write_msr(msr::IA32_UINTR_RR, PENDING);
    Ok(bench.user(&Code::new(&[0x90; 8])))
}

/// Returns the shadow-stack pointer that user mode had, which the way to CPL 0 has stored.
fn ssp() -> Result<u64, Failure> {
    let trap = try_read_msr(Level::Kernel, IA32_PL3_SSP);
    ended(&trap)?;
    let registers = trap.frame.registers;
    Ok(registers.rdx << 32 | registers.rax & 0xffff_ffff)
}

fn write(number: u32, value: u64) -> Result<(), Failure> {
    let trap = try_write_msr(Level::Kernel, number, value);
    ensure!(trap.is_end(), "WRMSR {number:#x}: {trap}");
    Ok(())
}
