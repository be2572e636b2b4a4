// SPDX-License-Identifier: MIT OR Apache-2.0
//! The user path: rings of NimbOS's processes, judged by `ringtest` and by what Linux finds of it.

use std::time::Duration;

use anyhow::{Result, ensure};
use lab::image::demo_initramfs;

use crate::cells::{Cells, GUEST_BASE, Mode, Slot};
use crate::scenario::{HYPERVISOR, Trial};

/// As for the other tests with Linux.
const IPS: u64 = 20_000_000;
/// Far more than it takes on a busy machine.
const TIME_LIMIT: Duration = Duration::from_secs(1800);
/// A ring of the kernel's and three of processes.
const CHANNEL_SIZE: u64 = 16 << 20;
/// Where a second CPU of NimbOS begins, and a region for the archive, which the hypervisor puts into the last one.
const START_PAGE: &str = ", { base = 0x3c00_0000, size = \"4K\", guest = 0x8000 }, \
                          { base = 0x3c10_0000, size = \"8M\", guest = 0x4600_0000 }";
/// Tests of `ringtest`, that with the server that is killed included.
const TESTS: usize = 12;

/// Linux's first program: serves, kills its server when the program says so, serves again, and shows what is left.
const INIT: &str = "#!/bin/busybox sh
bb=/bin/busybox
$bb mkdir -p /proc /sys /dev /tmp
$bb mount -t proc proc /proc
$bb mount -t sysfs sys /sys
$bb mount -t devtmpfs dev /dev
$bb mount -t tmpfs tmp /tmp
$bb insmod /isthmus.ko || echo 'linux: FAIL insmod'
/bin/shadow &
shadow=$!
while [ ! -e /tmp/ring-struck ]; do $bb usleep 20000; done
kill -9 $shadow
wait $shadow
echo \"linux: killed, shadow status=$?\"
/bin/shadow --verbose
echo \"linux: shadow status=$?\"
echo \"linux: kept: $($bb cat /tmp/ring-kept)\"
echo \"linux: large: $($bb stat -c %s /tmp/ring-large), $($bb head -c 16 /tmp/ring-large)\"
echo \"linux: large: $($bb grep -o 'in place' /tmp/ring-large | $bb wc -l) times\"
echo 'linux: bye'
$bb poweroff -f
while :; do $bb sleep 60; done
";

/// On one CPU.
pub fn one_cpu(trial: &Trial) -> Result<()> {
    run(trial, &[1], "direct")
}

/// On two CPUs.
pub fn two_cpus(trial: &Trial) -> Result<()> {
    run(trial, &[1, 2], "direct")
}

/// With cells that do not trust each other.
pub fn filtered(trial: &Trial) -> Result<()> {
    run(trial, &[1], "filtered")
}

fn run(trial: &Trial, cpus: &[u32], doorbell: &str) -> Result<()> {
    let low = if cpus.len() > 1 { START_PAGE } else { "" };
    let memory =
        format!("[{{ base = 0x3800_0000, size = \"64M\", guest = {GUEST_BASE:#x} }}{low}]");
    let nimbos = "initrd = \"nimbos-apps\"\ncmdline = \"init=ringtest\"";
    let count = 1 + u32::try_from(cpus.len())?;
    let cells = Cells::new(Mode::X2apic, count)
        .linux(&[0], "may_end_machine = true")
        .elf(Slot::B, cpus, "nimbos", &memory, nimbos)
        .channel_of_size("b", "a", doorbell, CHANNEL_SIZE);
    let bench = trial.bench;
    let programs = bench.demo_programs()?;
    let initrd = trial.path("initrd")?;
    demo_initramfs(Some(&programs.module), Some(&programs.shadow), INIT, &[])?.write_gz(&initrd)?;
    let mut scenario = trial
        .scenario(cells.toml())?
        .module("nimbos", &bench.programs.nimbos)
        .module("nimbos-apps", &bench.programs.nimbos_apps)
        .module("linux", &bench.linux()?.image)
        .module("initrd", &initrd)
        .cpus(count);
    scenario.spec.ips = IPS;
    scenario.spec.time_limit = TIME_LIMIT;
    let seen = scenario.boot(None)?;
    seen.refute(HYPERVISOR, "error:")?;
    seen.refute("a", "linux: FAIL")?;
    seen.find("b", &format!("ringtest: {TESTS} passed, 0 failed"))?;
    let said = seen
        .console("b")
        .filter(|line| line.starts_with("ok "))
        .count();
    ensure!(said == TESTS, "{said} tests said that they passed");
    seen.find("a", "linux: killed, shadow status=137")?;
    seen.find("a", "linux: shadow status=0")?;
    seen.find("a", "linux: kept: Written by way of a")?;
    seen.find("a", "linux: large: 65536, in placein place")?;
    seen.find("a", "linux: large: 8192 times")?;
    Ok(())
}
