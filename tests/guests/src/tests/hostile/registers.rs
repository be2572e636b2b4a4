// SPDX-License-Identifier: MIT OR Apache-2.0
//! Privileged instructions at both privilege levels, and every bit of CR0, CR4, EFER, XCR0 and DR7.

use core::sync::atomic::{AtomicU64, Ordering};

use super::super::{Failure, expect};
use crate::arch::instructions::{
    self, Answer, FLIP_CR0, FLIP_CR0_FOR_GOOD, FLIP_CR4, FLIP_DR7, INSTRUCTIONS, Instruction, LMSW,
    OUT_80H, SET_CR4, WATCH_NOTHING, WATCH_PORT,
};
use crate::arch::probe::{GENERAL_PROTECTION, Probe, Raised, UNDEFINED, raised_with};
use crate::arch::sweep::{read_msr, read_xcr, write_msr, write_xcr};
use crate::arch::{hypercall, user};
use crate::boot::Boot;
use hv_abi::hypercall::DEBUG_CONSOLE_PUTC;

const CR0_NE: u64 = 1 << 5;
const CR0_WP: u64 = 1 << 16;
const CR4_CET: u64 = 1 << 23;
const CR4_DE: u64 = 1 << 3;
const CR4_OSXSAVE: u64 = 1 << 18;
/// SMEP and SMAP: all memory of this cell is user memory, so that with them nothing of it would run.
const CR4_NOT_TRIED: u64 = 0b11 << 20;
const EFER: u32 = 0xc000_0080;
/// DR7.GD makes the next access of a debug register fault.
const DR7_NOT_TRIED: u64 = 1 << 13;
/// Port of the hypervisor's console.
const HYPERVISOR_CONSOLE: u64 = 0x2f8;

/// Instructions whose answer in user mode was another one.
static WRONG_AT_USER: AtomicU64 = AtomicU64::new(0);
/// Values of XCR0 that are tried beside single bits: x87, with each combination of the next seven; AMX, PKRU, both.
const XCR0_HIGH: [u64; 4] = [0, 1 << 9, 0b11 << 17, 1 << 17];

/// Runs the sweep.
pub fn run(_boot: &Boot) -> Result<(), Failure> {
    for instruction in INSTRUCTIONS {
        expect(
            instruction.name,
            i64::from(is_answered("kernel", instruction, instruction.kernel)),
            1,
        )?;
    }
    user::run(from_user_mode);
    expect(
        "at-user",
        WRONG_AT_USER.load(Ordering::SeqCst).cast_signed(),
        0,
    )?;
    report!("name=instructions tried={}", INSTRUCTIONS.len());

    report!(
        "name=bits register=cr0 accepted={:#x}",
        accepted(FLIP_CR0, 0)?
    );
    report!(
        "name=bits register=cr4 accepted={:#x}",
        accepted(FLIP_CR4, CR4_NOT_TRIED)?
    );
    report!(
        "name=bits register=dr7 accepted={:#x}",
        accepted(FLIP_DR7, DR7_NOT_TRIED)?
    );
    // With CET the processor refuses to clear WP, also together with NE, whose change exits.
    for (probe, bits) in [(FLIP_CR0_FOR_GOOD, CR0_WP), (SET_CR4, CR4_CET)] {
        expect(
            "cet",
            i64::from(raised_with(probe, bits) == Raised::Nothing),
            1,
        )?;
    }
    for bits in [CR0_WP, CR0_WP | CR0_NE] {
        expect(
            "cet-wp",
            i64::from(raised_with(FLIP_CR0, bits) == GENERAL_PROTECTION),
            1,
        )?;
    }
    // PE alone: LMSW cannot clear it.
    for value in [1, 3, 0xf, 0xfff0, 0xffff, 0] {
        expect(
            "lmsw",
            i64::from(raised_with(LMSW, value) == Raised::Nothing),
            1,
        )?;
    }
    efer()?;
    xcr0()?;
    breakpoints()
}

/// Executes an instruction and says what it raised; returns whether that is what it has to be.
fn is_answered(at: &str, instruction: &Instruction, wanted: Answer) -> bool {
    let wanted = match wanted {
        Answer::Nothing => Raised::Nothing,
        Answer::Undefined => UNDEFINED,
        Answer::GeneralProtection => GENERAL_PROTECTION,
        Answer::NotTried => return true,
    };
    let raised = raised_with(instruction.probe, 0);
    report!(
        "name=instruction at={at} instruction={} raised={raised}",
        instruction.name
    );
    raised == wanted
}

extern "C" fn from_user_mode() {
    for instruction in INSTRUCTIONS {
        if !is_answered("user", instruction, instruction.user) {
            WRONG_AT_USER.fetch_add(1, Ordering::SeqCst);
        }
    }
    if raised_with(OUT_80H, 0) != Raised::Nothing {
        WRONG_AT_USER.fetch_add(1, Ordering::SeqCst);
    }
}

/// Returns the bits that can be flipped; the others have to raise #GP(0).
fn accepted(flip: Probe, not_tried: u64) -> Result<u64, Failure> {
    let mut accepted = 0;
    for bit in (0..64)
        .map(|bit| 1 << bit)
        .filter(|bit| bit & not_tried == 0)
    {
        match raised_with(flip, bit) {
            Raised::Nothing => accepted |= bit,
            raised => expect("flip", i64::from(raised == GENERAL_PROTECTION), 1)?,
        }
    }
    Ok(accepted)
}

fn efer() -> Result<(), Failure> {
    let before = read_msr(EFER).map_err(|_| Failure::Late("efer"))?;
    let (mut accepted, mut changed) = (0, 0);
    for bit in (0..64).map(|bit| 1_u64 << bit) {
        if write_msr(EFER, before ^ bit) == Raised::Nothing {
            accepted |= bit;
            changed |= read_msr(EFER).unwrap_or(0) ^ before;
        }
        expect(
            "efer",
            i64::from(write_msr(EFER, before) == Raised::Nothing),
            1,
        )?;
    }
    report!("name=bits register=efer accepted={accepted:#x} changed={changed:#x}");
    Ok(())
}

fn xcr0() -> Result<(), Failure> {
    expect(
        "osxsave",
        i64::from(raised_with(SET_CR4, CR4_OSXSAVE) == Raised::Nothing),
        1,
    )?;
    let before = read_xcr(0).map_err(|_| Failure::Late("xcr0"))?;
    let single = (0..64).map(|bit| 1_u64 << bit);
    let with_x87 = (0..64).map(|bit| 1_u64 << bit | 1);
    let combined = XCR0_HIGH
        .iter()
        .flat_map(|high| (0..128_u64).map(move |low| high | low << 1 | 1));
    let (mut tried, mut accepted) = (0, 0);
    for value in single.chain(with_x87).chain(combined).chain([0, u64::MAX]) {
        tried += 1;
        match write_xcr(0, value) {
            Raised::Nothing => {
                expect("xcr0", i64::from(read_xcr(0) == Ok(value)), 1)?;
                accepted += 1;
            }
            raised => expect("xcr0-raised", i64::from(raised == GENERAL_PROTECTION), 1)?,
        }
    }
    for number in [1, 2, 0x100, 0x8000_0000, u32::MAX] {
        expect(
            "xcr",
            i64::from(write_xcr(number, 1) == GENERAL_PROTECTION),
            1,
        )?;
    }
    expect(
        "xcr0-back",
        i64::from(write_xcr(0, before) == Raised::Nothing),
        1,
    )?;
    report!("name=xcr0 tried={tried} accepted={accepted}");
    Ok(())
}

/// A breakpoint on the hypervisor's console does not hit the hypervisor.
fn breakpoints() -> Result<(), Failure> {
    expect(
        "de",
        i64::from(raised_with(SET_CR4, CR4_DE) == Raised::Nothing),
        1,
    )?;
    raised_with(WATCH_PORT, HYPERVISOR_CONSOLE);
    for byte in "under a breakpoint\n".bytes() {
        expect(
            "putc",
            hypercall::call(DEBUG_CONSOLE_PUTC, byte.into(), 0),
            0,
        )?;
    }
    raised_with(WATCH_NOTHING, 0);
    report!("name=breakpoint seen={}", instructions::was_seen());
    Ok(())
}
