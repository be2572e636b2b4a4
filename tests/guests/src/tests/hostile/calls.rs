// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hypercalls with every code and hostile arguments, and all leaves of CPUID.

use hv_abi::BootInfo;
use hv_abi::hypercall::{
    BOOT_INFO, CELL_RESTART, CPU_FAILED, CPU_GET_INFO, CPU_REASON_BASE, CPU_STAT_BASE, CPU_STATE,
    DEBUG_CONSOLE_PUTC, errno, stat,
};

use super::super::{Failure, expect};
use crate::arch::{cpu, hypercall};
use crate::boot::Boot;

/// Codes up to here, each with all pairs of arguments.
const CODES: u64 = 0x2000;
const HOSTILE: [u64; 10] = [
    0,
    1,
    7,
    0x1000,
    0x3000_0000,
    0xfee0_0000,
    0xffff_ffff,
    0x8000_0000_0000_0000,
    0xffff_ffff_ffff_f000,
    u64::MAX,
];
/// Most leaves of a range that are read.
const LEAVES: u32 = 0x80;
const SUBLEAVES: [u32; 6] = [0, 1, 2, 14, 64, u32::MAX];

/// Runs the sweep.
pub fn run(boot: &Boot) -> Result<(), Failure> {
    let mut calls = 0_u64;
    for code in (0..CODES).chain([0x1_0000_0007, u64::MAX]) {
        if [CPU_GET_INFO, DEBUG_CONSOLE_PUTC, BOOT_INFO].contains(&code) {
            continue;
        }
        // This cell may not have itself started anew.
        let wanted = match code {
            CELL_RESTART => errno::EPERM,
            _ => errno::ENOSYS,
        };
        for (first, second) in HOSTILE
            .iter()
            .flat_map(|&a| HOSTILE.map(|b| (a, b)))
            .step_by(29)
        {
            expect("code", hypercall::call(code, first, second), wanted)?;
            calls += 1;
        }
    }
    report!("name=hypercall-codes calls={calls}");
    cpu_info(boot)?;
    pages(boot)?;
    for character in HOSTILE.into_iter().filter(|&character| character > 0xff) {
        expect(
            "putc",
            hypercall::call(DEBUG_CONSOLE_PUTC, character, 0),
            errno::EINVAL,
        )?;
    }
    cpuid();
    Ok(())
}

/// Counters: of own CPUs only, and only those that there are.
fn cpu_info(boot: &Boot) -> Result<(), Failure> {
    let own = u64::from(boot.first_cpu());
    let mut answers = 0_u64;
    for cpu in (0..0x48).chain(HOSTILE) {
        for kind in (0..0x1000)
            .step_by(if cpu == own { 1 } else { 61 })
            .chain(HOSTILE)
        {
            let result = hypercall::call(CPU_GET_INFO, cpu, kind);
            if cpu != own {
                let is_refused = [errno::EPERM, errno::ENOENT].contains(&result);
                expect("cpu-foreign", i64::from(is_refused), 1)?;
                continue;
            }
            let exists = kind == CPU_STATE
                || (CPU_STAT_BASE..CPU_STAT_BASE + stat::COUNT).contains(&kind)
                || (CPU_REASON_BASE..CPU_REASON_BASE + 79).contains(&kind);
            expect("cpu-own", i64::from(result >= 0), exists.into())?;
            answers += u64::from(exists);
        }
    }
    let state = hypercall::call(CPU_GET_INFO, own, CPU_STATE);
    expect("state", i64::from(state < CPU_FAILED as i64), 1)?;
    report!("name=hypercall-counters answers={answers}");
    Ok(())
}

/// Boot information goes to pages of the cell's own memory only, at its very edges too.
fn pages(boot: &Boot) -> Result<(), Failure> {
    let page = size_of::<BootInfo>().next_multiple_of(0x1000) as u64;
    for range in boot.info.memory() {
        let end = range.base + range.size;
        for (address, wanted) in [
            (range.base.wrapping_sub(page), errno::EFAULT),
            (end, errno::EFAULT),
            (end - 0x800, errno::EFAULT),
            (end - 1, errno::EFAULT),
            (end - page, 0),
        ] {
            expect("page", hypercall::call(BOOT_INFO, address, 0), wanted)?;
        }
    }
    // A channel is not the cell's own memory, nor is anything else.
    let channels = boot.info.channels().iter().map(|channel| channel.base);
    for address in channels.chain(HOSTILE) {
        expect(
            "page-foreign",
            hypercall::call(BOOT_INFO, address, 0),
            errno::EFAULT,
        )?;
    }
    report!("name=hypercall-pages ranges={}", boot.info.memory().len());
    Ok(())
}

/// What a cell must not see of the machine: bits of CPUID that have to be 0.
const HIDDEN: [(&str, u32, u32, usize, u32); 9] = [
    ("vmx-smx", 1, 0, 2, 1 << 5 | 1 << 6),
    ("pdcm", 1, 0, 2, 1 << 15),
    ("ds-acpi-tm", 1, 0, 3, 1 << 21 | 1 << 22 | 1 << 29),
    ("sgx-rdt-pt", 7, 0, 1, 1 << 2 | 1 << 12 | 1 << 15 | 1 << 25),
    ("la57-tme", 7, 0, 2, 1 << 13 | 1 << 16),
    ("pconfig-lbr", 7, 0, 3, 1 << 18 | 1 << 19),
    ("perfmon", 0xa, 0, 0, u32::MAX),
    ("pt", 0x14, 0, 0, u32::MAX),
    ("xss", 0xd, 1, 2, !(1 << 11 | 1 << 12 | 1 << 14)),
];

fn cpuid() {
    let mut leaves = 0_u32;
    for base in [
        0,
        0x2000_0000,
        0x4000_0000,
        0x8000_0000,
        0xc000_0000,
        0xffff_ff80,
    ] {
        for (leaf, subleaf) in (base..=base + (LEAVES - 1)).flat_map(|l| SUBLEAVES.map(|s| (l, s)))
        {
            cpu::cpuid(leaf, subleaf);
            leaves += 1;
        }
    }
    report!("name=cpuid leaves={leaves}");
    for (name, leaf, subleaf, register, bits) in HIDDEN {
        let r = cpu::cpuid(leaf, subleaf);
        let value = [r.eax, r.ebx, r.ecx, r.edx][register] & bits;
        report!("name=cpuid-hidden what={name} shown={value:#x}");
    }
}
