// SPDX-License-Identifier: MIT OR Apache-2.0
//! The main job, judged by its own verdict: Linux and NimbOS in two cells, system calls crossing by SENDUIPI.

use std::time::Duration;

use anyhow::{Result, bail};
use lab::demo::{self, Demo};
use lab::machine::Firmware;
use lab::run::Echo;

use crate::scenario::Trial;

const TIME_LIMIT: Duration = Duration::from_secs(900);
/// The emulator's own default.
const QUANTUM: u32 = 16;

/// As `make run` does it.
pub fn main_job(trial: &Trial) -> Result<()> {
    passes(trial, "emulator-demo", Firmware::Bios, QUANTUM)
}

/// The same with CPUs that take turns more often.
pub fn finer_interleaving(trial: &Trial) -> Result<()> {
    passes(trial, "emulator-demo", Firmware::Bios, 5)
}

/// The same, started by UEFI.
pub fn by_uefi(trial: &Trial) -> Result<()> {
    passes(trial, "emulator-demo", Firmware::Uefi, QUANTUM)
}

/// With two CPUs for Linux.
pub fn two_linux_cpus(trial: &Trial) -> Result<()> {
    passes(trial, "emulator-demo-smp", Firmware::Bios, QUANTUM)
}

/// With two CPUs for NimbOS.
pub fn two_nimbos_cpus(trial: &Trial) -> Result<()> {
    passes(trial, "emulator-demo-nimbos-smp", Firmware::Bios, QUANTUM)
}

/// With all CPUs in xAPIC mode.
pub fn xapic(trial: &Trial) -> Result<()> {
    passes(trial, "emulator-demo-xapic", Firmware::Bios, QUANTUM)
}

/// With cells that do not trust each other.
pub fn filtered(trial: &Trial) -> Result<()> {
    passes(trial, "emulator-demo-filtered", Firmware::Bios, QUANTUM)
}

fn passes(trial: &Trial, config: &str, firmware: Firmware, quantum: u32) -> Result<()> {
    let bench = trial.bench;
    let demo = Demo {
        config: bench.lab.root().join(format!("configs/{config}.toml")),
        firmware,
        quantum,
        time_limit: TIME_LIMIT,
        echo: Echo::Quiet,
        name: trial.run_name(),
    };
    let (verdict, ending) =
        demo::boot(&bench.lab, &bench.emulator, &bench.demo_programs()?, &demo)?;
    if !verdict.passed() {
        bail!("{ending}\n{verdict}");
    }
    Ok(())
}
