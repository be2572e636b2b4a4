// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the cases work with.

use uintr_conformance::{ApicMode, Text};

use crate::case::Failure;
use crate::machine::paging::Page;
use crate::machine::place::Place;
use crate::machine::run::{self, Code, Level, Run};
use crate::machine::smp::{self, Work};
use crate::machine::trap::{self, Trap};
use crate::machine::uintr::{NOTIFICATION, RawUpid, USER_VECTOR};
use crate::machine::{BUDGET, apic, cpu, event, uintr, xsave};

/// CR4 bits that cases set and that are clear by default: SMAP, CET.
const CR4_CHANGED: u64 = 1 << 21 | 1 << 23;
/// Ticks for which HLT must last.
const HALT_TICKS: u64 = 200_000;
/// Times of PAUSE in which a notification certainly arrives.
pub const ARRIVAL: u32 = 2000;

/// The machine as the cases see it. The calling CPU is number 0; the others wait for work, interrupts disabled.
#[derive(Clone, Copy, Debug)]
pub struct Bench {
    /// Where the image runs.
    pub place: Place,
    /// Mode of the local APICs.
    pub mode: ApicMode,
    /// Whether UIRET takes UIF from the frame.
    pub is_uiret_flexible: bool,
}

impl Bench {
    /// Takes the machine that `machine::start` has set up.
    pub fn new(place: Place, mode: ApicMode) -> Self {
        const CPUID_7_1_EDX_UIRET_UIF: u32 = 1 << 17;
        Self {
            place,
            mode,
            is_uiret_flexible: cpu::cpuid(7, 1).edx & CPUID_7_1_EDX_UIRET_UIF != 0,
        }
    }

    /// Puts everything into the state in which each case begins: no user-interrupt state, CR4.UINTR set where there are
    /// user interrupts, nothing pending, the window mapped as by default, all its pages but code and stacks 0, no events.
    pub fn reset(&self) -> Result<(), Failure> {
        for page in [Page::UITT, Page::UPIDS, Page::XSAVE] {
            page.clear();
        }
        for number in 0..4 {
            Page::SPARE.next(number).clear();
        }
        Page::map_all();
        for index in (0..smp::count()).rev() {
            self.on(index, reset_cpu, 0)?;
        }
        event::clear();
        Ok(())
    }

    /// Lets the CPU `index` call a function and returns the result.
    pub fn on(&self, index: usize, work: Work, argument: u64) -> Result<u64, Failure> {
        smp::call(index, work, argument).map_err(|failed| Failure(failed.text(index)))
    }

    /// Makes the default state of the cases: entry 0 of CPU 0's target table leads to user vector [`USER_VECTOR`] of
    /// descriptor 0, of which the CPU `receiver` is told by [`NOTIFICATION`]. Returns the descriptor.
    pub fn set_up(&self, receiver: usize) -> Result<RawUpid, Failure> {
        let upid = RawUpid::new(0);
        upid.set(NOTIFICATION, smp::apic_id(receiver));
        uintr::set_target(0, upid, USER_VECTOR);
        uintr::become_sender();
        self.on(receiver, become_receiver, 0)?;
        Ok(upid)
    }

    /// Runs code at CPL 3 of this CPU, interrupts enabled.
    pub fn user(&self, code: &Code) -> Trap {
        run::code(Level::User, code)
    }

    /// Executes HLT at CPL 0 of this CPU with interrupts enabled, and tells whether it stays halted for a while. The timer
    /// ends it.
    pub fn stays_halted(&self) -> Result<bool, Failure> {
        apic::set_deadline(cpu::tsc() + HALT_TICKS);
        let trap = Run::new(Level::Kernel, &Code::new(&[0xf4]))
            .with_flags(cpu::RFLAGS_IF)
            .go();
        apic::set_deadline(cpu::tsc() + 4 * BUDGET);
        match trap.vector() {
            trap::WATCHDOG => Ok(true),
            trap::END => Ok(false),
            _ => Err(trap.into()),
        }
    }

    /// Executes SENDUIPI RAX at CPL 3 of this CPU.
    pub fn send(&self, index: u64) -> Trap {
        self.user(
            &Code::default()
                .then_load_rax(index)
                .then(&uintr::opcode::SENDUIPI),
        )
    }

    /// Executes SENDUIPI for `index` and expects that it raises nothing.
    pub fn send_well(&self, index: u64) -> Result<(), Failure> {
        let trap = self.send(index);
        ensure!(
            trap.is_end(),
            "SENDUIPI {index:#x}: expected no fault, saw {trap}"
        );
        Ok(())
    }

    /// Waits until the CPU `index` has an interrupt `vector` requested; returns whether that came.
    pub fn is_requested(&self, index: usize, vector: u8) -> Result<bool, Failure> {
        let start = cpu::tsc();
        while cpu::tsc() - start < BUDGET / 100 {
            if self.on(index, requested, u64::from(vector))? != 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes all interrupts that the CPU `index` has pending, by its IDT or as notifications.
    pub fn take_interrupts(&self, index: usize) -> Result<(), Failure> {
        self.on(index, take_interrupts, 0).map(drop)
    }

    /// Expects the exception `vector` with this error code; `what` says of what.
    pub fn expect(
        &self,
        what: &str,
        seen: &Trap,
        vector: u8,
        error_code: u64,
    ) -> Result<(), Failure> {
        if seen.is(vector, error_code) {
            return Ok(());
        }
        Err(Failure(Text::new(format_args!(
            "{what}: expected trap {vector} with error code {error_code:#x}, saw {seen}"
        ))))
    }
}

fn reset_cpu(_: u64) -> u64 {
    cpu::set_cr4(CR4_CHANGED, false);
    cpu::set_write_protect(true);
    for page in 0..Page::COUNT {
        Page::UITT.next(page).flush();
    }
    apic::set_deadline(0);
    apic::set_task_priority(0);
    if uintr::is_enumerated() {
        uintr::clear();
        xsave::enable();
    }
    while apic::is_any_requested() {
        cpu::take_interrupts();
    }
    apic::end_all_interrupts();
    if uintr::is_enumerated() {
        // What a late notification has brought.
        uintr::clear();
    }
    apic::take_errors();
    0
}

fn become_receiver(_: u64) -> u64 {
    uintr::become_receiver(RawUpid::new(0));
    0
}

fn requested(vector: u64) -> u64 {
    u64::from(apic::is_requested(vector as u8))
}

fn take_interrupts(_: u64) -> u64 {
    cpu::take_interrupts();
    0
}
