// SPDX-License-Identifier: MIT OR Apache-2.0
//! User interrupts and alarms of NimbOS, judged by programs of its own, alone on the machine.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::cells::{Cells, GUEST_BASE, Mode, Slot};
use crate::scenario::{Seen, Trial, Wanted, value};

/// Far more than it takes on a busy machine.
const TIME_LIMIT: Duration = Duration::from_secs(1800);
/// Sends between two processes, between two threads that wait, and between two that run.
const SENDS: u64 = 100_000;
/// The same on two CPUs, where the emulator takes twice as long.
const SENDS_TWO_CPUS: u64 = 20_000;
/// Where a second CPU begins, and a region for the archive, which the hypervisor puts into the last one.
const START_PAGE: &str = ", { base = 0x3380_0000, size = \"4K\", guest = 0x8000 }, \
                          { base = 0x3390_0000, size = \"8M\", guest = 0x4600_0000 }";
/// Tests of `uintrtest`.
const UINTR_TESTS: usize = 23;
/// Tests of `alarmtest`, each in two forms.
const ALARM_TESTS: usize = 18;

/// User interrupts between threads and processes, in x2APIC mode.
pub fn x2apic(trial: &Trial) -> Result<()> {
    user_interrupts(trial, Mode::X2apic, &[0])
}

/// User interrupts between threads and processes, in xAPIC mode.
pub fn xapic(trial: &Trial) -> Result<()> {
    user_interrupts(trial, Mode::Xapic, &[0])
}

/// The same with threads on two CPUs.
pub fn two_cpus(trial: &Trial) -> Result<()> {
    user_interrupts(trial, Mode::X2apic, &[0, 1])
}

/// The same with threads on two CPUs, in xAPIC mode.
pub fn two_cpus_xapic(trial: &Trial) -> Result<()> {
    user_interrupts(trial, Mode::Xapic, &[0, 1])
}

fn user_interrupts(trial: &Trial, mode: Mode, cpus: &[u32]) -> Result<()> {
    let sends = match cpus.len() {
        1 => SENDS,
        _ => SENDS_TWO_CPUS,
    };
    let seen = run(trial, mode, cpus, &format!("uintrtest sends={sends}"))?;
    let line = seen.find("a", "uintrtest: PASS")?;
    ensure!(value(line, "tests")? == UINTR_TESTS.to_string(), "{line}");
    for test in ["processes", "running"] {
        let line = seen.find("a", &format!("uintrtest: {test} sends="))?;
        ensure!(value(line, "sends")? == sends.to_string(), "{line}");
    }
    let line = seen.find("a", "uintrtest: running sends=")?;
    ensure!(
        value(line, "apart")? == (cpus.len() > 1).to_string(),
        "{line}"
    );
    Ok(())
}

/// Alarms in both forms.
pub fn alarms(trial: &Trial) -> Result<()> {
    alarms_on(trial, &[0])
}

/// Alarms in both forms, on two CPUs.
pub fn alarms_two_cpus(trial: &Trial) -> Result<()> {
    alarms_on(trial, &[0, 1])
}

fn alarms_on(trial: &Trial, cpus: &[u32]) -> Result<()> {
    let seen = run(trial, Mode::X2apic, cpus, "alarmtest")?;
    let line = seen.find("a", "alarmtest: PASS")?;
    ensure!(value(line, "tests")? == ALARM_TESTS.to_string(), "{line}");
    let line = seen.find("a", "alarmtest: cost")?;
    for key in ["tick", "handler", "interrupt"] {
        ensure!(value(line, key)?.parse::<u32>()? > 0, "{line}");
    }
    Ok(())
}

/// Boots NimbOS with this program and its arguments, which end well.
fn run(trial: &Trial, mode: Mode, cpus: &[u32], init: &str) -> Result<Seen> {
    let low = match cpus.len() {
        1 => "",
        _ => START_PAGE,
    };
    let memory =
        format!("[{{ base = 0x3080_0000, size = \"32M\", guest = {GUEST_BASE:#x} }}{low}]");
    let more = format!("initrd = \"nimbos-apps\"\ncmdline = \"init={init}\"");
    let count = u32::try_from(cpus.len())?;
    let cells = Cells::new(mode, count).elf(Slot::A, cpus, "nimbos", &memory, &more);
    let programs = &trial.bench.programs;
    let mut scenario = trial
        .scenario(cells.toml())?
        .module("nimbos", &programs.nimbos)
        .module("nimbos-apps", &programs.nimbos_apps)
        .cpus(count);
    scenario.spec.time_limit = TIME_LIMIT;
    let seen = scenario.boot_until(&[Wanted::line("a", "init exited with status")])?;
    seen.find("a", &format!(", {count} CPU(s), "))?;
    seen.find("a", "init exited with status 0")
        .with_context(|| format!("'{init}' failed"))?;
    Ok(seen)
}
