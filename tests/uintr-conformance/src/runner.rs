// SPDX-License-Identifier: MIT OR Apache-2.0
//! Runs the cases one after the other and reports each.

use uintr_conformance::{ApicMode, Counts, Found, Options, Text, judge};

use crate::bench::Bench;
use crate::case::{Case, Failure, Where};
use crate::cases;
use crate::machine::place::Place;
use crate::machine::{BUDGET, apic, cpu, run, smp, uintr};
use crate::peer::{Line, reply, request};
use crate::vmm;

/// Runs all cases that are wanted.
pub fn run_all(place: Place, mode: ApicMode, options: &Options<'_>) {
    let is_known = |id: &str| cases::ALL.iter().any(|case| case.id == id);
    if let Some(id) = options.unknown_case(is_known) {
        report!("error detail=\"there is no case {id}\"");
        return;
    }
    let mut bench = Bench::new(place, mode);
    bench.is_uiret_flexible |= options.is_uiret_flexible;
    let mut counts = Counts::default();
    for case in cases::ALL.iter().filter(|case| options.wants(case.id)) {
        let found = find(case, &mut bench);
        let (verdict, text) = judge(&found, case.deviation, options.emulator);
        counts.add(verdict);
        report!(
            "case id={} verdict={verdict} title=\"{}\" detail=\"{text}\"",
            case.id,
            case.title
        );
    }
    if let Some(line) = Line::open(place) {
        // A cell without this image at its other end does not answer, which is no error here.
        line.ask(request::END, BUDGET);
    }
    report!("done {counts}");
}

/// Runs a case, or says why not.
fn find(case: &Case, bench: &mut Bench) -> Found {
    if let Some(reason) = obstacle(case, bench) {
        return Found::Skipped(reason);
    }
    let mut outcome = bench.reset().map(|()| Found::Manual(Text::default()));
    if outcome.is_ok() {
        apic::set_deadline(cpu::tsc() + 4 * BUDGET);
        let end = run::catch(&mut || outcome = (case.run)(bench));
        apic::set_deadline(0);
        if let Err(trap) = end {
            outcome = Err(Failure::from(trap));
        }
    }
    match outcome {
        Ok(found) => found,
        Err(Failure(mut text)) => {
            text.push(format_args!(" ({})", case.section));
            Found::Wrong(text)
        }
    }
}

fn obstacle(case: &Case, bench: &Bench) -> Option<Text> {
    let needs = &case.needs;
    let say = |arguments| Some(Text::new(arguments));
    if needs.uintr && !uintr::is_enumerated() {
        return say(format_args!("the processor has no user interrupts"));
    }
    if let Some(mode) = needs.apic.filter(|&mode| mode != bench.mode) {
        return say(format_args!("needs {mode} mode"));
    }
    if smp::count() < needs.cpus {
        return say(format_args!(
            "needs {} CPUs, has {}",
            needs.cpus,
            smp::count()
        ));
    }
    match (needs.place, bench.place) {
        (Where::Anywhere, _) => None,
        (Where::Bare, Place::Bare) => vmm::obstacle(),
        (Where::Bare, Place::Cell(_)) => say(format_args!("VMX is not offered to a cell")),
        (Where::TwoCells, Place::Bare) => say(format_args!("needs two cells")),
        (Where::TwoCells, Place::Cell(info)) if info.channels().is_empty() => say(format_args!(
            "needs a second cell with role=peer and a channel"
        )),
        (Where::TwoCells, Place::Cell(_)) => match Line::open(bench.place) {
            Some(line) if line.ask(request::HELLO, BUDGET) == Some(reply::OK) => None,
            _ => say(format_args!("the other cell does not answer as role=peer")),
        },
    }
}
