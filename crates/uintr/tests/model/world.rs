// SPDX-License-Identifier: MIT OR Apache-2.0
//! The system that the random sequences drive: processors of the model, an operating system that schedules receivers,
//! and a record of what must come to pass.

use std::collections::VecDeque;
use std::ops::Range;

use uintr::model::{Apic, ApicMode, Boundary, Cpu, Event, IF, Image, Options, RFLAGS_ONE, System};

use crate::fixture::{CODE, HANDLER, Memory, STACK_PAGE, UINV, UITT, UPID};
use crate::fixture::{control, entry_low, memory, write_entry};
use crate::posting_software::*;

/// Processors 0 and 1 only send; the others run receivers, and send as well.
pub const CPUS: usize = 4;
pub const HOSTS: Range<usize> = 2..CPUS;
pub const RECEIVERS: usize = 2;
pub const UITT_ENTRIES: u64 = RECEIVERS as u64 * VECTORS.len() as u64;
const VECTORS: [u8; 4] = [0, 5, 40, 63];
/// Handlers that may be nested.
const DEPTH: usize = 8;
/// More than any sequence needs to come to rest.
const PATIENCE: usize = 20_000;

/// How the kernel raises what was posted while a receiver was away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Raise {
    ByIpi,
    ByMsr,
}

/// One atomic step of the kernel.
#[derive(Clone, Copy, Debug)]
enum KernelStep {
    Suppress(usize),
    Save(usize),
    Idle,
    Restore(usize),
    DirectTo(usize),
    Allow(usize),
    Raise(usize, Raise),
    Leave(usize),
}

/// RIP, RFLAGS and RSP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Context {
    rip: u64,
    rflags: u64,
    rsp: u64,
}

impl Context {
    fn of(cpu: &Cpu) -> Self {
        Self {
            rip: cpu.rip,
            rflags: cpu.rflags,
            rsp: cpu.rsp,
        }
    }
}

pub struct Receiver {
    upid: u64,
    /// Where it runs, or is being switched in or out.
    cpu: Option<usize>,
    /// Its state is in the processor.
    is_loaded: bool,
    image: Option<Image>,
    context: Context,
    /// What each handler interrupted.
    interrupted: Vec<Context>,
    /// Vectors that were posted since requests were taken last, and that were taken and not delivered.
    pub posted: u64,
    pub owed: u64,
    pub posts: usize,
    pub deliveries: usize,
}

impl Receiver {
    pub fn saved_uirr(&self) -> u64 {
        self.image.map_or(0, |image| image.0[4])
    }
}

pub struct World {
    pub system: System<CPUS, Memory>,
    pub receivers: [Receiver; RECEIVERS],
    programs: [VecDeque<KernelStep>; CPUS],
}

fn processor(id: u32) -> Cpu {
    let mut cpu = Cpu::new(Options::SAPPHIRE_RAPIDS, Apic::new(ApicMode::X2Apic, id));
    cpu.rflags |= IF;
    cpu.cpl = 3;
    cpu.user.tt = UITT | 1;
    cpu.user.uitt_size = UITT_ENTRIES as u32 - 1;
    cpu
}

impl World {
    /// Returns the world with both receivers switched out.
    pub fn new() -> Self {
        let mut memory = memory();
        let upids = [UPID, UPID + 64];
        for (receiver, upid) in upids.into_iter().enumerate() {
            memory.poke(upid, SN);
            for (index, vector) in VECTORS.into_iter().enumerate() {
                let entry = receiver * VECTORS.len() + index;
                write_entry(&mut memory, entry as u64, entry_low(vector), upid);
            }
        }
        let cpus = [0, 1, 2, 3].map(processor);
        let mut world = Self {
            system: System::new(cpus, memory),
            receivers: [0, 1].map(|index| {
                let stack_top = STACK_PAGE + 0x1000 * (index as u64 + 1);
                Receiver {
                    upid: upids[index],
                    cpu: None,
                    is_loaded: false,
                    image: Some(Image([
                        HANDLER,
                        128,
                        1 << 63 | u64::from(UINV) << 32 | (UITT_ENTRIES - 1),
                        upids[index],
                        0,
                        UITT | 1,
                    ])),
                    context: Context {
                        rip: CODE,
                        rflags: RFLAGS_ONE | IF,
                        rsp: stack_top - 0x18,
                    },
                    interrupted: Vec::new(),
                    posted: 0,
                    owed: 0,
                    posts: 0,
                    deliveries: 0,
                }
            }),
            programs: Default::default(),
        };
        for cpu in HOSTS {
            world.system.cpus[cpu].cpl = 0;
            world.system.cpus[cpu].user = Default::default();
        }
        world
    }

    fn loaded_on(&self, cpu: usize) -> Option<usize> {
        let runs_here = |receiver: &Receiver| receiver.cpu == Some(cpu) && receiver.is_loaded;
        self.receivers.iter().position(runs_here)
    }

    /// Lets processor `cpu` do one thing: what comes first on its boundary, else the kernel's next step, else
    /// `instruction`.
    pub fn run(&mut self, cpu: usize, instruction: impl FnOnce(&mut Self, usize)) {
        let busy = self.system.is_processing(cpu)
            || self.system.cpus[cpu].boundary() != Boundary::Instruction;
        if busy {
            return self.step(cpu);
        }
        self.system.cpus[cpu].retire(4);
        match self.programs[cpu].pop_front() {
            Some(step) => self.kernel_step(cpu, step),
            None => instruction(self, cpu),
        }
    }

    fn step(&mut self, cpu: usize) {
        let before = self.system.cpus[cpu];
        let loaded = self.loaded_on(cpu);
        match self.system.step(cpu) {
            Event::Instruction => {}
            Event::Interrupt(vector) => {
                assert!(vector != UINV || loaded.is_none(), "notification missed");
                self.system.cpus[cpu].apic.end_of_interrupt();
            }
            Event::OutstandingCleared => {
                assert!(before.rflags & IF != 0 && before.apic.tpr >> 4 < UINV >> 4);
                assert!(loaded.is_some(), "a notification without receiver");
            }
            Event::RequestsTaken(requests) => {
                let receiver = &mut self.receivers[loaded.expect("it was loaded before")];
                assert_eq!(requests, receiver.posted);
                receiver.owed |= std::mem::take(&mut receiver.posted);
            }
            Event::Delivered(vector) => {
                let receiver = &mut self.receivers[loaded.expect("UIRR is a receiver's")];
                assert!(before.user.uif && before.cpl == 3 && before.cs_l);
                assert!(!before.mov_ss_blocking && !before.takes_interrupt());
                assert_eq!(receiver.owed >> vector, 1, "not the highest vector");
                receiver.owed &= !(1 << vector);
                receiver.deliveries += 1;
                receiver.interrupted.push(Context::of(&before));
            }
            Event::Fault(fault) => panic!("{fault:?}"),
        }
    }

    fn kernel_step(&mut self, cpu: usize, step: KernelStep) {
        let processor = &mut self.system.cpus[cpu];
        let memory = &mut self.system.memory;
        let id = cpu as u32;
        match step {
            KernelStep::Suppress(who) => suppress(memory, self.receivers[who].upid),
            KernelStep::Save(who) => {
                let receiver = &mut self.receivers[who];
                receiver.image = save(processor);
                receiver.is_loaded = false;
                receiver.cpu = None;
            }
            KernelStep::Idle => processor.rflags |= IF,
            KernelStep::Restore(who) => {
                let receiver = &mut self.receivers[who];
                restore(processor, receiver.image.take().as_ref());
                receiver.is_loaded = true;
            }
            KernelStep::DirectTo(who) => direct_to(memory, self.receivers[who].upid, id),
            KernelStep::Allow(who) => {
                let upid = self.receivers[who].upid;
                let control = load(memory, upid);
                store(memory, upid, control & !SN);
            }
            KernelStep::Raise(who, Raise::ByIpi) => {
                if let Some(ipi) = raise_by_ipi(memory, self.receivers[who].upid, id) {
                    self.system.send(ipi);
                }
            }
            KernelStep::Raise(who, Raise::ByMsr) => {
                let receiver = &mut self.receivers[who];
                raise_by_msr(processor, memory, receiver.upid);
                receiver.owed |= std::mem::take(&mut receiver.posted);
            }
            KernelStep::Leave(who) => {
                let context = self.receivers[who].context;
                (processor.rip, processor.rsp) = (context.rip, context.rsp);
                processor.rflags = context.rflags;
                processor.cpl = 3;
            }
        }
    }

    /// Executes SENDUIPI, and checks that it notifies exactly if it sets ON and nothing suppresses that.
    pub fn send(&mut self, cpu: usize, index: u64) {
        self.run(cpu, |world, cpu| {
            let who = index as usize / VECTORS.len();
            let vector = VECTORS[index as usize % VECTORS.len()];
            let enabled = world.system.cpus[cpu].user.tt & 1 != 0;
            if !enabled || !world.system.cpus[cpu].cs_l {
                let refused = world.system.senduipi(cpu, index);
                assert_eq!(refused, Err(uintr::model::Fault::UD));
                return;
            }
            let receiver = &mut world.receivers[who];
            let before = load(&world.system.memory, receiver.upid);
            receiver.posted |= 1 << vector;
            receiver.posts += 1;
            let sent = world.system.senduipi(cpu, index);
            let after = load(&world.system.memory, world.receivers[who].upid);
            let notifies = before & (ON | SN) == 0;
            assert_eq!(sent.map(|ipi| ipi.is_some()), Ok(notifies));
            assert_eq!(after, if notifies { before | ON } else { before });
        });
    }

    pub fn stui(&mut self, cpu: usize) {
        let Some(who) = self.loaded_on(cpu) else {
            return;
        };
        if self.receivers[who].interrupted.len() < DEPTH && self.system.cpus[cpu].cs_l {
            assert_eq!(self.system.cpus[cpu].stui(), Ok(()));
        }
    }

    pub fn clui(&mut self, cpu: usize) {
        if self.system.cpus[cpu].cs_l {
            assert_eq!(self.system.cpus[cpu].clui(), Ok(()));
        }
    }

    /// Ends the handler that runs, if one does: what it interrupted goes on as it was.
    pub fn uiret(&mut self, cpu: usize) {
        let Some(who) = self.loaded_on(cpu) else {
            return;
        };
        let processor = &mut self.system.cpus[cpu];
        if processor.cpl != 3 || !processor.cs_l {
            return;
        }
        let Some(interrupted) = self.receivers[who].interrupted.pop() else {
            return;
        };
        // UIRET does not load IF.
        let interrupted = Context {
            rflags: interrupted.rflags & !IF | processor.rflags & IF,
            ..interrupted
        };
        processor.rsp += 8;
        assert_eq!(processor.uiret(&self.system.memory), Ok(()));
        assert_eq!(Context::of(processor), interrupted);
        assert!(processor.user.uif);
    }

    pub fn set_if(&mut self, cpu: usize, on: bool) {
        let rflags = &mut self.system.cpus[cpu].rflags;
        *rflags = if on { *rflags | IF } else { *rflags & !IF };
    }

    pub fn set_64_bit(&mut self, cpu: usize, on: bool) {
        if self.system.cpus[cpu].cpl == 3 {
            self.system.cpus[cpu].cs_l = on;
        }
    }

    pub fn leave_kernel(&mut self, cpu: usize) {
        if self.loaded_on(cpu).is_some() {
            self.system.cpus[cpu].cpl = 3;
        }
    }

    pub fn switch_out(&mut self, cpu: usize) {
        let Some(who) = self.loaded_on(cpu) else {
            return;
        };
        let processor = &mut self.system.cpus[cpu];
        self.receivers[who].context = Context::of(processor);
        processor.cpl = 0;
        processor.cs_l = true;
        processor.rflags &= !IF;
        self.programs[cpu].extend([
            KernelStep::Suppress(who),
            KernelStep::Save(who),
            KernelStep::Idle,
        ]);
    }

    pub fn switch_in(&mut self, cpu: usize, who: usize, raise: Raise) {
        let is_free = self.receivers.iter().all(|other| other.cpu != Some(cpu));
        if !is_free || self.receivers[who].cpu.is_some() {
            return;
        }
        self.receivers[who].cpu = Some(cpu);
        self.system.cpus[cpu].rflags &= !IF;
        self.programs[cpu].extend([
            KernelStep::Restore(who),
            KernelStep::DirectTo(who),
            KernelStep::Raise(who, raise),
            KernelStep::Leave(who),
        ]);
    }

    /// The running receiver asks for silence.
    pub fn suppress(&mut self, cpu: usize) {
        if let Some(who) = self.loaded_on(cpu) {
            suppress(&mut self.system.memory, self.receivers[who].upid);
        }
    }

    /// The running receiver ends the silence: first it allows notifications, then it looks.
    pub fn allow(&mut self, cpu: usize) {
        if let Some(who) = self.loaded_on(cpu) {
            let raise = KernelStep::Raise(who, Raise::ByIpi);
            self.programs[cpu].extend([KernelStep::Allow(who), raise]);
        }
    }

    /// What holds after every step.
    ///
    /// PIR has exactly the vectors posted and not taken, UIRR those taken and not delivered. A receiver that is loaded
    /// and not suppressed has a notification coming as soon as PIR or ON is set, but between the two steps of
    /// processing, which see PIR. A processor without receiver has no requests.
    pub fn check(&self) {
        for receiver in &self.receivers {
            let uirr = match receiver.cpu {
                Some(cpu) if receiver.is_loaded => self.system.cpus[cpu].user.uirr,
                _ => receiver.saved_uirr(),
            };
            let control = load(&self.system.memory, receiver.upid);
            let pir = load(&self.system.memory, receiver.upid + 8);
            assert_eq!((pir, uirr), (receiver.posted, receiver.owed));
            let Some(cpu) = receiver.cpu else { continue };
            if !self.programs[cpu].is_empty() || control & SN != 0 {
                continue;
            }
            let coming = self.is_coming(cpu);
            assert!(control & ON == 0 || coming, "ON stands alone");
            let processing = self.system.is_processing(cpu);
            assert!(pir == 0 || coming || processing, "PIR stands alone");
        }
        for cpu in HOSTS {
            let user = &self.system.cpus[cpu].user;
            assert!(self.loaded_on(cpu).is_some() || user.uirr == 0);
        }
    }

    fn is_coming(&self, cpu: usize) -> bool {
        let processor = &self.system.cpus[cpu].apic;
        let comes_here =
            |ipi: &uintr::model::Ipi| ipi.vector == UINV && processor.is_named_by(ipi.destination);
        processor.irr.contains(UINV) || self.system.in_flight().iter().any(comes_here)
    }

    /// Lets the kernel finish what it does and everything arrive, with no instruction of a program in between.
    pub fn settle(&mut self) {
        while self.system.arrive(0) {}
        for cpu in HOSTS {
            for _ in 0..PATIENCE {
                let busy = self.system.is_processing(cpu)
                    || self.system.cpus[cpu].boundary() != Boundary::Instruction
                    || !self.programs[cpu].is_empty();
                if !busy {
                    break;
                }
                self.run(cpu, |_, _| {});
                while self.system.arrive(0) {}
            }
        }
        self.check();
    }

    /// Lets every receiver run with everything allowed until nothing happens any more: then nothing may be left.
    pub fn drain(&mut self) {
        self.settle();
        for who in 0..RECEIVERS {
            for cpu in HOSTS {
                self.switch_in(cpu, who, Raise::ByIpi);
            }
            self.settle();
        }
        for cpu in HOSTS {
            self.allow(cpu);
            self.settle();
            let processor = &mut self.system.cpus[cpu];
            processor.apic.tpr = 0;
            processor.rflags |= IF;
            (processor.cpl, processor.cs_l) = (3, true);
        }
        self.settle();
        for cpu in HOSTS {
            for _ in 0..PATIENCE {
                let who = self.loaded_on(cpu).expect("there are as many hosts");
                let receiver = &self.receivers[who];
                let (done, in_handler) = (receiver.owed == 0, !receiver.interrupted.is_empty());
                if done && !in_handler {
                    break;
                }
                // In a handler UIF is clear, and UIRET sets it.
                let next = if in_handler { Self::uiret } else { Self::stui };
                self.run(cpu, next);
                self.check();
            }
        }
        for receiver in &self.receivers {
            let control_word = load(&self.system.memory, receiver.upid);
            assert_eq!((receiver.posted, receiver.owed), (0, 0), "left behind");
            assert!(receiver.interrupted.is_empty());
            let cpu = receiver.cpu.expect("all run") as u32;
            assert_eq!(control_word, control(UINV, cpu));
        }
    }
}
