// SPDX-License-Identifier: MIT OR Apache-2.0
//! MSRs, the flag instructions, XSAVES and XRSTORS.

use uintr::model::{CF, Fault, Image, RFLAGS_ONE, STATUS_FLAGS, UserInterrupts};
use uintr::msr::*;

use crate::fixture::{HANDLER, UITT, UPID, cpu, memory, request};

const MSRS: [u32; 6] = [
    IA32_UINTR_RR,
    IA32_UINTR_HANDLER,
    IA32_UINTR_STACKADJUST,
    IA32_UINTR_MISC,
    IA32_UINTR_PD,
    IA32_UINTR_TT,
];

#[test]
fn msrs_keep_what_is_written_whether_user_interrupts_are_enabled_or_not() {
    for enabled in [true, false] {
        let mut cpu = cpu();
        cpu.cpl = 0;
        cpu.cr4_uintr = enabled;
        for (msr, value) in [
            (IA32_UINTR_RR, u64::MAX),
            (IA32_UINTR_HANDLER, 0x00ff_ffff_ffff_ffff),
            (IA32_UINTR_STACKADJUST, 0xffff_ffff_ffff_ffff),
            (IA32_UINTR_MISC, 0xff_ffff_ffff),
            (IA32_UINTR_PD, 0xff00_0000_0000_0040),
            (IA32_UINTR_TT, 0x1001),
        ] {
            assert_eq!(cpu.wrmsr(msr, value), Ok(()), "{msr:#x}");
            assert_eq!(cpu.rdmsr(msr), Ok(value), "{msr:#x}");
        }
    }
}

#[test]
fn reserved_bits_and_addresses_beyond_cpuids_width_fault_and_change_nothing() {
    let bad = (40..64)
        .map(|bit| (IA32_UINTR_MISC, 1 << bit))
        .chain((0..6).map(|bit| (IA32_UINTR_PD, 1 << bit)))
        .chain((1..4).map(|bit| (IA32_UINTR_TT, 1 << bit)))
        .chain(
            [
                IA32_UINTR_HANDLER,
                IA32_UINTR_STACKADJUST,
                IA32_UINTR_PD,
                IA32_UINTR_TT,
            ]
            .map(|msr| (msr, 1 << 56)),
        )
        .chain([(0x984, 0), (0x98b, 0)]);
    for (msr, value) in bad {
        let mut cpu = cpu();
        cpu.cpl = 0;
        let before = cpu;
        assert_eq!(cpu.wrmsr(msr, value), Err(Fault::GP), "{msr:#x} {value:#x}");
        assert_eq!(cpu, before);
    }
}

#[test]
fn programs_cannot_reach_the_msrs_nor_the_supervisor_component() {
    let mut cpu = cpu();
    let before = cpu;
    for msr in MSRS {
        assert_eq!(cpu.rdmsr(msr), Err(Fault::GP));
        assert_eq!(cpu.wrmsr(msr, 0), Err(Fault::GP));
    }
    assert_eq!(cpu.xsaves(), Err(Fault::GP));
    assert_eq!(cpu.xrstors(None), Err(Fault::GP));
    assert_eq!(cpu, before);
}

#[test]
fn the_instructions_need_64_bit_mode_and_cr4_at_any_cpl() {
    for (cr4_uintr, lma, cs_l) in [
        (false, true, true),
        (true, true, false),
        (true, false, true),
    ] {
        for cpl in [0, 3] {
            let mut cpu = cpu();
            cpu.cr4_uintr = cr4_uintr;
            cpu.lma = lma;
            cpu.cs_l = cs_l;
            cpu.cpl = cpl;
            let before = cpu;
            let mut memory = memory();
            assert_eq!(cpu.stui(), Err(Fault::UD));
            assert_eq!(cpu.clui(), Err(Fault::UD));
            assert_eq!(cpu.testui(), Err(Fault::UD));
            assert_eq!(cpu.uiret(&memory), Err(Fault::UD));
            assert_eq!(cpu.senduipi(&mut memory, 0), Err(Fault::UD));
            assert_eq!(cpu, before);
        }
    }
}

#[test]
fn testui_shows_uif_in_cf_and_clears_the_other_status_flags() {
    let mut cpu = cpu();
    cpu.rflags |= STATUS_FLAGS;
    assert_eq!(cpu.clui(), Ok(()));
    assert_eq!(cpu.testui(), Ok(()));
    assert_eq!(cpu.rflags & STATUS_FLAGS, 0);
    cpu.rflags |= STATUS_FLAGS;
    assert_eq!(cpu.stui(), Ok(()));
    assert_eq!(cpu.rflags & STATUS_FLAGS, STATUS_FLAGS);
    assert_eq!(cpu.testui(), Ok(()));
    assert_eq!(cpu.rflags & STATUS_FLAGS, CF);
    assert_eq!(cpu.rflags & RFLAGS_ONE, RFLAGS_ONE);
}

#[test]
fn xsaves_lays_out_48_bytes_and_clears_uinv_only() {
    let mut cpu = cpu();
    request(&mut cpu, 1 << 40);
    cpu.cpl = 0;
    let before = cpu.user;
    let image = cpu.xsaves().unwrap().unwrap();
    let misc = 1 << 63 | 0xec << 32 | 3;
    assert_eq!(image.0, [HANDLER, 128, misc, UPID, 1 << 40, UITT | 1]);
    assert_eq!(cpu.user, UserInterrupts { uinv: 0, ..before });
    assert_eq!(cpu.xrstors(Some(&image)), Ok(()));
    assert_eq!(cpu.user, before);
    assert_eq!(cpu.xrstors(Some(&image)), Err(Fault::GP));
    assert_eq!(cpu.user, before);
}

#[test]
fn the_initial_state_is_saved_as_such_and_restored_by_initializing() {
    let mut cpu = cpu();
    request(&mut cpu, 1);
    cpu.cpl = 0;
    cpu.user.uinv = 0;
    assert_eq!(cpu.xrstors(None), Ok(()));
    assert_eq!(cpu.user, UserInterrupts::default());
    assert!(!cpu.recognized);
    assert_eq!(cpu.xsaves(), Ok(None));
    cpu.user.uif = true;
    assert!(cpu.xsaves().unwrap().is_some());
}

#[test]
fn whether_initializing_checks_uinv_is_an_option() {
    for (init_checks_uinv, expected) in [(false, Ok(())), (true, Err(Fault::GP))] {
        let mut cpu = cpu();
        cpu.cpl = 0;
        cpu.options.init_checks_uinv = init_checks_uinv;
        assert_eq!(cpu.xrstors(None), expected);
    }
}

#[test]
fn images_that_wrmsr_would_refuse_are_refused_and_bit_63_of_misc_is_not_one() {
    let mut cpu = cpu();
    cpu.cpl = 0;
    let good = cpu.xsaves().unwrap().unwrap();
    let bad = (40..63)
        .map(|bit| (2, 1 << bit))
        .chain((0..6).map(|bit| (3, 1 << bit)))
        .chain((1..4).map(|bit| (5, 1 << bit)))
        .chain([0, 1, 3, 5].map(|field| (field, 1 << 56)));
    for (field, bit) in bad {
        let mut image = good;
        image.0[field] ^= bit;
        let before = cpu;
        assert_eq!(
            cpu.xrstors(Some(&image)),
            Err(Fault::GP),
            "{field} {bit:#x}"
        );
        assert_eq!(cpu, before);
        assert_eq!(cpu.user.uinv, 0);
    }
    let mut image = Image::default();
    image.0[2] = 1 << 63;
    assert_eq!(cpu.xrstors(Some(&image)), Ok(()));
    assert!(cpu.user.uif);
}
