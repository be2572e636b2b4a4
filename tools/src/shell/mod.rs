// SPDX-License-Identifier: MIT OR Apache-2.0
//! The interactive shell: the demo's cells with NimbOS running `sh` on its own console, which the user's terminal, or a
//! pipe, is connected to.
//!
//! NimbOS's serial port is a pseudo-terminal of the lab's. One thread hands on what is typed (`session::Session` has the
//! pace), one what NimbOS says; the run itself is like any other, with the other consoles in files.

mod keys;
mod session;
mod terminal;

use std::fs::File;
use std::io::{Read, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, bail, ensure};
use cell_config::{CommandLine, System};

use crate::Lab;
use crate::demo::{Demo, HYPERVISOR, Programs, machine_spec, read_config};
use crate::emulator::Emulator;
use crate::machine::{Machine, MachineSpec, Medium};
use crate::run::{End, RunOutcome};
use keys::{Key, Keys};
use session::Session;
use terminal::PseudoTerminal;
pub use terminal::RawTerminal;

/// The cell whose console the shell has.
const CELL: &str = "nimbos";
/// Its command line.
const COMMAND_LINE: &str = "console=own init=sh";
/// The file in the run's folder that keeps what it says.
const CONSOLE_LOG: &str = "nimbos.log";
/// What Linux's first program says when NimbOS's has ended and the shadow process after it.
const SHADOW_END: &str = "shadow-exit: status=";

/// What is at the other end of NimbOS's console.
pub struct User {
    /// What is typed.
    pub input: Box<dyn Read + Send>,
    /// What is shown.
    pub output: Box<dyn Write + Send>,
    /// Who types, and how fast.
    pub pace: Pace,
}

/// Where input comes from. NimbOS never gets more than it has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// A terminal in raw mode: ^A begins a command to the lab, and NimbOS's bytes are shown as they are.
    Terminal,
    /// A file: each line follows a prompt of the shell, or a silence; at its end comes an end of file.
    Lines,
    /// A file whose reader waits itself for what it wants to see.
    Caller,
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The shell did, with this status.
    Shell(i32),
    /// The user asked for it (^A x).
    Quit,
    /// This signal came.
    Signal(i32),
}

/// Why a run was stopped.
enum Stop {
    Ended(Ended),
    /// The hypervisor refused to start, or gave up.
    Halted,
}

/// Boots the demo's cells with a shell, and connects it with `user` until it ends. `signal` is asked several times a second
/// for a signal that ends the session.
///
/// `demo.echo` is about the other consoles. Fails when the machine ends and the shell does not.
pub fn boot(
    lab: &Lab,
    emulator: &Emulator,
    programs: &Programs,
    demo: &Demo,
    user: User,
    signal: impl Fn() -> Option<i32>,
) -> Result<Ended> {
    let system = with_shell(read_config(&demo.config)?)?;
    let iso = programs.iso(lab, demo, &system)?;
    let terminal = PseudoTerminal::open()?;
    let spec = on_terminal(machine_spec(demo, &system)?, &terminal)?;
    let session = Arc::new(Session::new(user.pace));
    let shown = start_threads(user, &terminal, &session, console_log(lab, demo))?;
    let outcome = Machine::new(lab, emulator, spec).boot_watched(
        &demo.name,
        &Medium::Iso(iso),
        demo.echo,
        |line| {
            if line.text.starts_with(SHADOW_END) {
                session.set_served();
            }
            if line.label == HYPERVISOR && line.text.ends_with("halted") {
                return ControlFlow::Break(Stop::Halted);
            }
            ControlFlow::Continue(())
        },
        || {
            let ended = signal().map(Ended::Signal).or_else(|| session.ended());
            ended.map_or(ControlFlow::Continue(()), |ended| {
                ControlFlow::Break(Stop::Ended(ended))
            })
        },
    );
    session.close();
    // The last one that has it open: the thread reads what is left, and an end.
    drop(terminal);
    ensure!(
        shown.join().is_ok(),
        "the thread that shows NimbOS's console panicked"
    );
    judge(outcome?, &session)
}

fn judge(outcome: RunOutcome<Stop>, session: &Session) -> Result<Ended> {
    let folder = outcome.folder.display();
    let words = match (outcome.end, session.told_status()) {
        (End::Stopped(Stop::Ended(ended)), _) => return Ok(ended),
        // Linux was faster at switching off than the lab at looking.
        (End::ShutDown, Some(status)) => return Ok(Ended::Shell(status)),
        (End::ShutDown, None) => "the machine went off".to_owned(),
        (End::Stopped(Stop::Halted), _) => "the hypervisor halted the machine".to_owned(),
        (End::TimeLimit, _) => "the time limit was reached".to_owned(),
        (End::TripleFault(text), _) => format!("a processor had a triple fault: {text}"),
        (End::Panicked(text), _) => format!("the emulator gave up: {text}"),
        (End::Died(status), _) => format!("the emulator died: {status}"),
    };
    bail!("{words} before the shell had ended; files in {folder}")
}

/// Returns where NimbOS's console is kept.
pub fn console_log(lab: &Lab, demo: &Demo) -> PathBuf {
    lab.run_dir(&demo.name).join(CONSOLE_LOG)
}

/// Starts the threads between `user` and the terminal; returns the one that shows what NimbOS says, which ends when
/// nobody has the terminal open any more.
fn start_threads(
    user: User,
    terminal: &PseudoTerminal,
    session: &Arc<Session>,
    log: PathBuf,
) -> Result<JoinHandle<()>> {
    let User {
        input,
        output,
        pace,
    } = user;
    let is_terminal = pace == Pace::Terminal;
    let (reader, writer) = (terminal.master()?, terminal.master()?);
    let typed = Arc::clone(session);
    // Nobody waits for this one: it may be in a read that never ends.
    thread::spawn(move || type_in(input, writer, is_terminal, &typed));
    let session = Arc::clone(session);
    Ok(thread::spawn(move || {
        show(reader, output, &log, is_terminal, &session);
    }))
}

/// Hands on what is typed until the session is over.
fn type_in(mut input: Box<dyn Read + Send>, mut to: File, is_terminal: bool, session: &Session) {
    let mut keys = Keys::new(is_terminal);
    let mut bytes = [0; 256];
    while let Ok(count @ 1..) = input.read(&mut bytes) {
        for key in bytes[..count].iter().filter_map(|&byte| keys.press(byte)) {
            let is_over = match key {
                Key::Byte(byte) => !session.wait_for_room(byte) || to.write_all(&[byte]).is_err(),
                Key::Quit => {
                    session.quit();
                    true
                }
            };
            if is_over {
                return;
            }
        }
    }
    if session.wait_for_room(keys::END_OF_FILE) {
        // If it cannot be written, the machine is off, which is noticed elsewhere.
        let _ = to.write_all(&[keys::END_OF_FILE]);
    }
}

/// Shows what NimbOS says, and keeps it, until nobody has the terminal open any more.
fn show(
    mut from: File,
    mut output: Box<dyn Write + Send>,
    log: &Path,
    is_terminal: bool,
    session: &Session,
) {
    let mut log_file = None;
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        let said = &bytes[..count];
        session.hear(said);
        // Made now: the run empties its folder when it begins. What cannot be kept or shown is no reason to end a run.
        let file = log_file.get_or_insert_with(|| File::create(log).ok());
        let _ = file.as_mut().map_or(Ok(()), |file| file.write_all(said));
        let shown: Vec<u8> = said
            .iter()
            .copied()
            .filter(|&byte| is_terminal || byte != b'\r')
            .collect();
        let _ = output.write_all(&shown).and_then(|()| output.flush());
    }
}

/// Has the cell start a shell on its own console.
fn with_shell(mut system: System) -> Result<System> {
    let cell = system.cells.iter_mut().find(|cell| &*cell.name == CELL);
    let cell = cell.with_context(|| format!("the configuration has no cell '{CELL}'"))?;
    cell.cmdline = CommandLine::from(COMMAND_LINE)
        .ok()
        .context("the command line is too long")?;
    Ok(system)
}

/// Connects the cell's console with the terminal.
fn on_terminal(mut spec: MachineSpec, terminal: &PseudoTerminal) -> Result<MachineSpec> {
    let mut consoles = spec.consoles.iter_mut();
    let console = consoles.find(|console| console.label == CELL);
    let console = console.with_context(|| format!("cell '{CELL}' has no console"))?;
    console.terminal = Some(terminal.path().to_owned());
    Ok(spec)
}
