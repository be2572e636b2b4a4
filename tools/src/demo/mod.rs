// SPDX-License-Identifier: MIT OR Apache-2.0
//! The demo: a stock Linux and NimbOS in two cells, system calls crossing by SENDUIPI; and its verdict.

mod judge;

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use cell_config::System;

use crate::build::Freestanding;
use crate::command::say;
use crate::emulator::Emulator;
use crate::image::{BootImage, demo_initramfs};
use crate::linux::Linux;
use crate::machine::{Console, Firmware, Machine, MachineSpec, Medium};
use crate::run::{Echo, End, RunOutcome};
use crate::{Lab, build, kernel_module, layout, setup};

pub use judge::Verdict;

/// Label of the hypervisor's console.
pub const HYPERVISOR: &str = "isthmus";
/// Instructions per emulated second. With more, Linux's waits for absent devices take longer; with fewer, its timer
/// interrupts take the larger part of the time.
const IPS: u64 = 20_000_000;
const MIB: u64 = 1 << 20;
/// The emulator's memory is a multiple of this.
const MEMORY_STEP_MIB: u64 = 256;
/// UEFI keeps memory for itself at the top, which the configuration must not claim.
const UEFI_MEMORY_MIB: u64 = 256;

/// How the demo is run.
#[derive(Debug, Clone)]
pub struct Demo {
    /// The configuration of the cells, TOML, with cells named `linux` and `nimbos`.
    pub config: PathBuf,
    /// By BIOS or UEFI.
    pub firmware: Firmware,
    /// Instructions that a processor in HLT counts for in each turn of the others.
    pub quantum: u32,
    /// When the run is given up.
    pub time_limit: Duration,
    /// Whether the consoles are shown.
    pub echo: Echo,
    /// What to call the run.
    pub name: String,
}

/// What every run of the demo boots.
#[derive(Debug, Clone)]
pub struct Programs {
    freestanding: Freestanding,
    linux: Linux,
    initrd: PathBuf,
    /// The driver.
    pub module: PathBuf,
    /// The shadow process.
    pub shadow: PathBuf,
}

impl Programs {
    /// Builds them: hypervisor, NimbOS, and the Linux cell's initial ramdisk with driver and shadow process.
    pub fn build(lab: &Lab, linux: Linux) -> Result<Self> {
        let freestanding = build::freestanding(lab)?;
        let shadow = build::shadow(lab)?;
        say("building the driver against the unpacked headers");
        let side = lab.root().join("guest-linux-shadow");
        let module = kernel_module::build(lab, &linux, &side.join("driver"))?;
        let programs = Self {
            freestanding,
            linux,
            initrd: PathBuf::new(),
            module,
            shadow,
        };
        programs.with_linux_files(lab, "demo", &[])
    }

    /// Gives the Linux cell these files too, each with its path there (without the first slash). `name` names the initial
    /// ramdisk in the lab.
    pub fn with_linux_files(
        mut self,
        lab: &Lab,
        name: &str,
        files: &[(&str, PathBuf)],
    ) -> Result<Self> {
        let init_path = lab.root().join("guest-linux-shadow/demo/init");
        let init = fs::read_to_string(&init_path)
            .with_context(|| format!("cannot read {}", init_path.display()))?;
        self.initrd = lab.image_path(&format!("{name}.initrd"));
        demo_initramfs(Some(&self.module), Some(&self.shadow), &init, files)?
            .write_gz(&self.initrd)?;
        Ok(self)
    }

    /// Puts them and a configuration on the ISO of a run.
    pub(crate) fn iso(&self, lab: &Lab, demo: &Demo, system: &System) -> Result<PathBuf> {
        let config = lab.image_path(&format!("{}.cells", demo.name));
        layout::write_whole(&config, &cell_config::encode(system))?;
        let iso = lab.image_path(&format!("{}.iso", demo.name));
        let console = system
            .hypervisor
            .console
            .map(|port| format!("console={port:#x}"));
        BootImage::new(&self.freestanding.hypervisor)
            .kernel_args(console.unwrap_or_default())
            .module("config", &config)
            .module("linux", &self.linux.image)
            .module("initrd", &self.initrd)
            .module("nimbos", &self.freestanding.nimbos)
            .module("nimbos-apps", &self.freestanding.nimbos_apps)
            .build(demo.firmware, &iso)?;
        Ok(iso)
    }
}

/// Sets everything up, builds everything, boots it, and judges what the consoles said.
pub fn run(lab: &Lab, demo: &Demo) -> Result<Verdict> {
    let system = read_config(&demo.config)?;
    let (emulator, linux) = setup::all(lab)?;
    let programs = Programs::build(lab, linux)?;
    say(format!(
        "booting {} CPUs by {:?}; Linux takes about half a minute to its first program",
        system.machine.cpus.len(),
        demo.firmware
    ));
    let (verdict, ending) = boot(lab, &emulator, &programs, demo)?;
    say(ending);
    Ok(verdict)
}

/// Boots the demo once; returns the verdict and how the run ended, in words.
pub fn boot(
    lab: &Lab,
    emulator: &Emulator,
    programs: &Programs,
    demo: &Demo,
) -> Result<(Verdict, String)> {
    let system = read_config(&demo.config)?;
    let iso = programs.iso(lab, demo, &system)?;
    let machine = Machine::new(lab, emulator, machine_spec(demo, &system)?);
    let outcome = machine.boot::<()>(&demo.name, &Medium::Iso(iso), demo.echo, |line| {
        // Nothing follows this line: without it, a refused start would last until the time limit.
        if line.text.ends_with("halted") {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })?;
    Ok((Verdict::of(&outcome, &system), ending(&outcome)))
}

/// Reads and checks a configuration.
pub fn read_config(path: &Path) -> Result<System> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    match cell_config_toml::from_toml(&text) {
        Ok(system) => Ok(system),
        Err(error) => bail!("{}: {error}", path.display()),
    }
}

/// The emulated machine for a configuration: as many CPUs, as much memory, and the consoles that it names.
pub(crate) fn machine_spec(demo: &Demo, system: &System) -> Result<MachineSpec> {
    let cells = system
        .cells
        .iter()
        .map(|cell| (cell.console, cell.name.as_str()));
    let owners = [(system.hypervisor.console, HYPERVISOR)]
        .into_iter()
        .chain(cells);
    let consoles = owners
        .filter_map(|(port, label)| Some(com_number(port?).map(|com| Console::new(com, label))))
        .collect::<Result<Vec<_>>>()?;
    let end = system
        .machine
        .memory
        .iter()
        .map(|region| region.end())
        .max()
        .unwrap_or(0);
    let for_firmware = match demo.firmware {
        Firmware::Bios => 0,
        Firmware::Uefi => UEFI_MEMORY_MIB,
    };
    let memory_mib = end.div_ceil(MEMORY_STEP_MIB * MIB) * MEMORY_STEP_MIB + for_firmware;
    Ok(MachineSpec {
        cpus: u32::try_from(system.machine.cpus.len())?,
        memory_mib: u32::try_from(memory_mib)?,
        ips: IPS,
        quantum: demo.quantum,
        firmware: demo.firmware,
        consoles,
        time_limit: demo.time_limit,
        ..MachineSpec::default()
    })
}

fn com_number(port: u16) -> Result<u8> {
    match port {
        0x3f8 => Ok(1),
        0x2f8 => Ok(2),
        0x3e8 => Ok(3),
        0x2e8 => Ok(4),
        _ => bail!(
            "the emulator has no serial port at {port:#x}: COM1 to COM4 are at 3f8H, 2f8H, 3e8H, 2e8H"
        ),
    }
}

fn ending(outcome: &RunOutcome<()>) -> String {
    let words = match &outcome.end {
        End::ShutDown => "the machine went off".to_owned(),
        End::Stopped(()) => "the hypervisor halted the machine".to_owned(),
        End::TimeLimit => "the time limit was reached".to_owned(),
        End::TripleFault(text) => format!("a processor had a triple fault: {text}"),
        End::Panicked(text) => format!("the emulator gave up: {text}"),
        End::Died(status) => format!("the emulator died: {status}"),
    };
    format!(
        "{words} after {:.1} s; files in {}",
        outcome.seconds,
        outcome.folder.display()
    )
}
