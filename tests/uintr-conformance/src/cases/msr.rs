// SPDX-License-Identifier: MIT OR Apache-2.0
//! The six MSRs.

use uintr::{CR4_UINTR, msr};

use crate::bench::Bench;
use crate::case::{Case, Failure, Outcome};
use crate::machine::cpu;
use crate::machine::run::Level;
use crate::machine::trap::GENERAL_PROTECTION;
use crate::machine::uintr::{MSRS, read_msr, try_read_msr, try_write_msr, write_msr};

/// The MSRs do not depend on CR4.UINTR.
pub const T03: Case = Case::new(
    "T03",
    "MSRs without CR4.UINTR and at CPL 3",
    "SDM 3A, User-Interrupt State and User-Interrupt MSRs",
    t03,
);

fn t03(bench: &mut Bench) -> Outcome {
    cpu::set_cr4(CR4_UINTR, false);
    let values = [
        (msr::IA32_UINTR_RR, u64::MAX),
        (msr::IA32_UINTR_HANDLER, 0xffff_8000_1234_5677),
        (msr::IA32_UINTR_STACKADJUST, 0x7fff_ffff_fff9),
        (msr::IA32_UINTR_MISC, 0xff_ffff_ffff),
        (msr::IA32_UINTR_PD, 0xffff_8000_0000_0040),
        (msr::IA32_UINTR_TT, 0x7fff_ffff_fff1),
    ];
    for (number, value) in values {
        accepted(number, value)?;
    }
    for (number, value) in values {
        let seen = read_msr(number);
        ensure!(
            seen == value,
            "MSR {number:#x}: expected {value:#x}, saw {seen:#x}"
        );
    }
    for number in MSRS {
        write_msr(number, 0);
        let trap = try_read_msr(Level::User, number);
        bench.expect("RDMSR at CPL 3", &trap, GENERAL_PROTECTION, 0)?;
        let trap = try_write_msr(Level::User, number, 0);
        bench.expect("WRMSR at CPL 3", &trap, GENERAL_PROTECTION, 0)?;
    }
    as_manual!("six MSRs keep what is written, #GP(0) at CPL 3")
}

/// Reserved bits are refused one by one.
pub const T04: Case = Case::new(
    "T04",
    "reserved bits of the MSRs",
    "SDM 3A, User-Interrupt State and User-Interrupt MSRs",
    t04,
);

fn t04(_: &mut Bench) -> Outcome {
    write_msr(msr::IA32_UINTR_MISC, msr::misc(0xec, 3));
    write_msr(msr::IA32_UINTR_PD, 0x4000);
    write_msr(msr::IA32_UINTR_TT, 0x8001);
    for bit in 40..64 {
        refused(msr::IA32_UINTR_MISC, 1 << bit)?;
    }
    for bit in 0..6 {
        refused(msr::IA32_UINTR_PD, 1 << bit)?;
    }
    for bit in 1..4 {
        refused(msr::IA32_UINTR_TT, 1 << bit)?;
    }
    accepted(msr::IA32_UINTR_TT, 1)?;
    accepted(msr::IA32_UINTR_TT, 0)?;
    as_manual!(
        "#GP(0) for each reserved bit of MISC, PD and TT, values kept; TT bit 0 alone is accepted"
    )
}

/// What is canonical depends on the processor, not on the paging mode.
pub const T05: Case = Case::new(
    "T05",
    "canonical addresses in the MSRs",
    "SDM 3A, User-Interrupt State and User-Interrupt MSRs",
    t05,
);

fn t05(_: &mut Bench) -> Outcome {
    const SIZES: u32 = 0x8000_0008;
    let width = cpu::cpuid(SIZES, 0).eax >> 8 & 0xff;
    ensure!(
        (48..=57).contains(&width),
        "CPUID.80000008H: {width} linear-address bits"
    );
    let highest = (1u64 << (width - 1)) - 64;
    let lowest = !0u64 << (width - 1);
    let beyond = [1u64 << (width - 1), lowest - 64, 1 << 62];
    for number in [
        msr::IA32_UINTR_HANDLER,
        msr::IA32_UINTR_STACKADJUST,
        msr::IA32_UINTR_PD,
        msr::IA32_UINTR_TT,
    ] {
        for value in [highest, lowest] {
            accepted(number, value)?;
        }
        for value in beyond {
            refused(number, value)?;
        }
    }
    as_manual!("canonical by {width} bits with 4-level paging")
}

/// Writes a value that the MSR takes.
fn accepted(number: u32, value: u64) -> Result<(), Failure> {
    let trap = try_write_msr(Level::Kernel, number, value);
    ensure!(
        trap.is_end(),
        "WRMSR {number:#x} := {value:#x}: expected no fault, saw {trap}"
    );
    let seen = read_msr(number);
    ensure!(
        seen == value,
        "MSR {number:#x}: expected {value:#x}, saw {seen:#x}"
    );
    Ok(())
}

/// Writes a value that the MSR refuses.
fn refused(number: u32, value: u64) -> Result<(), Failure> {
    let old = read_msr(number);
    let trap = try_write_msr(Level::Kernel, number, value);
    ensure!(
        trap.is(GENERAL_PROTECTION, 0),
        "WRMSR {number:#x} := {value:#x}: expected #GP(0), saw {trap}"
    );
    let seen = read_msr(number);
    ensure!(
        seen == old,
        "MSR {number:#x} after #GP: expected {old:#x}, saw {seen:#x}"
    );
    Ok(())
}
