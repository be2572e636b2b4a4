// SPDX-License-Identifier: MIT OR Apache-2.0
//! Two senders, one receiver, two vectors: every interleaving of their atomic steps.
//!
//! A state is explored once. In each, [`World::check`] holds what must always be so; where nothing can happen any more,
//! [`World::check_end`] holds that nothing is left behind.

use std::collections::HashSet;

use uintr::model::{
    Acknowledged, Apic, ApicMode, Cpu, Direction, Event, IF, Image, Memory, Options,
};
use uintr::model::{PageFault, Privilege, System};

use crate::fixture::{HANDLER, STACK_TOP, UINV, UITT, UPID, control, entry_low};
use crate::posting_software::*;

const VECTORS: [u8; 2] = [3, 9];
const RECEIVER: usize = 2;

/// A UPID, a UITT with an entry for each of the vectors, and a stack of eight words.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Words {
    upid: [u64; 2],
    stack: [u64; 8],
}

impl Words {
    fn stack_word(address: u64) -> usize {
        usize::try_from((STACK_TOP - address) / 8 - 1).expect("stack addresses are below the top")
    }
}

impl Memory for Words {
    fn read(&self, address: u64, _: Direction, privilege: Privilege) -> Result<u64, PageFault> {
        if privilege == Privilege::User {
            return Ok(self.stack[Self::stack_word(address)]);
        }
        Ok(match address {
            UPID => self.upid[0],
            a if a == UPID + 8 => self.upid[1],
            a if a % 16 == 8 => UPID,
            a => entry_low(VECTORS[usize::from(a != UITT)]),
        })
    }

    fn write(&mut self, address: u64, value: u64, privilege: Privilege) -> Result<(), PageFault> {
        if privilege == Privilege::User {
            self.stack[Self::stack_word(address)] = value;
        } else {
            self.upid[usize::from(address != UPID)] = value;
        }
        Ok(())
    }
}

/// Next step of the receiver's program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Action {
    Stui,
    Clui,
    EnableInterrupts,
    DisableInterrupts,
    Suppress,
    Save,
    Restore,
    DirectTo,
    DirectToKeepingOn,
    RaiseByIpi,
    RaiseByMsr,
    EnterKernel,
    LeaveKernel,
}

use Action::*;

/// Switches the receiver out; in between it is away.
const OUT: [Action; 4] = [EnterKernel, Suppress, Save, EnableInterrupts];

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    system: System<3, Words>,
    /// What each sender has still to send, as indices of the UITT.
    programs: [&'static [u64]; 2],
    receiver: &'static [Action],
    /// The receiver's state while it is switched out.
    saved: Option<Image>,
    is_away: bool,
    /// Vectors that were posted since requests were taken last.
    posted: u64,
    /// Vectors that were taken and not delivered yet.
    owed: u64,
    /// In a handler, whose UIRET comes next.
    handlers: u32,
}

fn processor(id: u32) -> Cpu {
    let mut cpu = Cpu::new(Options::SAPPHIRE_RAPIDS, Apic::new(ApicMode::X2Apic, id));
    cpu.cpl = 3;
    cpu.rflags |= IF;
    cpu.user.tt = UITT | 1;
    cpu.user.uitt_size = 1;
    cpu
}

impl World {
    fn new(programs: [&'static [u64]; 2], receiver: &'static [Action]) -> Self {
        let mut cpu = processor(2);
        cpu.rsp = STACK_TOP;
        cpu.user.handler = HANDLER;
        cpu.user.uinv = UINV;
        cpu.user.upid_address = UPID;
        cpu.user.uif = true;
        let memory = Words {
            upid: [control(UINV, 2), 0],
            stack: [0; 8],
        };
        Self {
            system: System::new([processor(0), processor(1), cpu], memory),
            programs,
            receiver,
            saved: None,
            is_away: false,
            posted: 0,
            owed: 0,
            handlers: 0,
        }
    }

    /// Returns the states that one step of anyone leads to.
    fn successors(&self) -> Result<Vec<Self>, String> {
        let mut next = Vec::new();
        for sender in 0..2 {
            if let Some((&index, rest)) = self.programs[sender].split_first() {
                let mut world = self.clone();
                world.programs[sender] = rest;
                world.send(sender, index)?;
                next.push(world);
            }
        }
        for position in 0..self.system.in_flight().len() {
            let mut world = self.clone();
            world.system.arrive(position);
            next.push(world);
        }
        let mut world = self.clone();
        if world.receive()? {
            next.push(world);
        }
        Ok(next)
    }

    fn send(&mut self, sender: usize, index: u64) -> Result<(), String> {
        let [before, _] = self.system.memory.upid;
        let sent = self
            .system
            .senduipi(sender, index)
            .map_err(|fault| format!("SENDUIPI faults: {fault:?}"))?;
        self.posted |= 1 << VECTORS[index as usize];
        let on_was_set_now = before & ON == 0 && self.system.memory.upid[0] & ON != 0;
        if sent.is_some() != on_was_set_now || sent.is_some() != (before & (ON | SN) == 0) {
            return Err(format!("sent {sent:?} although the UPID was {before:#x}"));
        }
        Ok(())
    }

    /// Lets the receiver's processor do its next step; tells whether there is one.
    fn receive(&mut self) -> Result<bool, String> {
        let requests = self.system.cpus[RECEIVER].user.uirr;
        match self.system.step(RECEIVER) {
            Event::Instruction => return Ok(self.execute()),
            Event::Interrupt(_) => self.system.cpus[RECEIVER].apic.end_of_interrupt(),
            Event::OutstandingCleared => {}
            Event::RequestsTaken(_) => self.taken(),
            Event::Delivered(vector) => {
                if self.owed & 1 << vector == 0 {
                    return Err(format!("vector {vector} was delivered and not posted"));
                }
                if requests >> vector != 1 {
                    return Err(format!("vector {vector} before others of {requests:#x}"));
                }
                self.owed &= !(1 << vector);
                self.handlers += 1;
            }
            Event::Fault(fault) => return Err(format!("the receiver faults: {fault:?}")),
        }
        Ok(true)
    }

    fn execute(&mut self) -> bool {
        let cpu = &mut self.system.cpus[RECEIVER];
        if self.handlers > 0 && cpu.cpl == 3 {
            self.handlers -= 1;
            cpu.rsp += 8;
            return cpu.uiret(&self.system.memory).is_ok();
        }
        let Some((&action, rest)) = self.receiver.split_first() else {
            return false;
        };
        self.receiver = rest;
        self.act(action);
        true
    }

    fn act(&mut self, action: Action) {
        let cpu = &mut self.system.cpus[RECEIVER];
        let memory = &mut self.system.memory;
        match action {
            Stui => cpu.user.uif = true,
            Clui => cpu.user.uif = false,
            EnableInterrupts => cpu.rflags |= IF,
            DisableInterrupts => cpu.rflags &= !IF,
            EnterKernel => {
                cpu.cpl = 0;
                cpu.rflags &= !IF;
            }
            LeaveKernel => {
                cpu.cpl = 3;
                cpu.rflags |= IF;
            }
            Suppress => suppress(memory, UPID),
            Save => {
                self.saved = save(cpu);
                self.is_away = true;
            }
            Restore => {
                restore(cpu, self.saved.take().as_ref());
                self.is_away = false;
            }
            DirectTo => direct_to(memory, UPID, 2),
            DirectToKeepingOn => direct_to_keeping_on(memory, UPID, 2),
            RaiseByIpi => {
                if let Some(ipi) = raise_by_ipi(memory, UPID, 2) {
                    self.system.send(ipi);
                }
            }
            RaiseByMsr => {
                raise_by_msr(cpu, memory, UPID);
                self.taken();
            }
        }
    }

    fn taken(&mut self) {
        self.owed |= std::mem::take(&mut self.posted);
    }

    fn uirr(&self) -> u64 {
        match &self.saved {
            Some(image) => image.0[4],
            None => self.system.cpus[RECEIVER].user.uirr,
        }
    }

    /// What holds in every state: PIR has exactly the vectors that were posted, UIRR those that are owed, and as long
    /// as the receiver listens, ON means that a notification is on its way.
    fn check(&self) -> Result<(), String> {
        let requests = (self.system.memory.upid[1], self.uirr());
        if requests != (self.posted, self.owed) {
            let expected = (self.posted, self.owed);
            return Err(format!("PIR and UIRR are {requests:x?}, not {expected:x?}"));
        }
        let coming = self.system.in_flight().iter().any(|ipi| ipi.vector == UINV)
            || self.system.cpus[RECEIVER].apic.irr.contains(UINV);
        let [control, pir] = self.system.memory.upid;
        let settled = !self.is_away && self.receiver.is_empty();
        if settled && control & ON != 0 && !coming {
            return Err("ON is set and no notification is on its way".into());
        }
        let listens = settled && !self.system.is_processing(RECEIVER);
        if listens && pir != 0 && !coming {
            return Err(format!("PIR {pir:#x} and no notification is on its way"));
        }
        Ok(())
    }

    fn check_end(&self) -> Result<(), String> {
        let cpu = &self.system.cpus[RECEIVER];
        let [control, pir] = self.system.memory.upid;
        if self.posted | self.owed != 0 || pir != 0 || control & ON != 0 || cpu.user.uirr != 0 {
            return Err(format!("left behind: owed {:#x}, {self:?}", self.owed));
        }
        Ok(())
    }
}

/// Explores everything from `start`; returns the number of states, or the first violation.
fn explore(start: World) -> Result<usize, String> {
    let mut seen = HashSet::from([start.clone()]);
    let mut open = vec![start];
    while let Some(world) = open.pop() {
        world.check()?;
        let successors = world.successors()?;
        if successors.is_empty() {
            world.check_end()?;
        }
        for next in successors {
            if seen.insert(next.clone()) {
                open.push(next);
            }
        }
    }
    Ok(seen.len())
}

#[test]
fn nothing_is_lost_while_the_receiver_listens() {
    let states = explore(World::new([&[0, 1, 0], &[1, 0, 1]], &[]));
    assert!(states.expect("no violation") > 500);
}

#[test]
fn nothing_is_lost_while_flags_come_and_go() {
    const RECEIVER: [Action; 6] = [Clui, DisableInterrupts, Stui, EnableInterrupts, Clui, Stui];
    let states = explore(World::new([&[0, 1], &[1, 0]], &RECEIVER));
    assert!(states.expect("no violation") > 500);
}

#[test]
fn nothing_is_lost_over_a_context_switch() {
    for raise in [RaiseByIpi, RaiseByMsr] {
        let back = [DisableInterrupts, Restore, DirectTo, raise, LeaveKernel];
        let program = [&OUT[..], &back].concat().leak();
        let states = explore(World::new([&[0, 1], &[1, 0]], program));
        assert!(states.expect("no violation") > 500);
    }
}

#[test]
fn a_switch_that_forgets_to_raise_loses_posts() {
    let back = [DisableInterrupts, Restore, DirectTo, LeaveKernel];
    let program = [&OUT[..], &back].concat().leak();
    assert!(explore(World::new([&[0, 1], &[1, 0]], program)).is_err());
}

#[test]
fn a_switch_that_keeps_on_loses_the_next_post() {
    let back = [
        DisableInterrupts,
        Restore,
        DirectToKeepingOn,
        RaiseByIpi,
        LeaveKernel,
    ];
    let program = [&OUT[..], &back].concat().leak();
    assert!(explore(World::new([&[0, 1], &[1, 0]], program)).is_err());
}

#[test]
fn a_switch_without_suppression_is_safe_because_uinv_is_cleared() {
    let program = [
        EnterKernel,
        Save,
        EnableInterrupts,
        DisableInterrupts,
        Restore,
        DirectTo,
        RaiseByIpi,
        LeaveKernel,
    ];
    let program = program.to_vec().leak();
    let states = explore(World::new([&[0, 1], &[1, 0]], program));
    assert!(states.expect("no violation") > 500);
}

/// The two steps of processing the other way round, as software on the same memory: the search must find the lost post.
#[test]
fn taking_the_requests_before_clearing_on_would_lose_posts() {
    let mut world = World::new([&[0], &[1]], &[]);
    world.send(0, 0).unwrap();
    world.system.arrive(0);
    let acknowledged = world.system.cpus[RECEIVER].acknowledge();
    assert_eq!(acknowledged, Some(Acknowledged::Notification));
    let requests = take_pir(&mut world.system.memory, UPID);
    world.send(1, 1).unwrap();
    let control = load(&world.system.memory, UPID);
    store(&mut world.system.memory, UPID, control & !ON);
    world.system.cpus[RECEIVER].user.uirr |= requests;
    world.system.cpus[RECEIVER].recognized = true;
    world.programs = [&[], &[]];
    world.owed = requests;
    world.posted &= !requests;
    let violation = explore(world).unwrap_err();
    assert!(violation.contains("no notification"), "{violation}");
}
