// SPDX-License-Identifier: MIT OR Apache-2.0
//! A run: the machine is booted, its consoles are followed line by line, and it ends in one of a few ways.
//!
//! Each run has a folder of its own with everything it wrote. The emulator is a child of this
//! process and ends with it. Nothing here waits for a fixed time: the consoles are looked at until
//! the caller has seen enough, the emulator has ended, or the time limit is reached.

use std::fs::{self, File};
use std::io::{self, IsTerminal, Read, Write};
use std::ops::ControlFlow;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::command::say;
use crate::layout;
use crate::lines::LineSplitter;
use crate::machine::{Machine, Medium};

const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// How often the emulator is started again when its display kills it at the start.
const STARTS: u32 = 5;
/// How many lines of the emulator's log an outcome keeps.
const LOG_LINES: usize = 30;
/// The label of port 0xe9.
const E9_LABEL: &str = "e9";
const LOG_FILE: &str = "bochs.log";
/// What the emulator's log has when a processor outside every guest can't deliver an exception.
const TRIPLE_FAULT: &str = "3rd (";

/// One line of a console.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// The console.
    pub label: String,
    /// The line, without its end.
    pub text: String,
    /// When it was seen, in seconds of wall-clock time after the start.
    pub seconds: f64,
}

/// Whether lines are printed as they come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Echo {
    /// To standard output, with their labels.
    Live,
    /// Not at all.
    Quiet,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub enum End<V> {
    /// The caller had seen enough, and said this.
    Stopped(V),
    /// The guest switched the machine off.
    ShutDown,
    /// A processor stopped for good outside every guest: no handler could be reached (triple fault).
    /// This is what the emulator said.
    TripleFault(String),
    /// The emulator gave up, for this reason.
    Panicked(String),
    /// The emulator died of something else.
    Died(ExitStatus),
    /// The time limit was reached.
    TimeLimit,
}

/// What a run gave.
#[derive(Debug, Clone)]
pub struct RunOutcome<V> {
    /// How it ended.
    pub end: End<V>,
    /// All lines of all consoles, in the order in which they were seen.
    pub lines: Vec<Line>,
    /// How the emulator ended; none when it was stopped from here.
    pub exit_status: Option<ExitStatus>,
    /// The end of the emulator's own log.
    pub log_tail: Vec<String>,
    /// How long it took.
    pub seconds: f64,
    /// The folder with everything that the run wrote.
    pub folder: PathBuf,
}

impl<V> RunOutcome<V> {
    /// Returns the lines of one console.
    pub fn console(&self, label: &str) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(move |line| line.label == label)
    }

    /// Returns the first line of the console `label` that has `part` in it.
    pub fn find(&self, label: &str, part: &str) -> Option<&Line> {
        self.console(label).find(|line| line.text.contains(part))
    }
}

impl Machine<'_> {
    /// Boots `medium` and follows the consoles until `on_line` breaks, the machine is off, or time is up.
    ///
    /// `name` names the run's folder, which is emptied first. Fails only when the run can't be made;
    /// everything that happens in it is in the outcome.
    pub fn boot<V>(
        &self,
        name: &str,
        medium: &Medium,
        echo: Echo,
        mut on_line: impl FnMut(&Line) -> ControlFlow<V>,
    ) -> Result<RunOutcome<V>> {
        let folder = self.lab.run_dir(name);
        let _claim = claim(&folder)?;
        for start in 1.. {
            let mut running = Running::start(self, medium, &folder, echo)?;
            let outcome = running.follow(self.spec.time_limit, &mut on_line)?;
            let died_at_start = outcome.lines.is_empty()
                && matches!(outcome.end, End::Died(status) if status.code() == Some(139) || status.signal() == Some(11));
            if !died_at_start || start == STARTS {
                return Ok(outcome);
            }
            say(format!(
                "the emulator died at its start, starting it again ({start} of {STARTS})"
            ));
        }
        bail!("the emulator was never started")
    }
}

/// Keeps a run's folder for this run; fails when another run is using it.
fn claim(folder: &Path) -> Result<File> {
    let mut lock = folder.as_os_str().to_owned();
    lock.push(".lock");
    let lock = PathBuf::from(lock);
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let file = File::create(&lock).with_context(|| format!("cannot make {}", lock.display()))?;
    ensure!(
        file.try_lock().is_ok(),
        "a run of this name is going on: {}",
        folder.display()
    );
    Ok(file)
}

/// A machine that is on.
struct Running {
    child: Child,
    consoles: Vec<FollowedConsole>,
    log: FollowedConsole,
    folder: PathBuf,
    started: Instant,
    echo: Echo,
}

impl Running {
    fn start(machine: &Machine, medium: &Medium, folder: &Path, echo: Echo) -> Result<Self> {
        layout::fresh_dir(folder)?;
        let rc = machine.write_config(medium, folder)?;
        let output = folder.join("output.log");
        let sink =
            File::create(&output).with_context(|| format!("cannot make {}", output.display()))?;
        let errors = sink.try_clone().context("cannot share the output's file")?;
        let mut consoles: Vec<FollowedConsole> = machine
            .spec
            .consoles
            .iter()
            .map(|console| FollowedConsole::new(&console.label, folder.join(console.file_name())))
            .collect();
        if machine.spec.e9 {
            consoles.push(FollowedConsole::new(E9_LABEL, output));
        }
        let mut command = machine.emulator.command(&rc);
        let child = command
            .current_dir(folder)
            .stdout(sink)
            .stderr(errors)
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        let log = FollowedConsole::new("log", folder.join(LOG_FILE));
        let (folder, started) = (folder.to_owned(), Instant::now());
        Ok(Self {
            child,
            consoles,
            log,
            folder,
            started,
            echo,
        })
    }

    fn follow<V>(
        &mut self,
        time_limit: Duration,
        on_line: &mut impl FnMut(&Line) -> ControlFlow<V>,
    ) -> Result<RunOutcome<V>> {
        let mut lines = Vec::new();
        let mut log: Vec<String> = Vec::new();
        let mut verdict = None;
        let mut fault = None;
        let mut exit_status = None;
        let deadline = self.started + time_limit;
        while verdict.is_none()
            && fault.is_none()
            && exit_status.is_none()
            && Instant::now() < deadline
        {
            thread::sleep(POLL_INTERVAL);
            // Both are asked for before the consoles are read, so that nothing written before is missed.
            exit_status = self
                .child
                .try_wait()
                .context("cannot ask for the emulator's end")?;
            log.extend(self.log.read(exit_status.is_some())?);
            fault = log.iter().find(|line| line.contains(TRIPLE_FAULT)).cloned();
            log.drain(..log.len().saturating_sub(LOG_LINES));
            for line in self.read_lines(exit_status.is_some())? {
                if verdict.is_none() {
                    verdict = on_line(&line).break_value();
                }
                lines.push(line);
            }
        }
        let seconds = self.started.elapsed().as_secs_f64();
        if exit_status.is_none() {
            self.stop()?;
            lines.extend(self.read_lines(true)?);
        }
        let end = match (verdict, fault, exit_status) {
            (Some(verdict), _, _) => End::Stopped(verdict),
            (None, Some(fault), _) => End::TripleFault(fault),
            (None, None, Some(status)) => end_of(status, &log),
            (None, None, None) => End::TimeLimit,
        };
        Ok(RunOutcome {
            end,
            lines,
            exit_status,
            log_tail: log,
            seconds,
            folder: self.folder.clone(),
        })
    }

    fn read_lines(&mut self, is_last: bool) -> Result<Vec<Line>> {
        let seconds = self.started.elapsed().as_secs_f64();
        let mut lines = Vec::new();
        for (index, console) in self.consoles.iter_mut().enumerate() {
            for text in console.read(is_last)? {
                if self.echo == Echo::Live {
                    print_line(&console.label, index, &text);
                }
                lines.push(Line {
                    label: console.label.clone(),
                    text,
                    seconds,
                });
            }
        }
        Ok(lines)
    }

    /// Ends the emulator, this one child, and waits until it is gone.
    fn stop(&mut self) -> Result<()> {
        // It may have ended by itself just now, which is as good.
        let _ = self.child.kill();
        self.child
            .wait()
            .map(drop)
            .context("cannot wait for the emulator's end")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // Nobody is left to hear of an error here.
            let _ = self.stop();
        }
    }
}

/// Reads the emulator's end out of its log: it exits with 1 both when the guest is done and when it gives up.
fn end_of<V>(status: ExitStatus, log: &[String]) -> End<V> {
    let panic = log.iter().rev().find(|line| line.contains(">>PANIC<<"));
    let is_requested = |line: &str| {
        ["shutdown requested", "power off"]
            .iter()
            .any(|words| line.to_lowercase().contains(words))
    };
    match panic {
        Some(line) if is_requested(line) => End::ShutDown,
        Some(line) => End::Panicked(line.trim().to_owned()),
        None if status.code() == Some(0) || status.code() == Some(1) => End::ShutDown,
        None => End::Died(status),
    }
}

fn print_line(label: &str, index: usize, text: &str) {
    const COLOURS: [u8; 6] = [36, 33, 35, 32, 34, 31];
    let mut out = io::stdout().lock();
    // A reader of standard output that went away is no reason to fail the run.
    let _ = if out.is_terminal() {
        writeln!(
            out,
            "\x1b[{}m[{label}]\x1b[0m {text}",
            COLOURS[index % COLOURS.len()]
        )
    } else {
        writeln!(out, "[{label}] {text}")
    };
}

/// A file that the emulator writes and that is read as it grows.
struct FollowedConsole {
    label: String,
    path: PathBuf,
    file: Option<File>,
    splitter: LineSplitter,
}

impl FollowedConsole {
    fn new(label: &str, path: PathBuf) -> Self {
        Self {
            label: label.to_owned(),
            path,
            file: None,
            splitter: LineSplitter::default(),
        }
    }

    /// Returns the lines that are new; with `is_last`, an unfinished one too.
    fn read(&mut self, is_last: bool) -> Result<Vec<String>> {
        if self.file.is_none() {
            // The emulator makes it when it starts; until then there is nothing to read.
            self.file = File::open(&self.path).ok();
        }
        let mut bytes = Vec::new();
        if let Some(file) = &mut self.file {
            file.read_to_end(&mut bytes)
                .with_context(|| format!("cannot read {}", self.path.display()))?;
        }
        let mut lines = self.splitter.push(&bytes);
        if is_last {
            lines.extend(self.splitter.finish());
        }
        Ok(lines)
    }
}
