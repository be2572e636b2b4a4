// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls that NimbOS forwards to Linux: `fwdtest`, and what it has left behind there; servers that are killed.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::image::demo_initramfs;

use crate::cells::{Cells, GUEST_BASE, Mode, Slot};
use crate::scenario::{HYPERVISOR, Seen, Trial, value};

/// As for the other tests with Linux.
const IPS: u64 = 20_000_000;
/// Far more than it takes on a busy machine.
const TIME_LIMIT: Duration = Duration::from_secs(1800);
const LONG_TIME_LIMIT: Duration = Duration::from_secs(4 * 3600);

/// How Linux's first program begins and ends. Between them stands what a test does.
const BEGIN: &str = "#!/bin/busybox sh
bb=/bin/busybox
$bb mkdir -p /proc /sys /dev /tmp
$bb mount -t proc proc /proc
$bb mount -t sysfs sys /sys
$bb mount -t devtmpfs dev /dev
$bb mount -t tmpfs tmp /tmp
$bb insmod /isthmus.ko || echo 'linux: FAIL insmod'
$bb ifconfig lo 127.0.0.1 up || echo 'linux: FAIL lo'
$bb mkdir /tmp/fwd
";
const END: &str = "
echo 'linux: bye'
$bb poweroff -f
while :; do $bb sleep 60; done
";

const ALL_CALLS: &str = "
/bin/shadow --verbose
echo \"linux: shadow status=$?\"
echo \"linux: kept: $($bb cat /tmp/fwd/kept)\"
echo \"linux: after: $($bb cat /tmp/fwd/after)\"
echo \"linux: pieces: $($bb cat /tmp/fwd/pieces)\"
echo \"linux: short: $($bb cat /tmp/fwd/short)\"
echo \"linux: forked: $($bb cat /tmp/fwd/forked)\"
echo \"linux: places: $($bb tail -c 6 /tmp/fwd/places), $($bb stat -c %s /tmp/fwd/places)\"
[ -d /tmp/fwd/stays ] || echo 'linux: FAIL mkdir'
echo \"linux: long: $($bb stat -c %s /tmp/fwd/long)\"
for gone in before old new dir list beside; do
	[ -e /tmp/fwd/$gone ] && echo \"linux: FAIL $gone is there\"
done
";

/// `ROUNDS` stands for a number.
const KILLS: &str = "
round=1
while [ $round -le ROUNDS ]; do
	/bin/shadow &
	shadow=$!
	while [ ! -e /tmp/struck ]; do $bb usleep 2000; done
	$bb usleep 10000
	kill -9 $shadow
	wait $shadow
	echo \"linux: round $round, shadow status=$?\"
	$bb rm /tmp/struck
	round=$((round + 1))
done
/bin/shadow --verbose
echo \"linux: shadow status=$?\"
";

/// Every forwarded call with good and bad arguments; files of processes; calls that wait.
pub fn all_calls(trial: &Trial) -> Result<()> {
    let seen = run(trial, "fwdtest", ALL_CALLS, TIME_LIMIT)?;
    let verdict = seen.find("b", "fwdtest: ")?;
    ensure!(
        seen.console("b")
            .any(|line| line.ends_with(" passed, 0 failed")),
        "not all passed: {verdict}"
    );
    seen.refute("b", "FAIL ")?;
    let passed = seen
        .console("b")
        .filter(|line| line.starts_with("ok "))
        .count();
    ensure!(passed >= 30, "{passed} tests said that they passed");
    for console in [
        "fwdtest: writev to the console",
        "fwdtest: standard error is back",
        "fwdtest: standard output is the console",
        "fwdtest: and the child's",
    ] {
        seen.find("b", console)?;
    }
    seen.refute("b", "to the file")?;
    for file in [
        "kept: kept by fwdtest",
        "after: renamed by fwdtest",
        "pieces: in three pieces",
        "short: shorter",
        "forked: child parent",
        "places: places, 1006",
        "long: 307200",
    ] {
        seen.find("a", &format!("linux: {file}"))?;
    }
    Ok(())
}

/// The shadow process is killed in the middle of a hundred calls, five times.
pub fn kills(trial: &Trial) -> Result<()> {
    storm(trial, 5, TIME_LIMIT)
}

/// The same a thousand times.
pub fn thousand_kills(trial: &Trial) -> Result<()> {
    storm(trial, 1000, LONG_TIME_LIMIT)
}

fn storm(trial: &Trial, rounds: u32, time_limit: Duration) -> Result<()> {
    let linux = KILLS.replace("ROUNDS", &rounds.to_string());
    let nimbos = format!("fwdtest storm rounds={rounds}");
    let seen = run(trial, &nimbos, &linux, time_limit)?;
    let verdict = seen.find("b", "storm: rounds=")?;
    ensure!(value(verdict, "result")? == "PASS", "{verdict}");
    ensure!(value(verdict, "rounds")? == rounds.to_string(), "{verdict}");
    let lost: u32 = value(verdict, "lost")?.parse().context("lost=")?;
    ensure!(lost >= rounds * 30, "{verdict}");
    let killed = seen
        .console("a")
        .filter(|line| line.ends_with("shadow status=137"))
        .count();
    ensure!(killed == rounds as usize, "{killed} servers were killed");
    Ok(())
}

/// Boots Linux with a script, and NimbOS with `init`; the script's last server ends with NimbOS's program.
fn run(trial: &Trial, init: &str, script: &str, time_limit: Duration) -> Result<Seen> {
    let memory = format!("[{{ base = 0x3800_0000, size = \"64M\", guest = {GUEST_BASE:#x} }}]");
    let nimbos = format!("initrd = \"nimbos-apps\"\ncmdline = \"init={init}\"");
    let cells = Cells::new(Mode::X2apic, 2)
        .linux(&[0], "may_end_machine = true")
        .elf(Slot::B, &[1], "nimbos", &memory, &nimbos)
        .channel(Slot::B, Slot::A);
    let bench = trial.bench;
    let programs = bench.demo_programs()?;
    let initrd = trial.path("initrd")?;
    let program = bench.lab.image_path("nimbos-apps").join("fwdtest");
    demo_initramfs(
        Some(&programs.module),
        Some(&programs.shadow),
        &format!("{BEGIN}{script}{END}"),
        &[("bin/fwdtest", program)],
    )?
    .write_gz(&initrd)?;
    let mut scenario = trial
        .scenario(cells.toml())?
        .module("nimbos", &bench.programs.nimbos)
        .module("nimbos-apps", &bench.programs.nimbos_apps)
        .module("linux", &bench.linux()?.image)
        .module("initrd", &initrd)
        .cpus(2);
    scenario.spec.ips = IPS;
    scenario.spec.time_limit = time_limit;
    let seen = scenario.boot(None)?;
    seen.refute(HYPERVISOR, "error:")?;
    seen.refute("a", "linux: FAIL")?;
    seen.find("b", "init exited with status 0")?;
    seen.find("a", "linux: shadow status=0")?;
    Ok(seen)
}
