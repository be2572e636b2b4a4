// SPDX-License-Identifier: MIT OR Apache-2.0
//! User interrupts and alarms of NimbOS, judged by programs of its own, alone on the machine.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::cells::{Cells, GUEST_BASE, Mode, Slot};
use crate::scenario::{Seen, Trial, Wanted, value};

/// Far more than it takes on a busy machine.
const TIME_LIMIT: Duration = Duration::from_secs(1800);
/// Sends between two processes, and between two threads.
const SENDS: u64 = 100_000;
/// Tests of `uintrtest`.
const UINTR_TESTS: usize = 17;
/// Tests of `alarmtest`, each in two forms.
const ALARM_TESTS: usize = 18;

/// User interrupts between threads and processes, in x2APIC mode.
pub fn x2apic(trial: &Trial) -> Result<()> {
    user_interrupts(trial, Mode::X2apic)
}

/// User interrupts between threads and processes, in xAPIC mode.
pub fn xapic(trial: &Trial) -> Result<()> {
    user_interrupts(trial, Mode::Xapic)
}

fn user_interrupts(trial: &Trial, mode: Mode) -> Result<()> {
    let seen = run(trial, mode, &format!("uintrtest sends={SENDS}"))?;
    let line = seen.find("a", "uintrtest: PASS")?;
    ensure!(value(line, "tests")? == UINTR_TESTS.to_string(), "{line}");
    let line = seen.find("a", "uintrtest: processes sends=")?;
    ensure!(value(line, "sends")? == SENDS.to_string(), "{line}");
    Ok(())
}

/// Alarms in both forms.
pub fn alarms(trial: &Trial) -> Result<()> {
    let seen = run(trial, Mode::X2apic, "alarmtest")?;
    let line = seen.find("a", "alarmtest: PASS")?;
    ensure!(value(line, "tests")? == ALARM_TESTS.to_string(), "{line}");
    let line = seen.find("a", "alarmtest: cost")?;
    for key in ["tick", "handler", "interrupt"] {
        ensure!(value(line, key)?.parse::<u32>()? > 0, "{line}");
    }
    Ok(())
}

/// Boots NimbOS with this program and its arguments, which end well.
fn run(trial: &Trial, mode: Mode, init: &str) -> Result<Seen> {
    let memory = format!("[{{ base = 0x3080_0000, size = \"32M\", guest = {GUEST_BASE:#x} }}]");
    let more = format!("initrd = \"nimbos-apps\"\ncmdline = \"init={init}\"");
    let cells = Cells::new(mode, 1).elf(Slot::A, &[0], "nimbos", &memory, &more);
    let programs = &trial.bench.programs;
    let mut scenario = trial
        .scenario(cells.toml())?
        .module("nimbos", &programs.nimbos)
        .module("nimbos-apps", &programs.nimbos_apps)
        .cpus(1);
    scenario.spec.time_limit = TIME_LIMIT;
    let seen = scenario.boot_until(&[Wanted::line("a", "init exited with status")])?;
    seen.find("a", "init exited with status 0")
        .with_context(|| format!("'{init}' failed"))?;
    Ok(seen)
}
