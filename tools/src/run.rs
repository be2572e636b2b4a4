// SPDX-License-Identifier: MIT OR Apache-2.0
//! A run: the machine is booted, its consoles are followed line by line, and it ends in one of a few ways.
//!
//! Each run has a folder of its own with everything it wrote. The emulator is a child of this
//! process and ends with it. Nothing here waits for a fixed time: the consoles are looked at until
//! the caller has seen enough, the emulator has ended, or the time limit is reached.

use std::fs::{self, File};
use std::io::{self, IsTerminal, Write};
use std::ops::ControlFlow;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::command::say;
use crate::emulator_log::{EmulatorLog, Last};
use crate::followed_file::FollowedFile;
use crate::layout;
use crate::machine::{Machine, Medium};

const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// How often the emulator is started again when its display kills it at the start.
const STARTS: u32 = 5;
/// The label of port 0xe9.
const E9_LABEL: &str = "e9";
const LOG_FILE: &str = "bochs.log";
/// The emulator's standard output, which is port 0xe9.
const OUTPUT_FILE: &str = "output.log";
/// The emulator's standard error, which is also that of the dynamic loader and of a cure.
pub(crate) const ERRORS_FILE: &str = "errors.log";
/// How long the emulator may take to write down its processors' registers before it is killed.
const LAST_WORDS: Duration = Duration::from_secs(3);

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
    /// The end of the emulator's own log. It has every processor's registers (one processor's after a triple fault).
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
        on_line: impl FnMut(&Line) -> ControlFlow<V>,
    ) -> Result<RunOutcome<V>> {
        self.boot_watched(name, medium, echo, on_line, || ControlFlow::Continue(()))
    }

    /// Does the same, and asks `on_look` too each time it has looked at the consoles, several times a second.
    pub fn boot_watched<V>(
        &self,
        name: &str,
        medium: &Medium,
        echo: Echo,
        mut on_line: impl FnMut(&Line) -> ControlFlow<V>,
        mut on_look: impl FnMut() -> ControlFlow<V>,
    ) -> Result<RunOutcome<V>> {
        let folder = self.lab.run_dir(name);
        let _claim = claim(&folder)?;
        for start in 1.. {
            let mut running = Running::start(self, medium, &folder, echo)?;
            let outcome = running.follow(self.spec.time_limit, &mut on_line, &mut on_look)?;
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
    consoles: Vec<(String, FollowedFile)>,
    log: EmulatorLog,
    folder: PathBuf,
    started: Instant,
    echo: Echo,
}

impl Running {
    fn start(machine: &Machine, medium: &Medium, folder: &Path, echo: Echo) -> Result<Self> {
        layout::fresh_dir(folder)?;
        let rc = machine.write_config(medium, folder)?;
        let output = folder.join(OUTPUT_FILE);
        let sink = |path: &Path| {
            File::create(path).with_context(|| format!("cannot make {}", path.display()))
        };
        let mut consoles: Vec<(String, FollowedFile)> = machine
            .spec
            .consoles
            .iter()
            .filter(|console| console.terminal.is_none())
            .map(|console| {
                (
                    console.label.clone(),
                    FollowedFile::new(folder.join(console.file_name())),
                )
            })
            .collect();
        if machine.spec.e9 {
            consoles.push((E9_LABEL.to_owned(), FollowedFile::new(output.clone())));
        }
        let mut command = machine.emulator.command(&rc);
        let child = command
            .current_dir(folder)
            .stdout(sink(&output)?)
            .stderr(sink(&folder.join(ERRORS_FILE))?)
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        let log = EmulatorLog::new(folder.join(LOG_FILE));
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
        on_look: &mut impl FnMut() -> ControlFlow<V>,
    ) -> Result<RunOutcome<V>> {
        let mut lines = Vec::new();
        let mut verdict = None;
        let mut exit_status = None;
        let deadline = self.started + time_limit;
        while verdict.is_none() && exit_status.is_none() && Instant::now() < deadline {
            thread::sleep(POLL_INTERVAL);
            // Both are asked for before the consoles are read, so that nothing written before is missed.
            exit_status = self.try_wait()?;
            let has_fault = matches!(
                self.log.read(exit_status.is_some())?,
                Some(Last::TripleFault(_))
            );
            for line in self.read_lines(exit_status.is_some())? {
                if verdict.is_none() {
                    verdict = on_line(&line).break_value();
                }
                lines.push(line);
            }
            verdict = verdict.or_else(|| on_look().break_value());
            if has_fault {
                break;
            }
        }
        let seconds = self.started.elapsed().as_secs_f64();
        let end = match (verdict, self.log.last(), exit_status) {
            (Some(verdict), ..) => End::Stopped(verdict),
            (None, Some(Last::TripleFault(words)), _) => End::TripleFault(words.clone()),
            (None, Some(Last::Panic(words)), Some(_)) => End::Panicked(words.clone()),
            (None, Some(Last::ShutDown), Some(_)) => End::ShutDown,
            (None, None, Some(status)) => End::Died(status),
            (None, _, None) => End::TimeLimit,
        };
        if exit_status.is_none() {
            self.stop(true)?;
            lines.extend(self.read_lines(true)?);
            self.log.read(true)?;
        }
        let (log_tail, folder) = (self.log.take_tail(), self.folder.clone());
        Ok(RunOutcome {
            end,
            lines,
            exit_status,
            log_tail,
            seconds,
            folder,
        })
    }

    fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        self.child
            .try_wait()
            .context("cannot ask for the emulator's end")
    }

    fn read_lines(&mut self, is_last: bool) -> Result<Vec<Line>> {
        let seconds = self.started.elapsed().as_secs_f64();
        let mut lines = Vec::new();
        for (index, (label, file)) in self.consoles.iter_mut().enumerate() {
            for text in file.read(is_last)? {
                if self.echo == Echo::Live {
                    print_line(label, index, &text);
                }
                lines.push(Line {
                    label: label.clone(),
                    text,
                    seconds,
                });
            }
        }
        Ok(lines)
    }

    /// Ends the emulator, this one child, and waits until it is gone.
    ///
    /// With `has_last_words` it is interrupted first, and so writes all processors' registers to its log.
    fn stop(&mut self, has_last_words: bool) -> Result<()> {
        let interrupt = || {
            Command::new("kill")
                .args(["-INT", &self.child.id().to_string()])
                .status()
        };
        if has_last_words && interrupt().is_ok_and(|status| status.success()) {
            let deadline = Instant::now() + LAST_WORDS;
            while Instant::now() < deadline && self.try_wait()?.is_none() {
                thread::sleep(POLL_INTERVAL);
            }
        }
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
            let _ = self.stop(false);
        }
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
