// SPDX-License-Identifier: MIT OR Apache-2.0
//! NimbOS's calls of all kinds at once, from several threads, each result checked by the program that makes them
//! (`guest-nimbos/apps/src/bin/stress`).

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::image::demo_initramfs;
use lab::run::Line;

use crate::cells::{Cells, GUEST_BASE, Mode, Slot};
use crate::scenario::{HYPERVISOR, Trial, value};

/// As for the other tests with Linux.
const IPS: u64 = 20_000_000;
const TIME_LIMIT: Duration = Duration::from_secs(7200);
/// The kinds that the program's last line counts.
const KINDS: [&str; 9] = [
    "null", "local", "file", "name", "pipe", "socket", "process", "kill", "sleep",
];
/// No kind is rarer than that, in calls of all kinds for each of its own.
const RAREST: u64 = 500;

/// Linux's first program. Nothing of the threads' files is left when they are done.
const INIT: &str = "#!/bin/busybox sh
bb=/bin/busybox
$bb mkdir -p /proc /sys /dev /tmp
$bb mount -t proc proc /proc
$bb mount -t sysfs sys /sys
$bb mount -t devtmpfs dev /dev
$bb mount -t tmpfs tmp /tmp
$bb ip link set lo up || echo 'linux: FAIL lo'
$bb insmod /isthmus.ko || echo 'linux: FAIL insmod'
/bin/shadow --verbose
echo \"linux: shadow status=$?\"
echo \"linux: left=$($bb ls /tmp | $bb wc -l)\"
$bb poweroff -f
while :; do $bb sleep 60; done
";

/// Begins Linux's last line.
const LAST_WORD: &str = "linux: left=";

/// Where NimbOS's second CPU begins, and a region for the archive, which the hypervisor puts into the last one.
const SECOND_CPU: &str = ", { base = 0x3180_0000, size = \"4K\", guest = 0x8000 }, \
                          { base = 0x3190_0000, size = \"4M\", guest = 0x4600_0000 }";

/// How much is done.
struct Stress {
    /// CPUs of NimbOS.
    cpus: u32,
    threads: u32,
    /// By NimbOS's clock, which is the emulated one.
    seconds: u32,
    seed: u32,
    doorbell: &'static str,
}

impl Stress {
    fn run(&self, trial: &Trial) -> Result<()> {
        let Self {
            cpus,
            threads,
            seconds,
            seed,
            doorbell,
        } = self;
        let second = if *cpus > 1 { SECOND_CPU } else { "" };
        let memory =
            format!("[{{ base = 0x3080_0000, size = \"16M\", guest = {GUEST_BASE:#x} }}{second}]");
        let nimbos = format!(
            "initrd = \"nimbos-apps\"\n\
             cmdline = \"init=stress threads={threads} seconds={seconds} seed={seed}\""
        );
        let of_nimbos: Vec<u32> = (1..=*cpus).collect();
        let cells = Cells::new(Mode::X2apic, 1 + cpus)
            .linux(&[0], "may_end_machine = true")
            .elf(Slot::B, &of_nimbos, "nimbos", &memory, &nimbos)
            .channel_with(Slot::B, Slot::A, doorbell);
        let bench = trial.bench;
        let programs = bench.demo_programs()?;
        let initrd = trial.path("initrd")?;
        demo_initramfs(Some(&programs.module), Some(&programs.shadow), INIT, &[])?
            .write_gz(&initrd)?;
        let mut scenario = trial
            .scenario(cells.toml())?
            .without("test-cell")
            .module("nimbos", &bench.programs.nimbos)
            .module("nimbos-apps", &bench.programs.nimbos_apps)
            .module("linux", &bench.linux()?.image)
            .module("initrd", &initrd)
            .cpus(1 + cpus);
        scenario.spec.ips = IPS;
        scenario.spec.time_limit = TIME_LIMIT;
        // Linux has the last word, unless the program failed.
        let mut is_done =
            |line: &Line| line.text.starts_with(LAST_WORD) || line.text.contains("stress: FAIL");
        let seen = scenario.boot(Some(&mut is_done))?;
        seen.refute(HYPERVISOR, "error:")?;
        seen.refute("a", "linux: FAIL")?;
        seen.find("b", &format!(", {cpus} CPU(s), "))?;
        self.check(seen.find("b", "stress: calls=")?)?;
        seen.find("b", "init exited with status 0")?;
        seen.find("a", "linux: shadow status=0")?;
        ensure!(value(seen.find("a", LAST_WORD)?, "left")? == "0");
        Ok(())
    }

    fn check(&self, line: &str) -> Result<()> {
        let count = |key| -> Result<u64> {
            value(line, key)?
                .parse()
                .with_context(|| format!("'{key}' in '{line}'"))
        };
        ensure!(count("errors")? == 0 && count("lost")? == 0, "{line}");
        ensure!(count("seconds")? >= self.seconds.into(), "{line}");
        let calls = count("calls")?;
        let mut of_kinds = 0;
        for kind in KINDS {
            let count = count(kind)?;
            ensure!(
                count > 0 && count >= calls / RAREST,
                "{kind} is too rare: {line}"
            );
            of_kinds += count;
        }
        ensure!(calls == of_kinds, "{line}");
        Ok(())
    }
}

const SHORT: Stress = Stress {
    cpus: 1,
    threads: 4,
    seconds: 4,
    seed: 1,
    doorbell: "direct",
};

/// For every day.
pub fn short(trial: &Trial) -> Result<()> {
    SHORT.run(trial)
}

/// The same where each notification is checked.
pub fn short_filtered(trial: &Trial) -> Result<()> {
    let stress = Stress {
        doorbell: "filtered",
        seed: 2,
        ..SHORT
    };
    stress.run(trial)
}

/// The same on two CPUs.
pub fn short_two_cpus(trial: &Trial) -> Result<()> {
    let stress = Stress {
        cpus: 2,
        seed: 4,
        ..SHORT
    };
    stress.run(trial)
}

/// Ten minutes of emulated time.
pub fn long(trial: &Trial) -> Result<()> {
    let stress = Stress {
        seconds: 600,
        seed: 3,
        ..SHORT
    };
    stress.run(trial)
}

/// Ten minutes of emulated time on two CPUs.
pub fn long_two_cpus(trial: &Trial) -> Result<()> {
    let stress = Stress {
        cpus: 2,
        seconds: 600,
        seed: 5,
        ..SHORT
    };
    stress.run(trial)
}
