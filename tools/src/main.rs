// SPDX-License-Identifier: MIT OR Apache-2.0
//! `lab`: set up the emulated machine, build for it, boot it.

use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Parser, Subcommand};
use lab::demo::{self, Demo};
use lab::image::BootImage;
use lab::machine::{Console, Firmware, Machine, MachineSpec, Medium};
use lab::run::{Echo, End, RunOutcome};
use lab::shell::{self, Ended, Pace, RawTerminal, User};
use lab::{Lab, kernel_module, setup};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

const TIME_LIMIT_EXIT: u8 = 124;

/// The lab: the emulated machine on which Isthmus runs every day.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// The workspace, when this program was moved away from it.
    #[arg(long, global = true)]
    root: Option<PathBuf>,
    #[command(subcommand)]
    command: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Make everything ready: host packages, emulator, self-test, Linux. Does only what is not done yet.
    Setup,
    /// Test the emulator again.
    SelfTest,
    /// The main job: boot a stock Linux and NimbOS in two cells, and check that system calls cross. Sets up and
    /// builds whatever is missing. Exits with 0 only when every check held.
    Demo(DemoOptions),
    /// The demo's cells with a shell: NimbOS's console is this terminal, or standard input and output. Ends with the
    /// shell's status; `^A x` ends it at any time.
    Shell(ShellOptions),
    /// Put a Multiboot2 kernel and modules on an ISO and boot it. Exits with 0 when the guest switched
    /// the machine off or the awaited text came, 1 when something failed, 124 at the time limit.
    Boot(BootOptions),
    /// Build the kernel module in a folder; prints where it is.
    KernelModule {
        /// The folder with the sources and the Kbuild file.
        folder: PathBuf,
    },
}

#[derive(Args)]
struct DemoOptions {
    /// The cells: a TOML file with cells named linux and nimbos [default: configs/emulator-demo.toml].
    #[arg(long)]
    config: Option<PathBuf>,
    /// Start by UEFI, not by the BIOS.
    #[arg(long)]
    uefi: bool,
    /// Instructions that a processor in HLT counts for in each turn of the others.
    #[arg(long, default_value_t = 16)]
    quantum: u32,
    /// Wall-clock seconds after which the machine is stopped.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    time_limit: u64,
    /// What to call the run: the folder of its files.
    #[arg(long, default_value = "demo")]
    name: String,
}

#[derive(Args)]
struct ShellOptions {
    /// The cells: a TOML file with cells named linux and nimbos [default: configs/emulator-demo.toml].
    #[arg(long)]
    config: Option<PathBuf>,
    /// Start by UEFI, not by the BIOS.
    #[arg(long)]
    uefi: bool,
    /// Wall-clock seconds after which the machine is stopped.
    #[arg(long, value_name = "SECONDS", default_value_t = 86_400)]
    time_limit: u64,
    /// A file of this machine that the Linux cell has as /opt/NAME, a program for NimbOS for instance. Can be given many times.
    #[arg(long = "file", value_name = "PATH")]
    files: Vec<PathBuf>,
    /// What to call the run: the folder of its files.
    #[arg(long, default_value = "shell")]
    name: String,
}

#[derive(Args)]
struct BootOptions {
    /// The Multiboot2 ELF.
    #[arg(long)]
    kernel: PathBuf,
    /// The kernel's command line.
    #[arg(long, default_value = "")]
    kernel_args: String,
    /// A module: its name and its file. Can be given many times.
    #[arg(long = "module", value_name = "NAME=PATH", value_parser = pair)]
    modules: Vec<(String, String)>,
    /// Processors.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    cpus: u32,
    /// Memory in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 256)]
    memory: u32,
    /// Emulated instructions per emulated second.
    #[arg(long, default_value_t = 10_000_000)]
    ips: u64,
    /// Instructions that a processor in HLT counts for in each turn of the others.
    #[arg(long, default_value_t = 16)]
    quantum: u32,
    /// Start by UEFI, not by the BIOS.
    #[arg(long)]
    uefi: bool,
    /// A feature that the processor has beyond its model. Can be given many times.
    #[arg(long = "add-feature", value_name = "FEATURE")]
    add_features: Vec<String>,
    /// A feature of the processor to leave out. Can be given many times.
    #[arg(long = "exclude-feature", value_name = "FEATURE")]
    exclude_features: Vec<String>,
    /// A serial port to follow, com1 to com4, and what to call it; com1 alone when none is given.
    #[arg(long = "label", value_name = "COM=LABEL", value_parser = console)]
    consoles: Vec<Console>,
    /// Follow port 0xe9 too.
    #[arg(long)]
    e9: bool,
    /// Wall-clock seconds after which the machine is stopped.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    time_limit: u64,
    /// Stop, content, when a line on any console has this text.
    #[arg(long, value_name = "TEXT")]
    until: Option<String>,
    /// What to call the run: the folder of its files.
    #[arg(long, default_value = "boot")]
    name: String,
}

fn main() -> ExitCode {
    match perform(Options::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(options: Options) -> Result<ExitCode> {
    let lab = match &options.root {
        Some(root) => Lab::at(root)?,
        None => Lab::open()?,
    };
    match options.command {
        Action::Setup => {
            let (_, linux) = setup::all(&lab)?;
            eprintln!(
                "[lab] ready in {}, with Linux {}",
                lab.dir().display(),
                linux.release
            );
        }
        Action::SelfTest => drop(setup::self_test(&lab)?),
        Action::Demo(options) => return demo(&lab, options),
        Action::Shell(options) => return shell(&lab, options),
        Action::Boot(options) => return boot(&lab, options),
        Action::KernelModule { folder } => {
            let module = kernel_module::build(&lab, &setup::linux(&lab)?, &folder)?;
            println!("{}", module.display());
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn demo(lab: &Lab, options: DemoOptions) -> Result<ExitCode> {
    let default = || lab.root().join("configs/emulator-demo.toml");
    let demo = Demo {
        config: options.config.unwrap_or_else(default),
        firmware: firmware(options.uefi),
        quantum: options.quantum,
        time_limit: Duration::from_secs(options.time_limit),
        echo: Echo::Live,
        name: options.name,
    };
    let verdict = demo::run(lab, &demo)?;
    println!("{verdict}");
    Ok(if verdict.passed() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn shell(lab: &Lab, options: ShellOptions) -> Result<ExitCode> {
    let default = || lab.root().join("configs/emulator-demo.toml");
    let demo = Demo {
        config: options.config.unwrap_or_else(default),
        firmware: firmware(options.uefi),
        quantum: 16,
        time_limit: Duration::from_secs(options.time_limit),
        echo: Echo::Quiet,
        name: options.name,
    };
    let files = linux_files(&options.files)?;
    let (emulator, linux) = setup::all(lab)?;
    let mut programs = demo::Programs::build(lab, linux)?;
    if !files.is_empty() {
        let files: Vec<_> = files
            .iter()
            .map(|(path, from)| (path.as_str(), from.clone()))
            .collect();
        programs = programs.with_linux_files(lab, &demo.name, &files)?;
    }
    let folder = lab.run_dir(&demo.name);
    eprintln!(
        "[lab] booting; other consoles: {0}/com1.log (Linux), {0}/com2.log (hypervisor)\n\
         [lab] Linux takes about half a minute until it serves; ^A x ends everything",
        folder.display()
    );
    let signals = Signals::register()?;
    let raw = RawTerminal::enter()?;
    let user = User {
        input: Box::new(io::stdin()),
        output: Box::new(io::stdout()),
        pace: if raw.is_some() {
            Pace::Terminal
        } else {
            Pace::Lines
        },
    };
    let ended = shell::boot(lab, &emulator, &programs, &demo, user, || signals.seen());
    drop(raw);
    // NimbOS's last line may have no end.
    eprintln!(
        "\n[lab] over; NimbOS's console: {}",
        shell::console_log(lab, &demo).display()
    );
    Ok(match ended? {
        Ended::Shell(status) => ExitCode::from(status as u8),
        Ended::Quit => ExitCode::SUCCESS,
        Ended::Signal(signal) => ExitCode::from((128 + signal) as u8),
    })
}

/// Returns where files of this machine are in the Linux cell, and where they are here.
fn linux_files(files: &[PathBuf]) -> Result<Vec<(String, PathBuf)>> {
    let place = |path: &PathBuf| {
        ensure!(path.is_file(), "{}: no such file", path.display());
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.with_context(|| format!("{}: not a UTF-8 name", path.display()))?;
        Ok((format!("opt/{name}"), path.clone()))
    };
    files.iter().map(place).collect()
}

/// Signals that would end the lab with the terminal in raw mode.
struct Signals {
    seen: Vec<(i32, Arc<AtomicBool>)>,
}

impl Signals {
    fn register() -> Result<Self> {
        let register = |signal| {
            let seen = Arc::new(AtomicBool::new(false));
            signal_hook::flag::register(signal, Arc::clone(&seen))
                .with_context(|| format!("cannot wait for signal {signal}"))?;
            Ok((signal, seen))
        };
        let seen = [SIGHUP, SIGINT, SIGTERM].into_iter().map(register);
        Ok(Self {
            seen: seen.collect::<Result<_>>()?,
        })
    }

    /// Returns one that has come.
    fn seen(&self) -> Option<i32> {
        let mut seen = self.seen.iter();
        let found = seen.find(|(_, seen)| seen.load(Ordering::Relaxed));
        found.map(|&(signal, _)| signal)
    }
}

fn firmware(uefi: bool) -> Firmware {
    if uefi { Firmware::Uefi } else { Firmware::Bios }
}

fn boot(lab: &Lab, options: BootOptions) -> Result<ExitCode> {
    let emulator = setup::emulator(lab)?;
    let firmware = firmware(options.uefi);
    let mut image = BootImage::new(&options.kernel).kernel_args(&options.kernel_args);
    for (name, path) in &options.modules {
        image = image.module(name, path);
    }
    let iso = lab.image_path(&format!("{}.iso", options.name));
    image.build(firmware, &iso)?;
    let until = options.until.clone();
    let name = options.name.clone();
    let outcome = Machine::new(lab, &emulator, spec(options, firmware)).boot(
        &name,
        &Medium::Iso(iso),
        Echo::Live,
        |line| match &until {
            Some(text) if line.text.contains(text) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        },
    )?;
    Ok(report(&outcome, until.as_deref()))
}

fn spec(options: BootOptions, firmware: Firmware) -> MachineSpec {
    let mut consoles = options.consoles;
    if consoles.is_empty() {
        consoles.push(Console::new(1, "com1"));
    }
    MachineSpec {
        cpus: options.cpus,
        memory_mib: options.memory,
        ips: options.ips,
        quantum: options.quantum,
        firmware,
        add_features: options.add_features,
        exclude_features: options.exclude_features,
        consoles,
        e9: options.e9,
        time_limit: Duration::from_secs(options.time_limit),
    }
}

/// Says how the run ended, and turns it into an exit status.
fn report(outcome: &RunOutcome<()>, until: Option<&str>) -> ExitCode {
    let (words, code) = match &outcome.end {
        End::Stopped(()) => ("the awaited text came".to_owned(), ExitCode::SUCCESS),
        End::ShutDown if until.is_none() => {
            ("the guest switched off".to_owned(), ExitCode::SUCCESS)
        }
        End::ShutDown => (
            "the guest switched off, the awaited text never came".to_owned(),
            ExitCode::FAILURE,
        ),
        End::TripleFault(words) => (
            format!("a processor had a triple fault: {words}"),
            ExitCode::FAILURE,
        ),
        End::Panicked(reason) => (format!("the emulator gave up: {reason}"), ExitCode::FAILURE),
        End::Died(status) => (format!("the emulator died: {status}"), ExitCode::FAILURE),
        End::TimeLimit => (
            "the time limit was reached".to_owned(),
            ExitCode::from(TIME_LIMIT_EXIT),
        ),
    };
    eprintln!(
        "[lab] {words} after {:.1} s; files in {}",
        outcome.seconds,
        outcome.folder.display()
    );
    if !matches!(outcome.end, End::Stopped(()) | End::ShutDown) {
        eprintln!(
            "[lab] the end of the emulator's log:\n{}",
            outcome.log_tail.join("\n")
        );
    }
    code
}

fn pair(text: &str) -> Result<(String, String)> {
    let (name, value) = text.split_once('=').context("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn console(text: &str) -> Result<Console> {
    let (port, label) = pair(text)?;
    match port.as_str() {
        "com1" => Ok(Console::new(1, label)),
        "com2" => Ok(Console::new(2, label)),
        "com3" => Ok(Console::new(3, label)),
        "com4" => Ok(Console::new(4, label)),
        _ => bail!("the serial ports are com1 to com4, not {port}"),
    }
}
