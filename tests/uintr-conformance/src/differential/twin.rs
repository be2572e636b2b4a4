// SPDX-License-Identifier: MIT OR Apache-2.0
//! The model as the machine's twin: does the same steps.

use uintr::model::{
    Apic, ApicMode, Cpu, Direction, Event as ModelEvent, Fault, IF, Image, Memory, Options,
    PAGE_LEN_BYTES, Page, PageFault, Pages, Privilege, RF, RFLAGS_ONE, System,
};
use uintr::msr;

use super::program::{Program, XSAVE_STRIDE};
use super::quirks::{Quirk, Quirks};
use super::step::{Level, Operation, Rights, Step, Table, UPIDS};
use super::visible::{END, End, Event, SLOT_WORDS, Visible};

/// MSRs in the order of [`Visible::msrs`].
pub const MSRS: [u32; 6] = [
    msr::IA32_UINTR_RR,
    msr::IA32_UINTR_HANDLER,
    msr::IA32_UINTR_STACKADJUST,
    msr::IA32_UINTR_MISC,
    msr::IA32_UINTR_PD,
    msr::IA32_UINTR_TT,
];

/// Bytes between two descriptors.
pub const UPID_STRIDE: u64 = 64;

/// The machine's addresses, and its processor.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// Page of the code.
    pub code: u64,
    /// Page of the target table.
    pub uitt: u64,
    /// Page of the descriptors.
    pub upids: u64,
    /// Page of frames and a second stack, for user mode.
    pub spare: u64,
    /// Page of the XSAVE areas.
    pub xsave: u64,
    /// Address behind the two pages of the user stack.
    pub stack_end: u64,
    /// Stack pointer of code at CPL 0.
    pub kernel_rsp: u64,
    /// RFLAGS of code at CPL 0, without IF.
    pub kernel_rflags: u64,
    /// The handler that keeps user interrupts.
    pub handler: u64,
    /// APIC ID.
    pub apic_id: u32,
    /// Mode of the APIC.
    pub x2apic: bool,
    /// Interrupt command register at the beginning.
    pub icr: u64,
    /// What the processor is.
    pub options: Options,
}

/// Position of the frames in the spare page.
pub const FRAMES: u64 = 0x100;

impl Machine {
    /// Returns where a run finds its frames and areas.
    pub fn areas(&self) -> super::program::Areas {
        super::program::Areas {
            frames: self.spare + FRAMES,
            restored: self.xsave,
            saved: self.xsave + super::step::MAX_OPERATIONS as u64 * XSAVE_STRIDE,
        }
    }
}

/// The model's memory, with the one deviation that concerns it.
#[derive(Clone, Debug)]
struct TwinMemory {
    pages: Pages<5>,
    reads_first: bool,
}

impl Memory for TwinMemory {
    fn read(
        &self,
        address: u64,
        direction: Direction,
        privilege: Privilege,
    ) -> Result<u64, PageFault> {
        let direction = if self.reads_first {
            Direction::Read
        } else {
            direction
        };
        self.pages.read(address, direction, privilege)
    }

    fn write(&mut self, address: u64, value: u64, privilege: Privilege) -> Result<(), PageFault> {
        self.pages.write(address, value, privilege)
    }
}

/// The twin.
#[derive(Clone, Debug)]
pub struct Twin {
    machine: Machine,
    system: System<1, TwinMemory>,
    quirks: Quirks,
    /// A notification was processed and no other event has come since.
    ext: bool,
    /// The image that XRSTORS of this step refused, with UINV clear.
    refused: Option<[u64; 6]>,
}

impl Twin {
    /// Returns the twin of a machine that was just reset.
    pub fn new(machine: Machine) -> Self {
        let pages = Pages {
            pages: [
                Page::new(machine.uitt, false),
                Page::new(machine.upids, false),
                Page::new(machine.spare, true),
                Page::new(machine.stack_end - 2 * PAGE_LEN_BYTES, true),
                Page::new(machine.stack_end - PAGE_LEN_BYTES, true),
            ],
            smap: false,
        };
        let mode = if machine.x2apic {
            ApicMode::X2Apic
        } else {
            ApicMode::XApic
        };
        let mut cpu = Cpu::new(machine.options, Apic::new(mode, machine.apic_id));
        cpu.apic.icr = machine.icr;
        Self {
            machine,
            system: System::new(
                [cpu],
                TwinMemory {
                    pages,
                    reads_first: false,
                },
            ),
            quirks: Quirks::NONE,
            ext: false,
            refused: None,
        }
    }

    /// Returns the machine whose twin it is.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Returns the processor.
    pub fn cpu(&self) -> &Cpu {
        &self.system.cpus[0]
    }

    fn cpu_mut(&mut self) -> &mut Cpu {
        &mut self.system.cpus[0]
    }

    /// Says what the interrupt command register holds, which no reset changes.
    pub fn keep_command(&mut self, icr: u64) {
        self.cpu_mut().apic.icr = icr;
    }

    /// Does a step with these deviations; `program` is its code, if it has any.
    pub fn apply(&mut self, step: &Step, program: Option<&Program>, quirks: Quirks) -> Visible {
        self.quirks = quirks;
        self.system.memory.reads_first = quirks.has(Quirk::UpidReadFirst);
        self.refused = None;
        let mut visible = Visible::default();
        match *step {
            Step::Reset => {
                let icr = self.cpu().apic.icr;
                *self = Self::new(Machine {
                    icr,
                    ..self.machine
                });
            }
            Step::SetEntry(index, low, high) => {
                let entry = self.machine.uitt + 16 * index as u64;
                self.poke(entry, &[low, high]);
            }
            Step::SetUpid(number, control, pir) => {
                let upid = self.machine.upids + UPID_STRIDE * number as u64;
                self.poke(upid, &[control, pir]);
            }
            Step::SetRights(table, rights) => self.set_rights(table, rights),
            Step::SetEnabled(enabled) => self.cpu_mut().set_cr4_uintr(enabled),
            Step::SetTaskPriority(priority) => self.cpu_mut().apic.tpr = priority,
            Step::SendSelf(vector) => self.send_self(vector),
            Step::Run(level, ref operations) => {
                let program = program.expect("a run has code");
                visible.end = self.run(level, operations, program, &mut visible);
            }
        }
        self.show(&mut visible);
        visible
    }

    /// Does a step as [`Self::apply`] does, and follows the machine where the manual leaves it a choice: XRSTORS that
    /// faults may have loaded any field but UINV. (SDM 1, "UINTR State")
    pub fn follow(
        &mut self,
        step: &Step,
        program: Option<&Program>,
        quirks: Quirks,
        machine: &Visible,
    ) -> Visible {
        let mut visible = self.apply(step, program, quirks);
        let Some([handler, stack_adjust, misc, pd, rr, tt]) = self.refused else {
            return visible;
        };
        let size = misc & 0xffff_ffff;
        let fields = [rr, handler, stack_adjust, size, pd, tt];
        for (index, (msr, field)) in MSRS.into_iter().zip(fields).enumerate() {
            let is_loaded = machine.msrs[index] == field;
            if is_loaded && self.cpu_mut().wrmsr(msr, field).is_ok() {
                visible.msrs[index] = field;
            }
        }
        if machine.uif == (misc >> 63 != 0) {
            self.cpu_mut().user.uif = machine.uif;
            visible.uif = machine.uif;
        }
        visible
    }

    fn poke(&mut self, address: u64, words: &[u64]) {
        for (offset, &word) in (0..).step_by(8).zip(words) {
            self.system.memory.pages.poke(address + offset, word);
        }
    }

    fn set_rights(&mut self, table: Table, rights: Rights) {
        let address = match table {
            Table::Uitt => self.machine.uitt,
            Table::Upids => self.machine.upids,
            Table::Spare => self.machine.spare,
        };
        if let Some(page) = self.system.memory.pages.page_mut(address) {
            page.present = rights != Rights::None;
            page.writable = rights == Rights::Write;
        }
    }

    /// Sends a fixed interrupt by the ICR.
    fn send_self(&mut self, vector: u8) {
        let apic = &mut self.cpu_mut().apic;
        let id_shift = if apic.mode == ApicMode::X2Apic {
            32
        } else {
            56
        };
        apic.icr = u64::from(apic.id) << id_shift | u64::from(vector);
        apic.accept(vector);
    }

    fn run(
        &mut self,
        level: Level,
        operations: &[Operation],
        program: &Program,
        visible: &mut Visible,
    ) -> End {
        for (position, operation) in operations.iter().enumerate() {
            if let Some(frame) = program.frame(position, operation) {
                let own = self.machine.areas().frames;
                let stride = super::program::FRAME_STRIDE;
                self.poke(own + position as u64 * stride, &frame);
            }
        }
        self.enter(level, program);
        let result = self.execute(operations, program, visible);
        let cpu = self.cpu();
        let mut end = End {
            vector: END,
            rip: program.end(),
            rflags: cpu.rflags & !RF,
            rsp: cpu.rsp,
            ..End::default()
        };
        if let Err(fault) = result {
            end.rip = program.normalized(cpu.rip);
            end.vector = fault.vector;
            end.cr2 = fault.cr2.unwrap_or(0);
            end.error_code = fault.error_code.unwrap_or(0);
            let selector_code = fault.error_code.is_some() && fault.cr2.is_none();
            if self.quirks.has(Quirk::ExtAfterNotification) && self.ext && selector_code {
                end.error_code |= uintr::model::EXT;
            }
        }
        // The trap leads to CPL 0 with interrupts disabled.
        let cpu = self.cpu_mut();
        cpu.cpl = 0;
        cpu.rflags = RFLAGS_ONE;
        end
    }

    fn enter(&mut self, level: Level, program: &Program) {
        let machine = self.machine;
        self.ext = false;
        let cpu = self.cpu_mut();
        cpu.rip = program.start;
        cpu.rflags = RFLAGS_ONE;
        if level.is_user {
            (cpu.cpl, cpu.rsp) = (3, machine.stack_end);
        } else {
            (cpu.cpl, cpu.rsp) = (0, machine.kernel_rsp);
            cpu.rflags |= machine.kernel_rflags;
        }
        if level.interrupts {
            cpu.rflags |= IF;
        }
    }

    fn execute(
        &mut self,
        operations: &[Operation],
        program: &Program,
        visible: &mut Visible,
    ) -> Result<(), Fault> {
        self.settle(program, visible)?;
        for (position, operation) in operations.iter().enumerate() {
            let place = program.places[position];
            self.cpu_mut().rip = place.address;
            self.operate(position, operation, program, visible)?;
            self.cpu_mut().rip = place.next;
            self.settle(program, visible)?;
        }
        Ok(())
    }

    fn operate(
        &mut self,
        position: usize,
        operation: &Operation,
        program: &Program,
        visible: &mut Visible,
    ) -> Result<(), Fault> {
        /// STUI's length in bytes.
        const STUI_LEN: u64 = 4;
        match *operation {
            Operation::Wait => Ok(()),
            Operation::Senduipi(index) => self.senduipi(index),
            Operation::Stui => self.cpu_mut().stui(),
            Operation::Clui => self.cpu_mut().clui(),
            Operation::StuiClui => {
                self.cpu_mut().stui()?;
                self.cpu_mut().rip += STUI_LEN;
                self.settle(program, visible)?;
                self.cpu_mut().clui()
            }
            Operation::Testui => self.cpu_mut().testui(),
            Operation::Uiret(frame) => {
                let own = self.machine.areas().frames;
                let own = own + position as u64 * super::program::FRAME_STRIDE;
                self.cpu_mut().rsp = frame.address.unwrap_or(own);
                self.uiret()
            }
            Operation::Rdmsr(msr) => self.cpu().rdmsr(msr).map(drop),
            Operation::Wrmsr(msr, value) => self.cpu_mut().wrmsr(msr, value),
            Operation::Xsaves => {
                let saved = self.cpu_mut().xsaves()?;
                visible.is_saved = saved.is_some();
                if let Some(Image(fields)) = saved {
                    visible.image = fields;
                }
                Ok(())
            }
            Operation::Xrstors(fields) => {
                let result = self.cpu_mut().xrstors(Some(&Image(fields)));
                let user = &self.cpu().user;
                if result.is_err() && self.cpu().cpl == 0 && user.uinv == 0 {
                    self.refused = Some(fields);
                }
                result
            }
            Operation::Initialize => self.cpu_mut().xrstors(None),
        }
    }

    fn uiret(&mut self) -> Result<(), Fault> {
        self.system.cpus[0].uiret(&self.system.memory)
    }

    fn senduipi(&mut self, index: u64) -> Result<(), Fault> {
        const SEND_ACCEPT_ERROR: u32 = 1 << 2;
        const RECEIVE_ILLEGAL_VECTOR: u32 = 1 << 6;
        let errors = self.cpu().apic.errors;
        let ipi = self.system.senduipi(0, index)?;
        self.system.arrive(0);
        let quirks = self.quirks;
        let apic = &mut self.cpu_mut().apic;
        if apic.errors != errors && quirks.has(Quirk::IllegalVectorReceived) {
            apic.errors = errors | RECEIVE_ILLEGAL_VECTOR;
        }
        let is_lost = ipi.is_some_and(|ipi| !apic.is_named_by(ipi.destination));
        if is_lost && quirks.has(Quirk::SendNotAccepted) {
            apic.errors |= SEND_ACCEPT_ERROR;
        }
        Ok(())
    }

    /// Lets everything happen that comes before the next instruction.
    fn settle(&mut self, program: &Program, visible: &mut Visible) -> Result<(), Fault> {
        loop {
            let before = *self.cpu();
            let mut event = Event {
                rip: program.normalized(before.rip),
                rflags: before.rflags,
                rsp: before.rsp,
                ..Event::default()
            };
            match self.system.step(0) {
                ModelEvent::Instruction => return Ok(()),
                ModelEvent::OutstandingCleared | ModelEvent::RequestsTaken(_) => self.ext = true,
                ModelEvent::Fault(fault) => return Err(fault),
                ModelEvent::Interrupt(vector) => {
                    self.ext = false;
                    self.cpu_mut().apic.end_of_interrupt();
                    event.vector = vector.into();
                    visible.push(event);
                }
                ModelEvent::Delivered(vector) => {
                    event.is_user = true;
                    event.vector = vector.into();
                    event.handler_rsp = self.cpu().rsp;
                    event.uif = self.cpu().user.uif;
                    visible.push(event);
                    self.end_handler(program, visible)?;
                }
            }
        }
    }

    /// Does what the handler does that is of interest: it discards the vector and returns.
    fn end_handler(&mut self, program: &Program, visible: &mut Visible) -> Result<(), Fault> {
        // UIF is clear: what can happen in the handler are interrupts.
        self.settle(program, visible)?;
        self.cpu_mut().rsp += 8;
        self.uiret()
    }

    fn show(&mut self, visible: &mut Visible) {
        let machine = self.machine;
        for (value, msr) in visible.msrs.iter_mut().zip(MSRS) {
            *value = self.cpu().rdmsr(msr).unwrap_or(0);
        }
        let pages = &self.system.memory.pages;
        for (upid, words) in visible.upids.iter_mut().enumerate() {
            for (word, value) in words.iter_mut().enumerate() {
                let address = machine.upids + UPID_STRIDE * upid as u64 + 8 * word as u64;
                *value = pages.peek(address).unwrap_or(0);
            }
        }
        let cpu = self.cpu_mut();
        visible.uif = cpu.user.uif;
        visible.irr = cpu.apic.irr.words();
        visible.isr = cpu.apic.isr.words();
        visible.tpr = cpu.apic.tpr;
        visible.icr = cpu.apic.icr;
        visible.errors = core::mem::take(&mut cpu.apic.errors);
    }
}

const _: () = assert!(UPIDS as u64 * UPID_STRIDE <= PAGE_LEN_BYTES);
const _: () = assert!(SLOT_WORDS as u64 * 8 == UPID_STRIDE);
