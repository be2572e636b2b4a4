// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random sequences: two senders, two receivers that move between two processors, four user vectors, and everything
//! that masks, suppresses, freezes and disturbs.

use proptest::prelude::*;
use uintr::model::{Destination, Ipi, UserInterrupts};

use crate::fixture::UINV;
use crate::world::{CPUS, HOSTS, RECEIVERS, Raise, UITT_ENTRIES, World};

/// What a processor is told to do. It does so if it can; while something else comes first on its boundary, it does
/// that instead, so every sequence is one that hardware may show.
#[derive(Clone, Copy, Debug)]
enum Op {
    Send(usize, u64),
    Arrive(usize),
    Advance(usize),
    Stui(usize),
    Clui(usize),
    Uiret(usize),
    InterruptFlag(usize, bool),
    TaskPriority(usize, u8),
    EnterKernel(usize),
    LeaveKernel(usize),
    SixtyFourBit(usize, bool),
    BlockBySti(usize),
    BlockByMovSs(usize),
    SwitchOut(usize),
    SwitchIn(usize, usize, Raise),
    Suppress(usize),
    Allow(usize),
    Interrupt(usize, u8),
}

fn op() -> impl Strategy<Value = Op> {
    use Op::*;
    let cpu = 0..CPUS;
    let host = || HOSTS;
    let raise = || prop_oneof![Just(Raise::ByIpi), Just(Raise::ByMsr)];
    prop_oneof![
        12 => (cpu.clone(), 0..UITT_ENTRIES).prop_map(|(cpu, index)| Send(cpu, index)),
        10 => (0usize..4).prop_map(Arrive),
        20 => host().prop_map(Advance),
        2 => host().prop_map(Stui),
        2 => host().prop_map(Clui),
        8 => host().prop_map(Uiret),
        3 => (host(), any::<bool>()).prop_map(|(cpu, on)| InterruptFlag(cpu, on)),
        2 => (host(), prop_oneof![Just(0), Just(0xef), Just(0x50)])
            .prop_map(|(cpu, tpr)| TaskPriority(cpu, tpr)),
        2 => host().prop_map(EnterKernel),
        3 => host().prop_map(LeaveKernel),
        2 => (host(), any::<bool>()).prop_map(|(cpu, on)| SixtyFourBit(cpu, on)),
        1 => host().prop_map(BlockBySti),
        1 => host().prop_map(BlockByMovSs),
        3 => host().prop_map(SwitchOut),
        4 => (host(), 0..RECEIVERS, raise()).prop_map(|(cpu, who, raise)| SwitchIn(cpu, who, raise)),
        1 => host().prop_map(Suppress),
        2 => host().prop_map(Allow),
        2 => (host(), prop_oneof![Just(UINV), Just(0x50), Just(0xf0)])
            .prop_map(|(cpu, vector)| Interrupt(cpu, vector)),
    ]
}

fn apply(world: &mut World, op: Op) {
    match op {
        Op::Send(cpu, index) => world.send(cpu, index),
        Op::Arrive(position) => {
            world.system.arrive(position);
        }
        Op::Advance(cpu) => world.run(cpu, |_, _| {}),
        Op::Stui(cpu) => world.run(cpu, World::stui),
        Op::Clui(cpu) => world.run(cpu, World::clui),
        Op::Uiret(cpu) => world.run(cpu, World::uiret),
        Op::InterruptFlag(cpu, on) => world.run(cpu, |world, cpu| world.set_if(cpu, on)),
        Op::TaskPriority(cpu, tpr) => {
            world.run(cpu, |world, cpu| world.system.cpus[cpu].apic.tpr = tpr);
        }
        Op::EnterKernel(cpu) => world.run(cpu, |world, cpu| world.system.cpus[cpu].cpl = 0),
        Op::LeaveKernel(cpu) => world.run(cpu, World::leave_kernel),
        Op::SixtyFourBit(cpu, on) => world.run(cpu, |world, cpu| world.set_64_bit(cpu, on)),
        Op::BlockBySti(cpu) => {
            world.run(cpu, |world, cpu| world.system.cpus[cpu].sti_blocking = true);
        }
        Op::BlockByMovSs(cpu) => {
            world.run(cpu, |world, cpu| {
                world.system.cpus[cpu].mov_ss_blocking = true;
            });
        }
        Op::SwitchOut(cpu) => world.run(cpu, World::switch_out),
        Op::SwitchIn(cpu, receiver, raise) => {
            world.run(cpu, |world, cpu| world.switch_in(cpu, receiver, raise));
        }
        Op::Suppress(cpu) => world.run(cpu, World::suppress),
        Op::Allow(cpu) => world.run(cpu, World::allow),
        Op::Interrupt(cpu, vector) => world.system.send(Ipi {
            vector,
            destination: Destination::Physical(cpu as u32),
        }),
    }
}

proptest! {
    #[test]
    fn every_posted_vector_is_delivered_once_and_highest_first(
        ops in prop::collection::vec(op(), 0..200),
    ) {
        let mut world = World::new();
        for op in ops {
            apply(&mut world, op);
            world.check();
        }
        world.drain();
        for receiver in &world.receivers {
            prop_assert_eq!(receiver.posted | receiver.owed, 0);
            prop_assert!(receiver.deliveries <= receiver.posts);
        }
    }

    /// While UINV is cleared (XSAVES), UIRR is frozen: nothing but the owner of the state changes it.
    #[test]
    fn a_receiver_that_is_switched_out_keeps_its_requests_as_they_were(
        before in prop::collection::vec(op(), 0..60),
        sends in prop::collection::vec((0usize..2, 0..UITT_ENTRIES, 0usize..4), 1..40),
    ) {
        let mut world = World::new();
        for op in before {
            apply(&mut world, op);
        }
        world.settle();
        for cpu in HOSTS {
            world.run(cpu, World::switch_out);
        }
        world.settle();
        let frozen = world.receivers.each_ref().map(|receiver| receiver.saved_uirr());
        for (cpu, index, position) in sends {
            world.send(cpu, index);
            world.system.arrive(position);
            for cpu in HOSTS {
                world.run(cpu, |_, _| {});
            }
            world.check();
            for cpu in HOSTS {
                prop_assert_eq!(world.system.cpus[cpu].user, UserInterrupts::default());
            }
            let now = world.receivers.each_ref().map(|receiver| receiver.saved_uirr());
            prop_assert_eq!(now, frozen);
        }
        world.drain();
    }
}
