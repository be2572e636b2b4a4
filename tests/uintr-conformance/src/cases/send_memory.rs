// SPDX-License-Identifier: MIT OR Apache-2.0
//! SENDUIPI: the rights with which it accesses memory.

use core::sync::atomic::Ordering;

use uintr::msr;

use crate::bench::Bench;
use crate::case::{Case, Failure, Outcome};
use crate::machine::cpu::{self, RFLAGS_AC};
use crate::machine::paging::{PRESENT, Page, USER, WRITABLE};
use crate::machine::run::{Code, Level, Run};
use crate::machine::trap::{GENERAL_PROTECTION, PAGE_FAULT, Trap};
use crate::machine::uintr::{RawUpid, SN, opcode, write_msr};

const SECTION: &str = "SDM 2, SENDUIPI";
/// Error code of #PF: the page is present.
const PF_PRESENT: u64 = 1 << 0;
/// Error code of #PF: a write.
const PF_WRITE: u64 = 1 << 1;
/// Error code of #PF: by user mode.
const PF_USER: u64 = 1 << 2;

/// The table is read with supervisor rights.
pub const T24: Case = Case::new("T24", "table not present", SECTION, t24);

fn t24(bench: &mut Bench) -> Outcome {
    let upid = bench.set_up(0)?;
    Page::UITT.map(0);
    let trap = bench.send(0);
    page_fault("table", &trap, Page::UITT.linear()..Page::UITT.end(), 0)?;
    unchanged(upid)?;
    Page::UITT.map(PRESENT | WRITABLE);
    bench.send_well(0)?;
    as_manual!("#PF, not present, a read by the supervisor; sends once the page is mapped")
}

/// The descriptor is written with supervisor rights.
pub const T25: Case = Case::new("T25", "descriptor not present", SECTION, t25).deviates("B-11");

fn t25(bench: &mut Bench) -> Outcome {
    let upid = bench.set_up(0)?;
    Page::UPIDS.map(0);
    let trap = bench.send(0);
    let range = upid.linear()..upid.linear() + 16;
    let is_read = trap.frame.error_code == 0;
    page_fault(
        "descriptor",
        &trap,
        range,
        if is_read { 0 } else { PF_WRITE },
    )?;
    unchanged(upid)?;
    Page::UPIDS.map(PRESENT | WRITABLE);
    bench.send_well(0)?;
    if is_read {
        deviant!("#PF as for a read (W=0), then as the manual says")
    } else {
        as_manual!("#PF, not present, a write by the supervisor; sends once the page is mapped")
    }
}

/// A read-only descriptor is refused.
pub const T26: Case = Case::new("T26", "descriptor read-only", SECTION, t26);

fn t26(bench: &mut Bench) -> Outcome {
    let upid = bench.set_up(0)?;
    Page::UPIDS.map(PRESENT);
    let trap = bench.send(0);
    let range = upid.linear()..upid.linear() + 16;
    page_fault("descriptor", &trap, range, PF_PRESENT | PF_WRITE)?;
    unchanged(upid)?;
    as_manual!("#PF, present, a write by the supervisor; descriptor unchanged")
}

/// Its accesses are implicit supervisor accesses: SMAP forbids user pages, whatever RFLAGS.AC is.
pub const T27: Case =
    Case::new("T27", "descriptor for user mode, SMAP", SECTION, t27).deviates("B-12");

fn t27(bench: &mut Bench) -> Outcome {
    const CR4_SMAP: u64 = 1 << 21;
    const CPUID_7_EBX_SMAP: u32 = 1 << 20;
    ensure!(
        cpu::cpuid(7, 0).ebx & CPUID_7_EBX_SMAP != 0,
        "expected SMAP in CPUID, saw none"
    );
    let upid = bench.set_up(0)?;
    // What is posted stays, so that it can be seen.
    upid.control().fetch_or(SN, Ordering::SeqCst);
    Page::UPIDS.map(PRESENT | WRITABLE | USER);
    let code = Code::default().then_load_rax(0).then(&opcode::SENDUIPI);
    let range = upid.linear()..upid.linear() + 16;
    cpu::set_cr4(CR4_SMAP, true);
    let without_ac = Run::new(Level::User, &code).go();
    let after = upid.get();
    let with_ac = Run::new(Level::User, &code).with_flags(RFLAGS_AC).go();
    cpu::set_cr4(CR4_SMAP, false);
    // Bochs reads before it writes (B-11); which of the two meets SMAP first is not the question here.
    let write = without_ac.frame.error_code & PF_WRITE;
    page_fault(
        "descriptor, AC=0",
        &without_ac,
        range.clone(),
        PF_PRESENT | write,
    )?;
    ensure!(after.1 == 0, "AC=0: posted although SENDUIPI faulted");
    if with_ac.is_end() {
        ensure!(upid.get().1 != 0, "AC=1: no fault, but nothing was posted");
        return deviant!("#PF with AC=0, but no fault with AC=1");
    }
    let write = with_ac.frame.error_code & PF_WRITE;
    page_fault("descriptor, AC=1", &with_ac, range, PF_PRESENT | write)?;
    unchanged(upid)?;
    as_manual!("#PF with AC=0 and with AC=1")
}

/// Addresses are checked against the paging mode when they are used.
pub const T28: Case = Case::new("T28", "table not canonical", SECTION, t28);

fn t28(bench: &mut Bench) -> Outcome {
    const SIZES: u32 = 0x8000_0008;
    bench.set_up(0)?;
    if cpu::cpuid(SIZES, 0).eax >> 8 & 0xff <= 48 {
        return recorded!("the processor has 48 linear-address bits: WRMSR refuses such addresses");
    }
    write_msr(msr::IA32_UINTR_TT, 1 << 48 | 1);
    let trap = bench.send(0);
    bench.expect("table at 2^48", &trap, GENERAL_PROTECTION, 0)?;
    as_manual!("#GP(0) for a table at 2^48 with 4-level paging")
}

/// Expects #PF by the supervisor with this error code, within this range.
fn page_fault(
    what: &str,
    trap: &Trap,
    range: core::ops::Range<u64>,
    error_code: u64,
) -> Result<(), Failure> {
    ensure!(
        trap.is(PAGE_FAULT, error_code) && error_code & PF_USER == 0 && range.contains(&trap.cr2),
        "{what}: expected #PF({error_code:#x}) in {:#x}, saw {trap}",
        range.start
    );
    Ok(())
}

/// Expects that nothing was posted.
fn unchanged(upid: RawUpid) -> Result<(), Failure> {
    let (control, pir) = upid.get();
    ensure!(
        pir == 0 && control & 1 == 0,
        "a SENDUIPI that faulted changed the descriptor: {control:#x} {pir:#x}"
    );
    Ok(())
}
