// SPDX-License-Identifier: MIT OR Apache-2.0
//! Boots the conformance image.

use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use lab::run::Line;

use super::case::CaseId;
use super::column::{Column, RunRecord};
use super::log::{self, DONE};
use super::run::{Place, Run};
use crate::bench::Bench;
use crate::cells::{Cells, Mode, Slot};
use crate::scenario::{Scenario, Trial};

/// The image's name as a module.
const MODULE: &str = "uintr-conformance";
/// The image is linked at 64 MiB; a cell's boot area lies below.
const IMAGE_BASE: u64 = 63 << 20;
/// The console of the image, on the bare machine and in the main cell.
const CONSOLE: &str = "a";
const CPUS: u32 = 3;
/// CPUs of the main cell and of its peer.
const MAIN_CPUS: [u32; 2] = [0, 1];
const PEER_CPUS: [u32; 1] = [2];
const DIFFERENTIAL_OPTIONS: &str = "differential seed=1,2,3,4,5,6,7,8 steps=4000";
/// Far more than any run takes; reached only by one that hangs.
const TIME_LIMIT: Duration = Duration::from_secs(400);

/// A way to run the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunSpec {
    /// Where.
    pub place: Place,
    /// What the run is called.
    pub name: &'static str,
    mode: Mode,
    /// Features that the processor must have beyond its model.
    with: &'static [&'static str],
    /// Features that the processor must not have.
    without: &'static [&'static str],
    /// Words for the image's command line.
    options: &'static str,
}

impl RunSpec {
    const fn new(place: Place, mode: Mode) -> Self {
        Self {
            place,
            name: mode.name(),
            mode,
            with: &[],
            without: &[],
            options: "",
        }
    }

    const fn differential(place: Place, mode: Mode) -> Self {
        Self {
            name: match mode {
                Mode::X2apic => "differential x2apic",
                Mode::Xapic => "differential xapic",
            },
            options: DIFFERENTIAL_OPTIONS,
            ..Self::new(place, mode)
        }
    }
}

/// All ways to run the cases.
const ALL: [RunSpec; 8] = [
    RunSpec::new(Place::Bare, Mode::X2apic),
    RunSpec::new(Place::Bare, Mode::Xapic),
    RunSpec {
        name: "no-uintr",
        without: &["uintr"],
        ..RunSpec::new(Place::Bare, Mode::X2apic)
    },
    RunSpec {
        name: "flexible-uiret",
        // The emulator's CPUID does not say so.
        with: &["flexible_uiret"],
        options: "uiret=flexible",
        ..RunSpec::new(Place::Bare, Mode::X2apic)
    },
    RunSpec::new(Place::Direct, Mode::X2apic),
    RunSpec::new(Place::Direct, Mode::Xapic),
    RunSpec::new(Place::Filtered, Mode::X2apic),
    RunSpec::new(Place::Filtered, Mode::Xapic),
];

/// All ways to run the differential test. Filtered cells are left out: there the hypervisor sends, which is no rule of
/// the processor's.
pub const DIFFERENTIAL: [RunSpec; 4] = [
    RunSpec::differential(Place::Bare, Mode::X2apic),
    RunSpec::differential(Place::Bare, Mode::Xapic),
    RunSpec::differential(Place::Direct, Mode::X2apic),
    RunSpec::differential(Place::Direct, Mode::Xapic),
];

/// Returns the ways to run the cases in these places.
pub fn specs(places: &[Place]) -> Vec<RunSpec> {
    let wanted = |spec: &RunSpec| places.contains(&spec.place);
    ALL.into_iter().filter(wanted).collect()
}

/// Returns the option of the image that picks cases; none where all are wanted.
pub fn only(wanted: &[CaseId]) -> String {
    if wanted.len() == CaseId::all().count() {
        return String::new();
    }
    let names: Vec<String> = wanted.iter().map(CaseId::to_string).collect();
    format!("only={}", names.join(","))
}

/// Runs the image in these ways, `jobs` at a time, each with `arguments` added to its command line.
pub fn run_all(
    bench: &Bench,
    specs: &[RunSpec],
    arguments: &str,
    jobs: usize,
) -> Vec<(Place, RunRecord)> {
    let next = AtomicUsize::new(0);
    let records = Mutex::new(Vec::new());
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(spec) = specs.get(number) else {
                break;
            };
            let record = run(bench, spec, arguments);
            eprintln!(
                "[conformance] {} {}: {:.1} s",
                spec.place,
                spec.name,
                record.seconds.unwrap_or_default()
            );
            if let Ok(mut records) = records.lock() {
                records.push((number, spec.place, record));
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..jobs.min(specs.len()) {
            scope.spawn(work);
        }
    });
    // A thread that panicked has ended the scope with a panic.
    let mut records = records.into_inner().unwrap_or_default();
    records.sort_by_key(|&(number, ..)| number);
    let records = records.into_iter();
    records.map(|(_, place, record)| (place, record)).collect()
}

/// Runs all cases that are wanted in these places, `jobs` machines at a time, and merges the runs of each.
pub fn columns(bench: &Bench, places: &[Place], wanted: &[CaseId], jobs: usize) -> Vec<Column> {
    let mut records = run_all(bench, &specs(places), &only(wanted), jobs);
    let merged = places.iter().map(|&place| {
        let of_place = records.extract_if(.., |(other, _)| *other == place);
        Column::merge(place, of_place.map(|(_, record)| record).collect(), wanted)
    });
    merged.collect()
}

/// Runs all cases that are wanted in one place, one machine at a time, and merges the runs.
pub fn column(bench: &Bench, place: Place, wanted: &[CaseId]) -> Column {
    let records = run_all(bench, &specs(&[place]), &only(wanted), 1);
    let records = records.into_iter().map(|(_, record)| record).collect();
    Column::merge(place, records, wanted)
}

/// Returns the emulator's name and version, as it said them at the start of the first run in `place`.
pub fn emulator(bench: &Bench, place: Place) -> Option<String> {
    let spec = *specs(&[place]).first()?;
    let run = Trial::new(bench, &trial_name(spec)).run_name();
    let output = fs::read_to_string(bench.lab.run_dir(&run).join("output.log")).ok()?;
    let line = output.lines().find(|line| line.contains("Emulator"))?;
    Some(line.trim().to_owned())
}

fn trial_name(spec: RunSpec) -> String {
    format!("conformance: {} {}", spec.place, spec.name)
}

fn run(bench: &Bench, spec: &RunSpec, arguments: &str) -> RunRecord {
    let trial = Trial::new(bench, &trial_name(*spec));
    let started = Instant::now();
    let result = boot(&trial, spec, arguments);
    let seconds = started.elapsed().as_secs_f64();
    let name = spec.name.to_owned();
    match result {
        Ok((run, None)) => RunRecord::new(name, Some(seconds), run),
        Ok((run, Some(trouble))) => RunRecord::troubled(name, seconds, Some(run), trouble),
        Err(error) => RunRecord::troubled(name, seconds, None, format!("{error:#}")),
    }
}

/// Boots the machine and returns what the image said, and what was wrong with the boot.
fn boot(trial: &Trial, spec: &RunSpec, arguments: &str) -> Result<(Run, Option<String>)> {
    let mut scenario = match spec.place {
        Place::Bare => bare(trial, spec, arguments),
        Place::Direct | Place::Filtered => cells(trial, spec, arguments)?,
    };
    scenario.spec.cpus = CPUS;
    scenario.spec.time_limit = TIME_LIMIT;
    scenario.spec.add_features = spec.with.iter().map(ToString::to_string).collect();
    scenario.spec.exclude_features = spec.without.iter().map(ToString::to_string).collect();
    let ends = [DONE, "conf: error", "conf: fatal"];
    let mut is_done =
        |line: &Line| line.label == CONSOLE && ends.iter().any(|end| line.text.starts_with(end));
    let trouble = scenario
        .boot(Some(&mut is_done))
        .err()
        .map(|error| format!("{error:#}"));
    let Some(seen) = trial.take_last() else {
        bail!("{}", trouble.unwrap_or_default());
    };
    let folder = seen.folder().display().to_string();
    let trouble = trouble.map(|words| format!("{words}; files in {folder}"));
    let mut runs = log::parse(seen.console(CONSOLE)).with_context(|| {
        format!(
            "{} (files in {folder})",
            trouble.clone().unwrap_or_default()
        )
    })?;
    let run = runs.pop().context("no run")?;
    Ok((run, trouble))
}

fn bare<'a>(trial: &'a Trial, spec: &RunSpec, arguments: &str) -> Scenario<'a> {
    let apic = spec.mode.name();
    let arguments = format!("emulator=bochs apic={apic} {} {arguments}", spec.options);
    trial.program_scenario(&trial.bench.conformance, arguments.trim_end())
}

fn cells<'a>(trial: &'a Trial, spec: &RunSpec, arguments: &str) -> Result<Scenario<'a>> {
    let arguments = format!("emulator=bochs {} {arguments}", spec.options);
    let cells = Cells::new(spec.mode, CPUS)
        .image(
            Slot::A,
            &MAIN_CPUS,
            MODULE,
            IMAGE_BASE,
            arguments.trim_end(),
        )
        .image(
            Slot::B,
            &PEER_CPUS,
            MODULE,
            IMAGE_BASE,
            "emulator=bochs role=peer",
        )
        .channel_with(Slot::A, Slot::B, spec.place.name());
    let scenario = trial.scenario(cells.toml())?.without("test-cell");
    Ok(scenario.module(MODULE, &trial.bench.conformance))
}
