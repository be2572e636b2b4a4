// SPDX-License-Identifier: MIT OR Apache-2.0
//! A stock Linux in a cell, to user mode and back off.

use std::time::Duration;

use anyhow::{Result, ensure};
use lab::image::demo_initramfs;
use lab::run::Line;

use crate::cells::{Cells, Mode, Slot};
use crate::scenario::{HYPERVISOR, Scenario, Trial, value};

/// Fast enough that Linux's timer does not take all the time.
const IPS: u64 = 20_000_000;
const TIME_LIMIT: Duration = Duration::from_secs(900);
const MAY_END: &str = "may_end_machine = true";
/// Signs of life of the neighbour after Linux has ended.
const BEATS: u32 = 3;

/// First program: says what it finds and switches off.
const INIT: &str = "#!/bin/busybox sh
bb=/bin/busybox
$bb mount -t proc proc /proc
$bb mount -t sysfs sys /sys
echo \"linux: up cpus=$($bb nproc) online=$($bb cat /sys/devices/system/cpu/online)\"
$bb cat /proc/interrupts
echo \"linux: bye\"
$bb poweroff -f
while :; do $bb sleep 60; done
";

/// 1 CPU, xAPIC mode.
pub fn one_cpu_xapic(trial: &Trial) -> Result<()> {
    switches_off(trial, Mode::Xapic, &[0])
}

/// 2 CPUs, x2APIC mode.
pub fn two_cpus_x2apic(trial: &Trial) -> Result<()> {
    switches_off(trial, Mode::X2apic, &[0, 1])
}

/// 2 CPUs, xAPIC mode.
pub fn two_cpus_xapic(trial: &Trial) -> Result<()> {
    switches_off(trial, Mode::Xapic, &[0, 1])
}

/// Linux alone, which may end the machine.
fn switches_off(trial: &Trial, mode: Mode, cpus: &[u32]) -> Result<()> {
    let count = u32::try_from(cpus.len())?;
    let cells = Cells::new(mode, count).linux(cpus, MAY_END);
    let seen = scenario(trial, &cells)?.cpus(count).boot(None)?;
    let line = seen.find("a", "linux: up")?;
    ensure!(value(line, "cpus")? == count.to_string(), "{line}");
    seen.find(HYPERVISOR, "cell 'a' may end the machine: power-off")?;
    seen.refute(HYPERVISOR, "error:")
}

/// Without that right its power-off ends the cell alone. Linux has 1 CPU in x2APIC mode.
pub fn power_off_ends_the_cell(trial: &Trial) -> Result<()> {
    let cells = Cells::new(Mode::X2apic, 2)
        .linux(&[0], "")
        .test(Slot::B, &[1], "test=answer");
    let mut ended_at = None;
    let mut beats = 0;
    // The hypervisor's console is looked at first: what the neighbour says at a later look, it said later.
    let mut is_done = |line: &Line| {
        if line.label == HYPERVISOR && line.text.contains("cell 'a' ended: power-off") {
            ended_at = Some(line.seconds);
        }
        let is_beat = line.label == "b" && line.text.contains("alive=");
        beats += u32::from(is_beat && ended_at.is_some_and(|seconds| line.seconds > seconds));
        beats >= BEATS
    };
    let seen = scenario(trial, &cells)?.boot(Some(&mut is_done))?;
    ensure!(value(seen.find("a", "linux: up")?, "cpus")? == "1");
    seen.refute(HYPERVISOR, "may end the machine")?;
    super::guests::undisturbed(seen.console("b"))?;
    seen.refute(HYPERVISOR, "error:")
}

fn scenario<'a>(trial: &'a Trial, cells: &Cells) -> Result<Scenario<'a>> {
    let linux = trial.bench.linux()?;
    let initrd = trial.path("initrd")?;
    demo_initramfs(None, None, INIT, &[])?.write_gz(&initrd)?;
    let mut scenario = trial
        .scenario(cells.toml())?
        .without("test-cell")
        .module("test-cell", &trial.bench.test_cell)
        .module("linux", &linux.image)
        .module("initrd", &initrd);
    scenario.spec.ips = IPS;
    scenario.spec.time_limit = TIME_LIMIT;
    Ok(scenario)
}
