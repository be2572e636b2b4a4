// SPDX-License-Identifier: MIT OR Apache-2.0
//! The processor's side of the differential test (`uintr_conformance::differential`): does the steps and looks.

use core::sync::atomic::Ordering;

use ::uintr::CR4_UINTR;
use ::uintr::model::{Options as ModelOptions, RF};
use spin::Mutex;
use uintr_conformance::differential::{
    END, End, Event, FRAME_STRIDE, FRAMES, Level, MAX_OPERATIONS, Machine, Mismatch, Operation,
    Program, Rights, Session, Step, Subject, Table, UPIDS, Visible, XSAVE_STRIDE,
};
use uintr_conformance::{ApicMode, Counts, Emulator, Options, Text};

use crate::bench::Bench;
use crate::machine::event::{self, Kind};
use crate::machine::paging::{PRESENT, Page, USER, WRITABLE};
use crate::machine::run::{self, Code, Run};
use crate::machine::trap::{self, Trap};
use crate::machine::{BUDGET, apic, cpu, smp, uintr, xsave};

/// Steps of each seed, if the command line does not say how many.
const DEFAULT_STEPS: u64 = 4000;

/// The session that runs: two copies of the model with their memory, too large for the stack.
static SESSION: Mutex<Option<Session>> = Mutex::new(None);

/// Runs all seeds that the command line names.
pub fn run_all(bench: &Bench, options: &Options<'_>) {
    if !uintr::is_enumerated() {
        report!("error detail=\"the processor has no user interrupts\"");
        return;
    }
    let steps = options.steps.unwrap_or(DEFAULT_STEPS);
    for seed in options.seeds() {
        run_seed(bench, options, seed, steps);
    }
    report!("done {}", Counts::default());
}

fn run_seed(bench: &Bench, options: &Options<'_>, seed: u64, steps: u64) {
    let mut processor = Processor {
        bench,
        failed: None,
    };
    processor.reset();
    let machine = machine(bench);
    let mut session = SESSION.lock();
    let session = session.insert(Session::new(
        seed,
        machine,
        options.emulator == Emulator::Bochs,
    ));
    for _ in 0..steps {
        session.step(&mut processor, &mut |mismatch| show(seed, mismatch));
        if let Some(text) = processor.failed.take() {
            let step = session.totals().steps;
            report!("error detail=\"seed {seed} after step {step}: {text}\"");
            return;
        }
    }
    let totals = session.totals();
    report!(
        "differential seed={seed} steps={} compared={} delivered={} faults={} mismatches={}",
        totals.steps,
        totals.compared,
        totals.delivered,
        totals.faults,
        totals.mismatches
    );
}

fn show(seed: u64, mismatch: &Mismatch<'_>) {
    let difference = mismatch.difference;
    let mut deviation = Text::default();
    if let Some(id) = mismatch.deviation {
        deviation.push(format_args!(" deviation={id}"));
    }
    report!(
        "mismatch seed={seed} step={} op={} field={}[{}] machine={:#x} model={:#x}{deviation}",
        mismatch.number,
        mismatch.step,
        difference.field,
        difference.number,
        difference.machine,
        difference.model
    );
}

fn machine(bench: &Bench) -> Machine {
    let code = Code::default();
    let kernel = Run::new(run::Level::Kernel, &code).0;
    let user = Run::new(run::Level::User, &code).0;
    Machine {
        code: user.rip,
        uitt: Page::UITT.linear(),
        upids: Page::UPIDS.linear(),
        spare: Page::SPARE.linear(),
        xsave: Page::XSAVE.linear(),
        stack_end: user.rsp,
        kernel_rsp: kernel.rsp,
        kernel_rflags: kernel.rflags,
        handler: event::handler_address(),
        apic_id: smp::apic_id(0),
        x2apic: bench.mode == ApicMode::X2apic,
        icr: apic::command(),
        options: ModelOptions {
            linear_address_bits: cpu::cpuid(0x8000_0008, 0).eax >> 8 & 0xff,
            flexible_uiret: cpu::cpuid(7, 1).edx & 1 << 17 != 0,
            ..ModelOptions::SAPPHIRE_RAPIDS
        },
    }
}

/// The first CPU.
struct Processor<'a> {
    bench: &'a Bench,
    /// Why the machine cannot go on.
    failed: Option<Text>,
}

impl Subject for Processor<'_> {
    fn apply(&mut self, step: &Step, program: Option<&Program>) -> Visible {
        let mut visible = Visible::default();
        match *step {
            Step::Reset => self.reset(),
            Step::SetEntry(index, low, high) => uintr::set_uitt(index, low, high),
            Step::SetUpid(number, control, pir) => {
                let upid = uintr::RawUpid::new(number);
                upid.control().store(control, Ordering::SeqCst);
                upid.pir().store(pir, Ordering::SeqCst);
            }
            Step::SetRights(table, rights) => set_rights(table, rights),
            Step::SetEnabled(enabled) => cpu::set_cr4(CR4_UINTR, enabled),
            Step::SetTaskPriority(priority) => apic::set_task_priority(priority),
            // The level means nothing for a fixed interrupt, and a hypervisor may send it without.
            Step::SendSelf(vector) => apic::send(apic::id(), vector.into()),
            Step::Run(level, ref operations) => {
                let program = program.expect("a run has code");
                run_code(level, operations, program, &mut visible);
            }
        }
        show_state(&mut visible);
        visible
    }
}

impl Processor<'_> {
    fn reset(&mut self) {
        if let Err(failure) = self.bench.reset() {
            self.failed = Some(failure.0);
        }
    }
}

fn set_rights(table: Table, rights: Rights) {
    let (page, user) = match table {
        Table::Uitt => (Page::UITT, 0),
        Table::Upids => (Page::UPIDS, 0),
        Table::Spare => (Page::SPARE, USER),
    };
    page.map(match rights {
        Rights::None => 0,
        Rights::Read => PRESENT | user,
        Rights::Write => PRESENT | WRITABLE | user,
    });
}

fn run_code(level: Level, operations: &[Operation], program: &Program, visible: &mut Visible) {
    prepare(operations, program);
    event::clear();
    let privilege = if level.is_user {
        run::Level::User
    } else {
        run::Level::Kernel
    };
    let run = Run::new(privilege, &Code::new(&program.bytes));
    let run = if level.interrupts {
        run.with_flags(cpu::RFLAGS_IF)
    } else {
        run.without_flags(cpu::RFLAGS_IF)
    };
    apic::set_deadline(cpu::tsc() + BUDGET);
    let trap = run.go();
    apic::set_deadline(0);
    visible.end = end(&trap, program);
    // An interrupt that the task priority masks at the last moment may leave a spurious one: the manual allows it.
    let spurious = u64::from(trap::SPURIOUS);
    for seen in event::all().filter(|seen| seen.vector != spurious || seen.kind != Kind::Interrupt)
    {
        visible.push(Event {
            is_user: seen.kind == Kind::UserInterrupt,
            vector: seen.vector,
            rip: program.normalized(seen.rip),
            rflags: seen.rflags,
            rsp: seen.rsp,
            handler_rsp: seen.handler_rsp,
            uif: seen.uif,
        });
    }
    let saved = area(MAX_OPERATIONS);
    visible.is_saved = saved[xsave::XSTATE_BV].load(Ordering::SeqCst) & xsave::COMPONENT != 0;
    for (value, word) in visible.image.iter_mut().zip(&saved[xsave::FIRST_WORD..]) {
        *value = word.load(Ordering::SeqCst);
    }
}

/// Writes what the operations find in memory.
fn prepare(operations: &[Operation], program: &Program) {
    Page::XSAVE.clear();
    for (position, operation) in operations.iter().enumerate() {
        if let Some(frame) = program.frame(position, operation) {
            let first = (FRAMES + position as u64 * FRAME_STRIDE) as usize / size_of::<u64>();
            for (word, value) in Page::SPARE.words()[first..].iter().zip(frame) {
                word.store(value, Ordering::SeqCst);
            }
        }
        let image = match operation {
            Operation::Xrstors(image) => Some(image),
            Operation::Initialize => None,
            _ => continue,
        };
        let area = area(position);
        area[xsave::XCOMP_BV].store(xsave::COMPACTED | xsave::COMPONENT, Ordering::SeqCst);
        if let Some(image) = image {
            area[xsave::XSTATE_BV].store(xsave::COMPONENT, Ordering::SeqCst);
            for (word, &value) in area[xsave::FIRST_WORD..].iter().zip(image) {
                word.store(value, Ordering::SeqCst);
            }
        }
    }
}

/// Returns the XSAVE area for the operation at `position`; that behind the last one is for XSAVES.
fn area(position: usize) -> &'static [core::sync::atomic::AtomicU64] {
    &Page::XSAVE.words()[position * XSAVE_STRIDE as usize / size_of::<u64>()..]
}

fn end(trap: &Trap, program: &Program) -> End {
    let is_page_fault = trap.vector() == trap::PAGE_FAULT;
    let frame = &trap.frame;
    End {
        vector: if trap.is_end() { END } else { trap.vector() },
        error_code: frame.error_code as u32,
        cr2: if is_page_fault { trap.cr2 } else { 0 },
        rip: program.normalized(frame.rip),
        rflags: frame.rflags & !RF,
        rsp: frame.rsp,
    }
}

fn show_state(visible: &mut Visible) {
    for (value, number) in visible.msrs.iter_mut().zip(uintr::MSRS) {
        *value = uintr::read_msr(number);
    }
    // TESTUI needs CR4.UINTR; at CPL 0 setting it for a moment delivers nothing.
    let is_enabled = cpu::cr4() & CR4_UINTR != 0;
    cpu::set_cr4(CR4_UINTR, true);
    visible.uif = uintr::uif();
    cpu::set_cr4(CR4_UINTR, is_enabled);
    let words = Page::UPIDS.words();
    for (slot, words) in visible.upids.iter_mut().zip(words.chunks(words.len() / 64)) {
        for (value, word) in slot.iter_mut().zip(words) {
            *value = word.load(Ordering::SeqCst);
        }
    }
    visible.irr = apic::requested();
    visible.isr = apic::in_service();
    visible.tpr = apic::task_priority();
    visible.icr = apic::command();
    visible.errors = apic::take_errors();
}

const _: () = assert!(UPIDS <= 64);
