// SPDX-License-Identifier: MIT OR Apache-2.0
//! NimbOS alone in its cell: its programs that test it.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::cells::{Cells, GUEST_BASE, Mode, Slot};
use crate::scenario::{Trial, Wanted};

/// Enough for a full table of processes.
const MEMORY: &str = "48M";
/// Where further CPUs begin, and a region for the archive, which the hypervisor puts into the last one.
const START_PAGE: &str = ", { base = 0x3380_0000, size = \"4K\", guest = 0x8000 }, \
                          { base = 0x3390_0000, size = \"4M\", guest = 0x4600_0000 }";
/// Far more than it takes on a busy machine.
const TIME_LIMIT: Duration = Duration::from_secs(1800);

/// All tests of the kernel's calls, on one CPU.
pub fn usertests(trial: &Trial) -> Result<()> {
    run(trial, Mode::X2apic, &[0], &[])
}

/// The same with a processor that has XSAVE alone.
pub fn usertests_without_xsaveopt(trial: &Trial) -> Result<()> {
    run(trial, Mode::X2apic, &[0], &["xsaveopt"])
}

/// On two CPUs.
pub fn usertests_two_cpus(trial: &Trial) -> Result<()> {
    run(trial, Mode::X2apic, &[0, 1], &[])
}

/// On two CPUs, with APICs in memory.
pub fn usertests_two_cpus_xapic(trial: &Trial) -> Result<()> {
    run(trial, Mode::Xapic, &[0, 1], &[])
}

fn run(trial: &Trial, mode: Mode, cpus: &[u32], without: &[&str]) -> Result<()> {
    let low = match cpus.len() {
        1 => "",
        _ => START_PAGE,
    };
    let memory =
        format!("[{{ base = 0x3080_0000, size = \"{MEMORY}\", guest = {GUEST_BASE:#x} }}{low}]");
    let more = "initrd = \"nimbos-apps\"\ncmdline = \"init=usertests\"";
    let count = u32::try_from(cpus.len())?;
    let cells = Cells::new(mode, count).elf(Slot::A, cpus, "nimbos", &memory, more);
    let programs = &trial.bench.programs;
    let mut scenario = trial
        .scenario(cells.toml())?
        .module("nimbos", &programs.nimbos)
        .module("nimbos-apps", &programs.nimbos_apps)
        .cpus(count);
    scenario.spec.time_limit = TIME_LIMIT;
    scenario.spec.exclude_features = without.iter().map(|&name| name.to_owned()).collect();
    let seen = scenario.boot_until(&[Wanted::line("a", "init exited with status")])?;
    seen.find("a", &format!(", {count} CPU(s), "))?;
    let verdict = seen.find("a", "usertests: ")?;
    let passed: usize = verdict
        .strip_prefix("usertests: ")
        .and_then(|rest| rest.strip_suffix(" passed, 0 failed"))
        .with_context(|| format!("not all passed: {verdict}"))?
        .parse()?;
    let said = seen
        .console("a")
        .filter(|line| line.starts_with("ok "))
        .count();
    ensure!(
        passed == said && passed >= 60,
        "{said} tests said that they passed: {verdict}"
    );
    seen.refute("a", "FAIL ")?;
    seen.find("a", "init exited with status 0")?;
    Ok(())
}

/// CPUs that have nothing to run are halted. The emulator writes down what its processors do when it is stopped; since that
/// may find one with its timer's interrupt, there are several looks.
pub fn idle(trial: &Trial) -> Result<()> {
    const LOOKS: u32 = 5;
    // A neighbour counts the time: by its last line NimbOS's only program has been asleep for long.
    const LINES: usize = 20;
    let memory = format!(
        "[{{ base = 0x3800_0000, size = \"32M\", guest = {GUEST_BASE:#x} }}, \
         {{ base = 0x3a00_0000, size = \"4K\", guest = 0x8000 }}, \
         {{ base = 0x3a10_0000, size = \"4M\", guest = 0x4600_0000 }}]"
    );
    let more = "initrd = \"nimbos-apps\"\ncmdline = \"console=own init=sh -c sleep 1000000\"";
    let cells = Cells::new(Mode::X2apic, 3)
        .elf(Slot::A, &[0, 1], "nimbos", &memory, more)
        .test(Slot::B, &[2], "test=answer");
    let programs = &trial.bench.programs;
    let mut found = Vec::new();
    for _ in 0..LOOKS {
        let scenario = trial
            .scenario(cells.toml())?
            .module("nimbos", &programs.nimbos)
            .module("nimbos-apps", &programs.nimbos_apps)
            .cpus(3);
        let seen = scenario.boot_until(&[
            Wanted::line("a", "init is 'sh'"),
            Wanted::lines("b", "peer=none", LINES),
        ])?;
        let log = seen.folder().join("bochs.log");
        let log =
            fs::read_to_string(&log).with_context(|| format!("cannot read {}", log.display()))?;
        found = log
            .lines()
            .filter(|line| line.contains("CPU is in "))
            .map(str::to_owned)
            .collect();
        let is_halted = |cpu: u32| {
            let cpu = format!("[CPU{cpu} ");
            let of_cpu = |line: &&String| line.contains(&cpu) && line.contains("(halted");
            found.iter().any(|line| of_cpu(&line))
        };
        if is_halted(0) && is_halted(1) {
            return Ok(());
        }
    }
    bail!("not both halted: {found:?}")
}
