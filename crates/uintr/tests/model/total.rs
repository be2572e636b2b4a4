// SPDX-License-Identifier: MIT OR Apache-2.0
//! Any state of processor and memory, sensible or not: no operation panics, none that faults has an effect, and UIRET
//! undoes delivery.

use proptest::prelude::*;
use proptest::sample::select;
use uintr::model::{Apic, ApicMode, Cpu, Image, Options, RFLAGS_ONE, Recognition};
use uintr::model::{UserInterrupts, VectorSet};

use crate::fixture::{CODE, HANDLER, Memory, STACK_PAGE, STACK_TOP, UINV, UITT, UPID};
use crate::fixture::{control, cpu, entry_low, memory, write_entry};

/// An address: often one that something is at, or near a border.
fn address() -> impl Strategy<Value = u64> {
    let places = vec![
        UITT,
        UPID,
        STACK_PAGE,
        STACK_TOP,
        HANDLER,
        CODE,
        0,
        1 << 47,
        1 << 56,
        u64::MAX << 47,
        u64::MAX << 56,
    ];
    prop_oneof![
        8 => (select(places), select(vec![0u64, 1, 2, 8, 16, 64, 0x18, 0x808]), any::<bool>())
            .prop_map(|(place, offset, below)| if below {
                place.wrapping_sub(offset)
            } else {
                place.wrapping_add(offset)
            }),
        1 => any::<u64>(),
    ]
}

/// A word with few bits set.
fn bits() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), (0u32..64).prop_map(|bit| 1 << bit), any::<u64>()]
}

fn options() -> impl Strategy<Value = Options> {
    let width = select(vec![48, 57]);
    (width, any::<[bool; 3]>()).prop_map(|(linear_address_bits, flags)| Options {
        linear_address_bits,
        flexible_uiret: flags[0],
        recognition: if flags[1] {
            Recognition::WheneverRequested
        } else {
            Recognition::WhileEnabled
        },
        init_checks_uinv: flags[2],
    })
}

fn user() -> impl Strategy<Value = UserInterrupts> {
    let registers = (
        bits(),
        any::<bool>(),
        address(),
        prop_oneof![Just(128), address()],
        select(vec![0, UINV, 15]),
        address(),
        prop_oneof![Just(UITT | 1), address()],
        select(vec![0, 3, u32::MAX]),
    );
    registers.prop_map(
        |(uirr, uif, handler, stack_adjust, uinv, upid_address, tt, uitt_size)| UserInterrupts {
            uirr,
            uif,
            handler,
            stack_adjust,
            uinv,
            upid_address,
            tt,
            uitt_size,
        },
    )
}

fn any_cpu() -> impl Strategy<Value = Cpu> {
    let mode = select(vec![ApicMode::XApic, ApicMode::X2Apic]);
    (
        (options(), mode, user(), address(), address(), bits()),
        any::<[bool; 8]>(),
        select(vec![0, 3]),
    )
        .prop_map(
            |((options, mode, user, rip, rsp, rflags), flags, cpl)| Cpu {
                cr4_uintr: flags[0] || flags[1],
                la57: flags[2],
                cr0_am: flags[3],
                lma: flags[0] || flags[4],
                cs_l: flags[1] || flags[4],
                cpl,
                sti_blocking: flags[5],
                mov_ss_blocking: flags[6],
                rip,
                rsp,
                rflags,
                recognized: user.uirr != 0 && flags[7],
                user,
                ..Cpu::new(options, Apic::new(mode, 2))
            },
        )
}

/// Memory with entries and a UPID of any contents, and pages of any rights.
fn any_memory() -> impl Strategy<Value = Memory> {
    let entries = prop::collection::vec((bits(), prop_oneof![Just(UPID), address()]), 4);
    let upid = (bits(), bits());
    (
        entries,
        upid,
        prop::collection::vec(address(), 6),
        bits(),
        any::<bool>(),
    )
        .prop_map(|(entries, (low, pir), stack, rights, smap)| {
            let mut memory = memory();
            for (index, (low, upid)) in entries.into_iter().enumerate() {
                // Every other entry has one bit wrong at most.
                let low = if index % 2 == 0 {
                    entry_low(5) ^ low
                } else {
                    low
                };
                write_entry(&mut memory, index as u64, low, upid);
            }
            memory.poke(UPID, control(UINV, 2) ^ low);
            memory.poke(UPID + 8, pir);
            for (offset, value) in (0..).step_by(8).zip(stack) {
                memory.poke(STACK_PAGE + 0x800 + offset, value);
            }
            for (index, page) in memory.pages.iter_mut().enumerate() {
                // Three bits a page, mostly granting the right.
                let bits = rights >> (3 * index) & 7;
                page.present = bits != 7;
                page.writable = bits != 6;
                page.user ^= bits == 5;
            }
            memory.smap = smap;
            memory
        })
}

proptest! {
    #[test]
    fn senduipi_that_faults_changes_nothing(
        mut cpu in any_cpu(), mut memory in any_memory(), index in prop_oneof![0u64..5, any::<u64>()],
    ) {
        let before = (cpu, memory.clone());
        if cpu.senduipi(&mut memory, index).is_err() {
            prop_assert!((cpu, memory) == before);
        } else {
            // Nothing but the ICR and its errors: RIP is the caller's.
            let Cpu { apic, .. } = cpu;
            prop_assert_eq!(cpu, Cpu { apic, ..before.0 });
        }
    }

    #[test]
    fn uiret_that_faults_changes_nothing(
        mut cpu in any_cpu(), memory in any_memory(), in_frame in any::<bool>(),
    ) {
        if in_frame {
            cpu.rsp = STACK_PAGE + 0x800;
        }
        let before = cpu;
        if cpu.uiret(&memory).is_err() {
            prop_assert_eq!(cpu, before);
        }
    }

    #[test]
    fn delivery_that_faults_changes_bytes_below_the_stack_only(
        mut cpu in any_cpu(), mut memory in any_memory(),
    ) {
        let before = (cpu, memory.clone());
        if cpu.deliver(&mut memory).is_err() {
            prop_assert_eq!(cpu, before.0);
            let stack = if cpu.user.stack_adjust & 1 != 0 {
                cpu.user.stack_adjust
            } else {
                cpu.rsp.wrapping_sub(cpu.user.stack_adjust)
            } & !0xf;
            // Takes back the bytes that may differ.
            for offset in [8, 16, 24, 32] {
                let address = stack.wrapping_sub(offset);
                if let Some(word) = before.1.peek(address) {
                    memory.poke(address, word);
                }
            }
            prop_assert!(memory == before.1);
        }
    }

    #[test]
    fn msrs_and_xrstors_that_fault_change_nothing(
        mut cpu in any_cpu(), msr in 0x984u32..0x98c, value in address(),
        fields in prop::array::uniform6(address()), loads in any::<bool>(),
    ) {
        let before = cpu;
        if cpu.wrmsr(msr, value).is_err() {
            prop_assert_eq!(cpu, before);
        } else {
            prop_assert_eq!(cpu.rdmsr(msr), Ok(value));
        }
        let before = cpu;
        let image = Image(fields);
        if cpu.xrstors(loads.then_some(&image)).is_err() {
            prop_assert_eq!(cpu, before);
        } else {
            let saved = cpu.xsaves().expect("XRSTORS checked the CPL");
            prop_assert!(!loads || saved == Some(image) || fields == [0; 6]);
        }
    }

    #[test]
    fn processing_keeps_every_request(mut cpu in any_cpu(), mut memory in any_memory()) {
        let requests = |cpu: &Cpu, memory: &Memory| {
            let pir = cpu.user.upid_address.wrapping_add(8);
            // An unaligned UPIDADDR cannot come by WRMSR.
            cpu.user.uirr | memory.peek(pir).unwrap_or(0)
        };
        cpu.user.upid_address &= !0x3f;
        let before = requests(&cpu, &memory);
        let result = cpu.process_notification(&mut memory);
        prop_assert_eq!(requests(&cpu, &memory), before);
        if result.is_ok() {
            prop_assert_eq!(cpu.user.uirr, before);
        }
    }

    #[test]
    fn uiret_undoes_delivery_but_for_the_request(
        rip in address(), rsp in (0x200u64..0x2000), flags in any::<u64>(),
        uirr in 1u64.., adjust in select(vec![0, 128, 8, (STACK_PAGE + 0x400) | 1]),
    ) {
        let mut cpu = cpu();
        // Made canonical by repeating bit 47.
        cpu.rip = ((rip << 16) as i64 >> 16) as u64;
        cpu.rsp = STACK_PAGE + rsp;
        // Without AC, or an unaligned stack could not be read; IF is no flag of UIRET.
        cpu.rflags = flags & 0x25_4dd5 & !uintr::model::AC | RFLAGS_ONE;
        cpu.user.stack_adjust = adjust;
        crate::fixture::request(&mut cpu, uirr);
        let before = cpu;
        let mut memory = memory();
        prop_assert!(cpu.takes_user_interrupt());
        let vector = cpu.deliver(&mut memory).unwrap();
        prop_assert!(!cpu.takes_user_interrupt());
        cpu.rsp += 8;
        prop_assert_eq!(cpu.uiret(&memory), Ok(()));
        let rest = uirr & !(1 << vector);
        prop_assert!(vector == 63 || uirr >> (vector + 1) == 0);
        let user = UserInterrupts { uirr: rest, ..before.user };
        prop_assert_eq!(cpu, Cpu { user, recognized: rest != 0, ..before });
    }

    #[test]
    fn the_apic_serves_every_vector_once(vectors in prop::collection::vec(16u8.., 0..40)) {
        let mut apic = Apic::new(ApicMode::X2Apic, 0);
        let mut expected = VectorSet::default();
        for &vector in &vectors {
            apic.accept(vector);
            expected.insert(vector);
        }
        let mut last = None;
        while let Some(vector) = apic.acknowledge() {
            prop_assert!(last.is_none_or(|last| last > vector));
            prop_assert!(expected.contains(vector));
            expected.remove(vector);
            apic.end_of_interrupt();
            last = Some(vector);
        }
        prop_assert!(expected.is_empty() && apic.irr.is_empty() && apic.isr.is_empty());
    }
}
