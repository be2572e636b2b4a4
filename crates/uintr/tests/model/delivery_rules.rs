// SPDX-License-Identifier: MIT OR Apache-2.0
//! Delivery of user interrupts, and UIRET.

use uintr::model::{
    AC, Boundary, Cpu, FRAME_LEN_BYTES, Fault, IF, LOADED_FLAGS, RF, RFLAGS_ONE, TF,
};

use crate::fixture::{CODE, HANDLER, Memory, STACK_PAGE, STACK_TOP, UINV};
use crate::fixture::{cpu, memory, request};

const PRESENT: u32 = 1;
const WRITE: u32 = 2;
const USER: u32 = 4;

fn pending(requests: u64) -> Cpu {
    let mut cpu = cpu();
    request(&mut cpu, requests);
    cpu
}

/// The four words of the frame at RSP: user vector, RIP, RFLAGS, RSP.
fn frame(cpu: &Cpu, memory: &Memory) -> [u64; 4] {
    [0, 8, 16, 24].map(|offset| memory.peek(cpu.rsp + offset).unwrap())
}

/// Ends the handler: discards the user vector, executes UIRET.
fn end_handler(cpu: &mut Cpu, memory: &Memory) -> Result<(), Fault> {
    cpu.rsp += 8;
    cpu.uiret(memory)
}

#[test]
fn the_frame_has_vector_rip_rflags_and_rsp() {
    let (mut cpu, mut memory) = (pending(1 << 5), memory());
    cpu.rflags |= TF | RF | 1;
    let before = cpu;
    assert_eq!(cpu.deliver(&mut memory), Ok(5));
    assert_eq!(
        frame(&cpu, &memory),
        [5, CODE, before.rflags, STACK_TOP - 0x18]
    );
    let stack = (before.rsp - 128) & !0xf;
    assert_eq!(cpu.rsp, stack - FRAME_LEN_BYTES);
    assert_eq!(cpu.rip, HANDLER);
    assert_eq!(cpu.rflags, RFLAGS_ONE | IF | 1);
    assert_eq!((cpu.user.uirr, cpu.user.uif), (0, false));
    assert!(!cpu.recognized);
}

#[test]
fn the_stack_is_adjusted_or_replaced_and_then_aligned() {
    let (mut first, mut memory) = (pending(1), memory());
    first.rsp = STACK_TOP - 8;
    first.user.stack_adjust = (STACK_PAGE + 0x808) | 1;
    assert_eq!(first.deliver(&mut memory), Ok(0));
    assert_eq!(first.rsp, STACK_PAGE + 0x800 - FRAME_LEN_BYTES);
    assert_eq!(frame(&first, &memory)[3], STACK_TOP - 8);
    let mut upwards = pending(1);
    upwards.rsp = STACK_PAGE + 8;
    upwards.user.stack_adjust = 0x100u64.wrapping_neg();
    assert_eq!(upwards.deliver(&mut memory), Ok(0));
    assert_eq!(upwards.rsp, STACK_PAGE + 0x100 - FRAME_LEN_BYTES);
}

#[test]
fn only_its_own_conditions_hold_delivery_back() {
    assert!(pending(1).takes_user_interrupt());
    let mut held: [Cpu; 7] = [pending(1); 7];
    held[0].user.uif = false;
    held[1].cpl = 0;
    held[2].cs_l = false;
    held[3].cr4_uintr = false;
    held[4].mov_ss_blocking = true;
    held[5] = pending(0);
    held[6].lma = false;
    for cpu in held {
        assert_eq!(cpu.boundary(), Boundary::Instruction);
    }
    let mut open = [pending(1); 3];
    open[0].rflags &= !IF;
    open[1].sti_blocking = true;
    open[2].apic.tpr = 0xff;
    for cpu in open {
        assert_eq!(cpu.boundary(), Boundary::UserInterrupt);
    }
}

#[test]
fn interrupts_come_before_user_interrupts() {
    let mut cpu = pending(1);
    cpu.apic.accept(0x60);
    assert_eq!(cpu.boundary(), Boundary::Interrupt);
    cpu.rflags &= !IF;
    assert_eq!(cpu.boundary(), Boundary::UserInterrupt);
    cpu.rflags |= IF;
    cpu.apic.irr.remove(0x60);
    cpu.apic.accept(UINV);
    assert_eq!(cpu.boundary(), Boundary::Interrupt);
}

#[test]
fn pending_vectors_come_highest_first_without_an_instruction_in_between() {
    let (mut cpu, mut memory) = (pending(1 << 63 | 1 << 40 | 1 << 3), memory());
    let interrupted = cpu;
    for vector in [63, 40, 3] {
        assert_eq!(cpu.boundary(), Boundary::UserInterrupt);
        assert_eq!(cpu.deliver(&mut memory), Ok(vector));
        assert_eq!(cpu.boundary(), Boundary::Instruction);
        assert_eq!(end_handler(&mut cpu, &memory), Ok(()));
        assert_eq!((cpu.rip, cpu.rsp), (interrupted.rip, interrupted.rsp));
    }
    assert_eq!(cpu.boundary(), Boundary::Instruction);
}

#[test]
fn stui_in_a_handler_nests() {
    let (mut cpu, mut memory) = (pending(1 << 9 | 1 << 3), memory());
    assert_eq!(cpu.deliver(&mut memory), Ok(9));
    let outer = cpu;
    assert_eq!(cpu.stui(), Ok(()));
    assert_eq!(cpu.deliver(&mut memory), Ok(3));
    assert_eq!(frame(&cpu, &memory)[1], HANDLER);
    assert_eq!(end_handler(&mut cpu, &memory), Ok(()));
    assert_eq!((cpu.rip, cpu.rsp), (outer.rip, outer.rsp));
    assert_eq!(end_handler(&mut cpu, &memory), Ok(()));
    assert_eq!((cpu.rip, cpu.rsp), (CODE, STACK_TOP - 0x18));
}

#[test]
fn a_fault_of_delivery_leaves_the_interrupt_pending() {
    let page_fault = |address, error_code| Fault {
        vector: 14,
        error_code: Some(error_code),
        cr2: Some(address),
    };
    let mut wild_handler = pending(1);
    wild_handler.user.handler = 0x0000_8000_0000_0000;
    let mut wild_stack = pending(1);
    wild_stack.user.stack_adjust = 0x0000_8000_0000_1001;
    let mut unmapped = pending(1);
    unmapped.user.stack_adjust = 0x1234_5001;
    let mut supervisor = pending(1);
    supervisor.user.stack_adjust = (crate::fixture::UPID + 0x800) | 1;
    for (mut cpu, fault) in [
        (wild_handler, Fault::GP),
        (wild_stack, Fault::SS),
        (unmapped, page_fault(0x1234_4ff8, WRITE | USER)),
        (
            supervisor,
            page_fault(crate::fixture::UPID + 0x7f8, WRITE | USER | PRESENT),
        ),
    ] {
        let (before, mut memory) = (cpu, memory());
        assert_eq!(cpu.deliver(&mut memory), Err(fault));
        assert_eq!(cpu, before);
    }
}

#[test]
fn a_push_that_fails_half_way_restores_rsp() {
    let (mut cpu, mut memory) = (pending(1), memory());
    memory.page_mut(STACK_PAGE).unwrap().present = false;
    cpu.user.stack_adjust = (STACK_PAGE + 0x1010) | 1;
    let before = cpu;
    let fault = cpu.deliver(&mut memory).unwrap_err();
    assert_eq!(fault.cr2, Some(STACK_PAGE + 0xff8));
    assert_eq!(cpu, before);
    memory.page_mut(STACK_PAGE).unwrap().present = true;
    assert_eq!(cpu.deliver(&mut memory), Ok(0));
}

fn with_frame(rip: u64, rflags: u64, rsp: u64) -> (Cpu, Memory) {
    let (mut cpu, mut memory) = (cpu(), memory());
    cpu.rsp = STACK_PAGE + 0x800;
    cpu.user.uif = false;
    for (offset, value) in [(0, rip), (8, rflags), (16, rsp)] {
        memory.poke(cpu.rsp + offset, value);
    }
    (cpu, memory)
}

#[test]
fn uiret_loads_its_flags_only_and_does_not_check_rsp() {
    let (mut cpu, memory) = with_frame(CODE + 8, !0, 0x0000_8000_0000_0000);
    let before = cpu;
    assert_eq!(cpu.uiret(&memory), Ok(()));
    assert_eq!(cpu.rflags, before.rflags | LOADED_FLAGS);
    assert_eq!((cpu.rip, cpu.rsp), (CODE + 8, 0x0000_8000_0000_0000));
    assert!(cpu.user.uif);
    let (mut cpu, memory) = with_frame(CODE, 0, 0);
    cpu.rflags = !0;
    assert_eq!(cpu.uiret(&memory), Ok(()));
    assert_eq!(cpu.rflags, !LOADED_FLAGS);
}

#[test]
fn flexible_uiret_takes_uif_from_bit_1() {
    for (flexible_uiret, image, expected) in [
        (false, 0, true),
        (false, RFLAGS_ONE, true),
        (true, 0, false),
        (true, RFLAGS_ONE, true),
    ] {
        let (mut cpu, memory) = with_frame(CODE, image, 0);
        cpu.options.flexible_uiret = flexible_uiret;
        assert_eq!(cpu.uiret(&memory), Ok(()));
        assert_eq!(cpu.user.uif, expected);
        assert_eq!(cpu.rflags & RFLAGS_ONE, RFLAGS_ONE);
    }
}

#[test]
fn a_fault_of_uiret_changes_nothing() {
    let wild_rip = with_frame(0x0000_8000_0000_0000, 0, 0);
    let mut wild_stack = with_frame(CODE, 0, 0);
    wild_stack.0.rsp = 0x0000_7fff_ffff_fff8;
    let mut unmapped = with_frame(CODE, 0, 0);
    unmapped.0.rsp = STACK_TOP - 8;
    let mut unaligned = with_frame(CODE, 0, 0);
    unaligned.0.rsp += 4;
    unaligned.0.rflags |= AC;
    unaligned.0.cr0_am = true;
    for ((mut cpu, memory), vector) in [
        (wild_rip, 13),
        (wild_stack, 14),
        (unmapped, 14),
        (unaligned, 17),
    ] {
        let before = cpu;
        assert_eq!(cpu.uiret(&memory).unwrap_err().vector, vector);
        assert_eq!(cpu, before);
    }
    let (mut cpu, memory) = with_frame(CODE, 0, 0);
    cpu.rsp = 0x0000_8000_0000_0000;
    assert_eq!(cpu.uiret(&memory), Err(Fault::SS));
}
