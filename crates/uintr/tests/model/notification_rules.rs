// SPDX-License-Identifier: MIT OR Apache-2.0
//! Identification and processing of notifications.

use uintr::model::{Acknowledged, Boundary, Fault, IF, Recognition};

use crate::fixture::{APIC_ID, UINV, UPID, control, cpu, memory, request, upid};

const POSTED: u64 = 1 << 40 | 1 << 3;

#[test]
fn a_notification_ends_at_the_apic_and_moves_the_requests() {
    for (cpl, cs_l, uif) in [(3, true, true), (0, true, false), (3, false, true)] {
        let (mut cpu, mut memory) = (cpu(), memory());
        (cpu.cpl, cpu.cs_l, cpu.user.uif) = (cpl, cs_l, uif);
        memory.poke(UPID, control(UINV, APIC_ID) | 1);
        memory.poke(UPID + 8, POSTED);
        request(&mut cpu, 1 << 9);
        cpu.apic.accept(UINV);
        assert_eq!(cpu.boundary(), Boundary::Interrupt);
        assert_eq!(cpu.acknowledge(), Some(Acknowledged::Notification));
        assert!(cpu.apic.isr.is_empty() && cpu.apic.irr.is_empty());
        assert_eq!(cpu.process_notification(&mut memory), Ok(POSTED));
        assert_eq!(upid(&memory), (control(UINV, APIC_ID), 0));
        assert_eq!(cpu.user.uirr, POSTED | 1 << 9);
        assert!(cpu.recognized);
    }
}

#[test]
fn other_vectors_and_disabled_processors_take_ordinary_interrupts() {
    let mut cpu = cpu();
    cpu.apic.accept(0x50);
    assert_eq!(cpu.acknowledge(), Some(Acknowledged::Interrupt(0x50)));
    assert!(cpu.apic.isr.contains(0x50));
    for (cr4_uintr, lma, uinv) in [(false, true, UINV), (true, false, UINV), (true, true, 0)] {
        let mut cpu = crate::fixture::cpu();
        (cpu.cr4_uintr, cpu.lma, cpu.user.uinv) = (cr4_uintr, lma, uinv);
        cpu.apic.accept(UINV);
        assert_eq!(cpu.acknowledge(), Some(Acknowledged::Interrupt(UINV)));
        assert!(cpu.apic.isr.contains(UINV));
    }
}

#[test]
fn what_masks_interrupts_masks_notifications() {
    let mut masked = [cpu(); 5];
    masked[0].rflags &= !IF;
    masked[1].sti_blocking = true;
    masked[2].mov_ss_blocking = true;
    masked[3].apic.tpr = 0xe0;
    masked[4].apic.isr.insert(0xe1);
    for mut cpu in masked {
        cpu.apic.accept(UINV);
        assert_eq!(cpu.acknowledge(), None);
        assert!(cpu.apic.irr.contains(UINV));
    }
    let mut cpu = cpu();
    cpu.user.uif = false;
    cpu.apic.tpr = 0xdf;
    cpu.apic.accept(UINV);
    assert_eq!(cpu.acknowledge(), Some(Acknowledged::Notification));
}

#[test]
fn an_empty_pir_clears_on_and_leaves_what_is_pending() {
    for pending in [0, 1 << 7] {
        let (mut cpu, mut memory) = (cpu(), memory());
        request(&mut cpu, pending);
        memory.poke(UPID, control(UINV, APIC_ID) | 1);
        assert_eq!(cpu.process_notification(&mut memory), Ok(0));
        assert_eq!(upid(&memory), (control(UINV, APIC_ID), 0));
        assert_eq!(cpu.user.uirr, pending);
        assert_eq!(cpu.recognized, pending != 0);
    }
}

#[test]
fn processing_does_not_look_at_reserved_bits_nor_at_sn() {
    let (mut cpu, mut memory) = (cpu(), memory());
    let rest = control(0x21, 0xdead_beef) | 0xff00_fffe;
    memory.poke(UPID, rest | 1);
    memory.poke(UPID + 8, POSTED);
    assert_eq!(cpu.process_notification(&mut memory), Ok(POSTED));
    assert_eq!(upid(&memory), (rest, 0));
}

#[test]
fn an_unreachable_upid_faults_and_keeps_the_post() {
    let (mut cpu, mut memory) = (cpu(), memory());
    memory.poke(UPID + 8, POSTED);
    memory.page_mut(UPID).unwrap().present = false;
    cpu.apic.accept(UINV);
    assert_eq!(cpu.acknowledge(), Some(Acknowledged::Notification));
    let fault = Fault {
        vector: 14,
        error_code: Some(2),
        cr2: Some(UPID),
    };
    assert_eq!(cpu.process_notification(&mut memory), Err(fault));
    assert_eq!((cpu.user.uirr, upid(&memory).1), (0, POSTED));
    assert_eq!(cpu.acknowledge(), None);
    cpu.user.upid_address = 0x0000_8000_0000_0000;
    assert_eq!(cpu.process_notification(&mut memory), Err(Fault::GP_EXT));
}

#[test]
fn whether_requests_written_while_disabled_are_recognized_is_an_option() {
    for (recognition, expected) in [
        (Recognition::WheneverRequested, true),
        (Recognition::WhileEnabled, false),
    ] {
        let mut cpu = cpu();
        cpu.options.recognition = recognition;
        cpu.set_cr4_uintr(false);
        request(&mut cpu, 1);
        assert!(!cpu.takes_user_interrupt());
        cpu.set_cr4_uintr(true);
        assert_eq!(cpu.takes_user_interrupt(), expected);
        request(&mut cpu, 1);
        assert!(cpu.takes_user_interrupt());
        cpu.set_cr4_uintr(false);
        assert!(!cpu.takes_user_interrupt());
    }
}
