// SPDX-License-Identifier: MIT OR Apache-2.0
//! TCP between programs of NimbOS, through forwarded calls, and programs of Linux.

use std::time::Duration;

use anyhow::Result;
use lab::image::demo_initramfs;

use crate::cells::{Cells, GUEST_BASE, Mode, Slot};
use crate::scenario::{HYPERVISOR, Trial};

/// As for the other tests with Linux.
const IPS: u64 = 20_000_000;
const TIME_LIMIT: Duration = Duration::from_secs(1800);

/// Linux's first program: an echo server, and two clients of NimbOS's.
const INIT: &str = "#!/bin/busybox sh
bb=/bin/busybox
$bb mkdir -p /proc /sys /dev /tmp
$bb mount -t proc proc /proc
$bb mount -t sysfs sys /sys
$bb mount -t devtmpfs dev /dev
$bb mount -t tmpfs tmp /tmp
$bb ip link set lo up || echo 'linux: FAIL lo'
$bb insmod /isthmus.ko || echo 'linux: FAIL insmod'
$bb nc -ll -p 7001 -e $bb cat &
/bin/shadow --verbose &
shadow=$!
for number in 1 2; do
	answer=
	while [ -z \"$answer\" ]; do
		$bb usleep 50000
		answer=$(echo \"sent by Linux, $number\" | $bb nc 127.0.0.1 7777 2>/tmp/refusals)
	done
	echo \"linux: back came: $answer\"
done
wait $shadow
echo \"linux: shadow status=$?\"
$bb poweroff -f
while :; do $bb sleep 60; done
";

/// NimbOS's client talks to Linux's server, and Linux's clients to NimbOS's server.
pub fn with_linux(trial: &Trial) -> Result<()> {
    let memory = format!("[{{ base = 0x3080_0000, size = \"16M\", guest = {GUEST_BASE:#x} }}]");
    let nimbos = "initrd = \"nimbos-apps\"\n\
         cmdline = \"console=own init=sh -c echo-server 7777 2 & echo-client 127.0.0.1 7001 5 3000 && wait\"";
    let cells = Cells::new(Mode::X2apic, 2)
        .linux(&[0], "may_end_machine = true")
        .elf(Slot::B, &[1], "nimbos", &memory, nimbos)
        .channel(Slot::B, Slot::A);
    let bench = trial.bench;
    let programs = bench.demo_programs()?;
    let initrd = trial.path("initrd")?;
    demo_initramfs(Some(&programs.module), Some(&programs.shadow), INIT, &[])?.write_gz(&initrd)?;
    let mut scenario = trial
        .scenario(cells.toml())?
        .without("test-cell")
        .module("nimbos", &bench.programs.nimbos)
        .module("nimbos-apps", &bench.programs.nimbos_apps)
        .module("linux", &bench.linux()?.image)
        .module("initrd", &initrd);
    scenario.spec.ips = IPS;
    scenario.spec.time_limit = TIME_LIMIT;
    let seen = scenario.boot(None)?;
    seen.refute(HYPERVISOR, "error:")?;
    seen.refute("a", "linux: FAIL")?;
    seen.find("b", "echo-client: messages=5 bytes=15000 wrong=0")?;
    seen.find("b", "init exited with status 0")?;
    for number in [1, 2] {
        seen.find("a", &format!("linux: back came: sent by Linux, {number}"))?;
    }
    seen.find("a", "linux: shadow status=0")?;
    Ok(())
}
