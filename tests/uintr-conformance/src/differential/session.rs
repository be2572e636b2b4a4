// SPDX-License-Identifier: MIT OR Apache-2.0
//! One seed: steps are made, done by both, and compared.

use super::generate::Generator;
use super::program::Program;
use super::quirks::{Quirk, Quirks};
use super::step::Step;
use super::twin::{Machine, Twin};
use super::visible::{Difference, END, Visible};

/// What is compared with the model: a processor.
pub trait Subject {
    /// Does a step; `program` is its code, if it has any. Returns what can be seen afterwards.
    fn apply(&mut self, step: &Step, program: Option<&Program>) -> Visible;
}

/// A comparison that failed.
#[derive(Clone, Copy, Debug)]
pub struct Mismatch<'a> {
    /// Number of the step, from 0.
    pub number: u64,
    /// The step.
    pub step: &'a Step,
    /// What differs.
    pub difference: Difference,
    /// Id of the deviation that explains it.
    pub deviation: Option<&'static str>,
}

/// Figures of a seed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Steps done.
    pub steps: u64,
    /// Values compared.
    pub compared: u64,
    /// User interrupts that the machine delivered.
    pub delivered: u64,
    /// Exceptions that the machine raised.
    pub faults: u64,
    /// Comparisons that failed.
    pub mismatches: u64,
}

/// One seed on a machine.
pub struct Session {
    generator: Generator,
    twin: Twin,
    /// The twin before the step: it follows when the step is understood. Copies of its memory are rare so.
    before: Twin,
    /// Whether the deviations of the emulator may explain a mismatch.
    knows_deviations: bool,
    totals: Totals,
}

impl Session {
    /// Returns the session of a seed. The first step resets machine and model.
    pub fn new(seed: u64, machine: Machine, knows_deviations: bool) -> Self {
        let twin = Twin::new(machine);
        Self {
            generator: Generator::new(seed),
            before: twin.clone(),
            twin,
            knows_deviations,
            totals: Totals::default(),
        }
    }

    /// Returns the figures so far.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Makes the next step, does it, compares, and tells of each difference.
    ///
    /// A difference is explained if the model with some of the known deviations of Bochs does all that the machine did.
    /// The model goes on with that; after a difference without explanation both begin anew.
    pub fn step(&mut self, subject: &mut impl Subject, report: &mut dyn FnMut(&Mismatch<'_>)) {
        let step = self.generator.next(self.twin.machine(), self.twin.cpu());
        let program = self.assemble(&step);
        let machine = subject.apply(&step, program.as_ref());
        let model = self
            .twin
            .follow(&step, program.as_ref(), Quirks::NONE, &machine);
        self.count(&machine);
        let mut compared = 0;
        machine.compare(&model, &mut |_| compared += 1);
        self.totals.compared += compared;
        let quirks = if machine == model {
            Quirks::NONE
        } else {
            self.explain(&step, program.as_ref(), &machine, &model, report)
        };
        self.before
            .follow(&step, program.as_ref(), quirks, &machine);
        self.totals.steps += 1;
    }

    fn assemble(&self, step: &Step) -> Option<Program> {
        let Step::Run(_, operations) = step else {
            return None;
        };
        let machine = self.twin.machine();
        Some(Program::new(machine.code, operations, &machine.areas()))
    }

    fn count(&mut self, machine: &Visible) {
        let delivered = machine.events.iter().filter(|event| event.is_user);
        self.totals.delivered += delivered.count() as u64;
        let is_fault = machine.end.vector != END && machine.end.vector != 0;
        self.totals.faults += u64::from(is_fault);
    }

    /// Tells of the differences; returns the deviations with which the twin has done the step now.
    fn explain(
        &mut self,
        step: &Step,
        program: Option<&Program>,
        machine: &Visible,
        model: &Visible,
        report: &mut dyn FnMut(&Mismatch<'_>),
    ) -> Quirks {
        let quirks = self.explanation(step, program, machine);
        let number = self.totals.steps;
        let mut mismatches = 0;
        machine.compare(model, &mut |difference| {
            if difference.machine == difference.model {
                return;
            }
            mismatches += 1;
            report(&Mismatch {
                number,
                step,
                difference,
                deviation: quirks.and_then(Quirks::first).map(Quirk::id),
            });
        });
        self.totals.mismatches += mismatches;
        if quirks.is_none() {
            self.generator.begin_anew();
            for twin in [&mut self.twin, &mut self.before] {
                twin.keep_command(machine.icr);
            }
        }
        quirks.unwrap_or_default()
    }

    /// Looks for the fewest deviations with which the model does all that the machine did, and leaves the twin in that
    /// state.
    fn explanation(
        &mut self,
        step: &Step,
        program: Option<&Program>,
        machine: &Visible,
    ) -> Option<Quirks> {
        if !self.knows_deviations {
            return None;
        }
        for count in 1..=Quirk::ALL.len() as u32 {
            for quirks in Quirks::combinations().filter(|quirks| quirks.count() == count) {
                self.twin.clone_from(&self.before);
                if self.twin.follow(step, program, quirks, machine) == *machine {
                    return Some(quirks);
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::collections::BTreeSet;
    use std::string::{String, ToString};
    use std::vec::Vec;

    use uintr::model::Options;

    use super::*;

    fn machine(x2apic: bool) -> Machine {
        Machine {
            code: 0x8000_8000,
            uitt: 0x8000_0000,
            upids: 0x8000_1000,
            spare: 0x8000_4000,
            xsave: 0x8000_2000,
            stack_end: 0x8000_e000,
            kernel_rsp: 0x20_0000,
            kernel_rflags: 1 << 18,
            handler: 0x10_0000,
            apic_id: 0,
            x2apic,
            icr: 0,
            options: Options::SAPPHIRE_RAPIDS,
        }
    }

    /// A processor that is the model with some deviations, and that one step breaks.
    struct Deviant {
        twin: Twin,
        quirks: Quirks,
        breaks_at: Option<u64>,
        steps: u64,
    }

    impl Subject for Deviant {
        fn apply(&mut self, step: &Step, program: Option<&Program>) -> Visible {
            let mut visible = self.twin.apply(step, program, self.quirks);
            if self.breaks_at == Some(self.steps) {
                visible.upids[0][1] ^= 1;
            }
            self.steps += 1;
            visible
        }
    }

    /// Step, field and deviation of a mismatch.
    type Found = (u64, &'static str, Option<&'static str>);

    fn run(quirks: Quirks, breaks_at: Option<u64>, knows_deviations: bool) -> (Totals, Vec<Found>) {
        let mut found = Vec::new();
        let mut sum = Totals::default();
        for (seed, x2apic) in [(1, true), (2, false)] {
            let mut subject = Deviant {
                twin: Twin::new(machine(x2apic)),
                quirks,
                breaks_at,
                steps: 0,
            };
            let mut session = Session::new(seed, machine(x2apic), knows_deviations);
            for _ in 0..4000 {
                session.step(&mut subject, &mut |mismatch| {
                    found.push((
                        mismatch.number,
                        mismatch.difference.field,
                        mismatch.deviation,
                    ));
                });
            }
            let totals = session.totals();
            sum.delivered += totals.delivered;
            sum.faults += totals.faults;
            sum.mismatches += totals.mismatches;
            sum.compared += totals.compared;
        }
        (sum, found)
    }

    #[test]
    fn the_model_agrees_with_itself_while_much_happens() {
        let (totals, found) = run(Quirks::NONE, None, false);
        assert_eq!(found, []);
        assert_eq!(totals.mismatches, 0);
        assert!(totals.delivered > 800, "{totals:?}");
        assert!(totals.faults > 500, "{totals:?}");
        assert!(totals.compared > 100_000, "{totals:?}");
    }

    #[test]
    fn each_deviation_is_met_and_explained_by_its_id_alone() {
        for quirk in Quirk::ALL {
            let (totals, found) = run(Quirks::only(quirk), None, true);
            assert!(totals.mismatches > 0, "{quirk:?} was not met");
            assert_eq!(totals.mismatches, found.len() as u64);
            for (step, field, deviation) in found {
                assert_eq!(deviation, Some(quirk.id()), "step {step}, {field}");
            }
        }
    }

    #[test]
    fn a_processor_has_no_excuse() {
        let quirks = Quirks::only(Quirk::UpidReadFirst);
        let (_, found) = run(quirks, None, false);
        assert!(found.iter().all(|(.., deviation)| deviation.is_none()));
        assert!(!found.is_empty());
    }

    #[test]
    fn what_no_deviation_explains_is_told_and_does_not_last() {
        let (totals, found) = run(Quirks::NONE, Some(777), true);
        assert_eq!(totals.mismatches, 2);
        assert_eq!(found, [(777, "upid", None); 2]);
    }

    #[test]
    fn every_kind_of_step_and_operation_is_made() {
        let mut generator = Generator::new(1);
        let mut twin = Twin::new(machine(true));
        let mut kinds = BTreeSet::<String>::new();
        for _ in 0..4000 {
            let step = generator.next(twin.machine(), twin.cpu());
            let text = step.to_string();
            let cut = |text: &str| String::from(text.split(['(', '=', '[']).next().unwrap_or(""));
            kinds.extend(text.split(':').map(cut));
            let program = match &step {
                Step::Run(_, operations) => Some(Program::new(
                    twin.machine().code,
                    operations,
                    &twin.machine().areas(),
                )),
                _ => None,
            };
            twin.apply(&step, program.as_ref(), Quirks::NONE);
        }
        for kind in [
            "reset",
            "uitt",
            "upid",
            "rights",
            "cr4.uintr",
            "tpr",
            "ipi",
            "cpl0,if0",
            "cpl0,if1",
            "cpl3,if0",
            "cpl3,if1",
            "wait",
            "senduipi",
            "stui",
            "clui",
            "stui+clui",
            "testui",
            "uiret",
            "rdmsr",
            "wrmsr",
            "xsaves",
            "xrstors",
        ] {
            assert!(kinds.contains(kind), "{kind} is missing in {kinds:?}");
        }
    }
}
