// SPDX-License-Identifier: MIT OR Apache-2.0
//! A machine with cells: booted until its consoles have said enough.

use std::cell::RefCell;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use lab::image::BootImage;
use lab::machine::{Console, Firmware, Machine, MachineSpec, Medium};
use lab::run::{Echo, End, Line, RunOutcome};

use crate::bench::Bench;

/// Label of the hypervisor's console. It is looked at before the cells' consoles: a line of a cell that comes with
/// a later look than a line of the hypervisor was printed later.
pub const HYPERVISOR: &str = "isthmus";
/// Command line that gives the hypervisor COM2 before it knows its configuration.
pub const CONSOLE_ARGS: &str = "console=0x2f8";
/// Last line of the hypervisor's report of a cell that it stopped.
pub const REPORT_END: &str = "isthmus: error:   RAX ";
/// The machine's memory: the hypervisor is linked at 768 MiB.
const MEMORY_MIB: u32 = 1024;
/// Far more than any test takes; reached only by one that hangs.
const TIME_LIMIT: Duration = Duration::from_secs(180);

/// A test while it runs.
pub struct Trial<'a> {
    /// What all tests share.
    pub bench: &'a Bench,
    name: String,
    last: RefCell<Option<Seen>>,
}

impl<'a> Trial<'a> {
    /// Begins the test called `name`.
    pub fn new(bench: &'a Bench, name: &str) -> Self {
        Self {
            bench,
            name: name.replace([' ', ':', ',', '/'], "-"),
            last: RefCell::new(None),
        }
    }

    /// Returns the name of the test's run in the lab.
    pub fn run_name(&self) -> String {
        format!("system-{}", self.name)
    }

    /// Takes what the last machine said.
    pub fn take_last(&self) -> Option<Seen> {
        self.last.take()
    }

    /// Puts a file for this test into the lab.
    pub fn file(&self, name: &str, bytes: &[u8]) -> Result<PathBuf> {
        let path = self.path(name)?;
        fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// Returns the place of a file for this test.
    pub fn path(&self, name: &str) -> Result<PathBuf> {
        let folder = self.bench.lab.image_path("system");
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(folder.join(format!("{}.{name}", self.name)))
    }

    /// Reads a configuration and returns its binary form.
    pub fn encode(&self, toml: &str) -> Result<Vec<u8>> {
        // The error borrows nothing, but is no `Send` error for anyhow's own conversion.
        let system = cell_config_toml::from_toml(toml)
            .map_err(|error| anyhow!("the test's configuration: {error}"))?;
        Ok(cell_config::encode(&system))
    }

    /// Returns a machine with the cells of `toml`, whose image `test-cell` is there already.
    pub fn scenario(&self, toml: &str) -> Result<Scenario<'_>> {
        let config = self.encode(toml)?;
        Ok(self
            .bare_scenario()
            .module("config", &self.file("config", &config)?))
    }

    /// Returns a machine without a configuration.
    pub fn bare_scenario(&self) -> Scenario<'_> {
        let consoles = [(2, HYPERVISOR), (1, "a"), (3, "b"), (4, "c")]
            .map(|(com, label)| Console::new(com, label))
            .to_vec();
        let scenario = Scenario {
            trial: self,
            kernel: self.bench.programs.hypervisor.clone(),
            kernel_args: CONSOLE_ARGS.to_owned(),
            modules: Vec::new(),
            may_stop_cells: false,
            spec: MachineSpec {
                cpus: 2,
                memory_mib: MEMORY_MIB,
                consoles,
                time_limit: TIME_LIMIT,
                ..MachineSpec::default()
            },
        };
        scenario.module("test-cell", &self.bench.test_cell)
    }

    /// Returns a machine with another program in the hypervisor's place and nothing else.
    pub fn program_scenario(&self, program: &Path, args: &str) -> Scenario<'_> {
        let scenario = self.bare_scenario().without("test-cell");
        scenario.kernel(program).kernel_args(args)
    }
}

/// A machine to boot.
pub struct Scenario<'a> {
    trial: &'a Trial<'a>,
    kernel: PathBuf,
    kernel_args: String,
    modules: Vec<(String, PathBuf)>,
    may_stop_cells: bool,
    /// The machine; tests change what they need.
    pub spec: MachineSpec,
}

impl Scenario<'_> {
    /// Adds a module, or replaces the one with this name.
    pub fn module(mut self, name: &str, path: &Path) -> Self {
        self.modules.retain(|(other, _)| other != name);
        self.modules.push((name.to_owned(), path.to_owned()));
        self
    }

    /// Leaves a module out.
    pub fn without(mut self, name: &str) -> Self {
        self.modules.retain(|(other, _)| other != name);
        self
    }

    /// Boots another file in the hypervisor's place.
    pub fn kernel(mut self, path: &Path) -> Self {
        self.kernel = path.to_owned();
        self
    }

    /// Replaces the hypervisor's command line.
    pub fn kernel_args(mut self, args: &str) -> Self {
        self.kernel_args = args.to_owned();
        self
    }

    /// Expects that the hypervisor stops a cell, which is a failure else.
    pub fn may_stop_cells(mut self) -> Self {
        self.may_stop_cells = true;
        self
    }

    /// Sets the number of CPUs.
    pub fn cpus(mut self, cpus: u32) -> Self {
        self.spec.cpus = cpus;
        self
    }

    /// Sets the firmware.
    pub fn firmware(mut self, firmware: Firmware) -> Self {
        self.spec.firmware = firmware;
        self
    }

    /// Takes features away from the processors.
    pub fn without_features(mut self, features: &[&str]) -> Self {
        self.spec.exclude_features = features.iter().map(|&feature| feature.to_owned()).collect();
        self
    }

    /// Boots the machine until `is_done` says so of a line, and fails if it ends otherwise. `None` waits for the
    /// machine to be switched off.
    pub fn boot(self, mut is_done: Option<&mut dyn FnMut(&Line) -> bool>) -> Result<Seen> {
        let trial = self.trial;
        let mut image = BootImage::new(&self.kernel).kernel_args(&self.kernel_args);
        for (name, path) in &self.modules {
            image = image.module(name, path);
        }
        let iso = trial.path("iso")?;
        image.build(self.spec.firmware, &iso)?;
        let machine = Machine::new(&trial.bench.lab, &trial.bench.emulator, self.spec);
        let run = trial.run_name();
        let awaits_power_off = is_done.is_none();
        let mut looked_at = 0;
        let outcome = machine.boot(&run, &Medium::Iso(iso), Echo::Quiet, |line| {
            looked_at += 1;
            if is_done.as_mut().is_some_and(|is_done| is_done(line)) {
                return ControlFlow::Break(Ok(()));
            }
            match bad_news(line, self.may_stop_cells) {
                Some(news) => ControlFlow::Break(Err(news)),
                None => ControlFlow::Continue(()),
            }
        })?;
        let verdict = match &outcome.end {
            End::Stopped(Ok(())) => Ok(()),
            End::Stopped(Err(news)) => Err(anyhow!("{news}")),
            End::ShutDown if awaits_power_off => Ok(()),
            other => Err(anyhow!("the run ended without what was awaited: {other:?}")),
        };
        let mut seen = Seen::from(outcome);
        if verdict.is_ok() && !awaits_power_off {
            // What follows may end in half a line, because the machine was stopped.
            seen.lines.truncate(looked_at);
        }
        trial.last.replace(Some(seen.clone()));
        verdict.map(|()| seen)
    }

    /// Boots the machine until all of `wanted` have been seen.
    pub fn boot_until(self, wanted: &[Wanted]) -> Result<Seen> {
        let mut missing = wanted.to_vec();
        let mut is_done = |line: &Line| {
            for wanted in &mut missing {
                if wanted.matches(line) {
                    wanted.times = wanted.times.saturating_sub(1);
                }
            }
            missing.retain(|wanted| wanted.times > 0);
            missing.is_empty()
        };
        let result = self.boot(Some(&mut is_done));
        result.map_err(|error| match missing.first() {
            Some(Wanted { label, text, .. }) => {
                error.context(format!("'{text}' not seen on {label}"))
            }
            None => error,
        })
    }
}

/// Returns a line that nothing good follows.
fn bad_news(line: &Line, may_stop_cells: bool) -> Option<String> {
    const NEWS: [&str; 3] = [
        "test: result=FAIL",
        "isthmus: error: nothing was started",
        "isthmus: error: halted",
    ];
    let is_bad = NEWS.iter().any(|news| line.text.starts_with(news))
        || !may_stop_cells && line.text.starts_with(REPORT_END);
    is_bad.then(|| format!("{}: {}", line.label, line.text))
}

/// Lines that a test waits for.
#[derive(Debug, Clone)]
pub struct Wanted {
    label: String,
    text: String,
    times: usize,
}

impl Wanted {
    /// Waits for a line with `text` in it on the console `label`.
    pub fn line(label: &str, text: &str) -> Self {
        Self::lines(label, text, 1)
    }

    /// Waits for several of them.
    pub fn lines(label: &str, text: &str, times: usize) -> Self {
        Self {
            label: label.to_owned(),
            text: text.to_owned(),
            times,
        }
    }

    fn matches(&self, line: &Line) -> bool {
        line.label == self.label && line.text.contains(&self.text)
    }
}

/// What the consoles of a machine said.
#[derive(Debug, Clone)]
pub struct Seen {
    lines: Vec<Line>,
    folder: PathBuf,
}

impl<V> From<RunOutcome<V>> for Seen {
    fn from(outcome: RunOutcome<V>) -> Self {
        Self {
            lines: outcome.lines,
            folder: outcome.folder,
        }
    }
}

impl Seen {
    /// Returns the folder with everything that the run wrote.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the consoles that said something.
    pub fn labels(&self) -> Vec<&str> {
        let mut labels: Vec<&str> = Vec::new();
        for line in &self.lines {
            if !labels.contains(&line.label.as_str()) {
                labels.push(&line.label);
            }
        }
        labels
    }

    /// Returns the lines of a console.
    pub fn console(&self, label: &str) -> impl Iterator<Item = &str> {
        self.lines
            .iter()
            .filter(move |line| line.label == label)
            .map(|line| line.text.as_str())
    }

    /// Returns the first line of a console with `part` in it.
    pub fn find(&self, label: &str, part: &str) -> Result<&str> {
        self.console(label)
            .find(|line| line.contains(part))
            .with_context(|| format!("no line with '{part}' on {label}"))
    }

    /// Fails if a console has a line with `part` in it.
    pub fn refute(&self, label: &str, part: &str) -> Result<()> {
        match self.console(label).find(|line| line.contains(part)) {
            Some(line) => bail!("unexpected on {label}: {line}"),
            None => Ok(()),
        }
    }
}

/// Returns the value of `key=value` in a line.
pub fn value<'a>(line: &'a str, key: &str) -> Result<&'a str> {
    line.split_ascii_whitespace()
        .filter_map(|word| word.split_once('='))
        .find_map(|(k, value)| (k == key).then_some(value))
        .with_context(|| format!("no {key}= in '{line}'"))
}
