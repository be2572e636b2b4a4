// SPDX-License-Identifier: MIT OR Apache-2.0
//! Linux and NimbOS under load: NimbOS makes calls, and on Linux's one CPU the shadow process competes with processes that
//! never sleep, with some that sleep all the time, and with two that have user interrupts of their own
//! (`tests/linux-load`), one of which is killed in its handler. A test cell is what those two talk to.

use std::time::Duration;

use anyhow::{Result, ensure};
use lab::image::demo_initramfs;

use crate::cells::{Cells, GUEST_BASE, Mode, Slot};
use crate::scenario::{HYPERVISOR, Trial, value};

/// As for the other tests with Linux.
const IPS: u64 = 20_000_000;
/// Linux believes CPUID, where the time-stamp counter has 2.2 GHz; a time slice would be millions of instructions.
const TRUE_TSC: &str = "tsc=reliable tsc_early_khz=20000";
const TIME_LIMIT: Duration = Duration::from_secs(1800);
/// More than there are slots, so that each is used again.
const ROUNDS: u32 = 36;

/// Linux's first program. `ROUNDS` and `SENDS` stand for numbers.
const INIT: &str = "#!/bin/busybox sh
bb=/bin/busybox
$bb mkdir -p /proc /sys /dev /tmp
$bb mount -t proc proc /proc
$bb mount -t sysfs sys /sys
$bb mount -t devtmpfs dev /dev
$bb mount -t tmpfs tmp /tmp
$bb insmod /isthmus.ko || echo 'linux: FAIL insmod'
(while :; do :; done) &
(while :; do $bb usleep 3000; done) &
(
	/bin/linux-load 2 4 SENDS sleep die
	echo \"linux: load=killed status=$?\"
	/bin/linux-load 2 ROUNDS SENDS sleep
	echo \"linux: load=sleep status=$?\"
) &
second=$!
(
	/bin/linux-load 1 ROUNDS SENDS busy
	echo \"linux: load=busy status=$?\"
	/bin/linux-load 1 1 SENDS post
	echo \"linux: load=post status=$?\"
) &
first=$!
/bin/shadow --verbose --channel 0
echo \"linux: shadow status=$?\"
wait $first $second
echo 'linux: bye'
$bb poweroff -f
while :; do $bb sleep 60; done
";

/// How much each does.
struct Load {
    doorbell: &'static str,
    /// NimbOS's calls.
    calls: u32,
    /// Sends of each process with user interrupts in a round.
    sends: u32,
    /// Before `init=` on NimbOS's command line.
    nimbos_options: &'static str,
}

impl Load {
    const SHORT: Self = Self {
        doorbell: "direct",
        calls: 4_000,
        sends: 200,
        nimbos_options: "",
    };
    const LONG: Self = Self {
        calls: 200_000,
        sends: 5_000,
        ..Self::SHORT
    };

    fn run(&self, trial: &Trial) -> Result<()> {
        let memory = format!("[{{ base = 0x3080_0000, size = \"8M\", guest = {GUEST_BASE:#x} }}]");
        let nimbos = format!(
            "initrd = \"nimbos-apps\"\ncmdline = \"{} init=stress calls={}\"",
            self.nimbos_options, self.calls
        );
        let cells = Cells::new(Mode::X2apic, 3)
            .linux(&[0], "may_end_machine = true")
            .elf(Slot::B, &[1], "nimbos", &memory, &nimbos)
            .test(Slot::C, &[2], "test=load")
            .channel_with(Slot::B, Slot::A, self.doorbell)
            .channel_with(Slot::C, Slot::A, self.doorbell)
            .channel_with(Slot::C, Slot::A, self.doorbell);
        let bench = trial.bench;
        let programs = bench.demo_programs()?;
        let initrd = trial.path("initrd")?;
        let init = INIT
            .replace("ROUNDS", &ROUNDS.to_string())
            .replace("SENDS", &self.sends.to_string());
        demo_initramfs(
            Some(&programs.module),
            Some(&programs.shadow),
            &init,
            &[("bin/linux-load", bench.linux_load()?)],
        )?
        .write_gz(&initrd)?;
        let mut scenario = trial
            .scenario(&cells.toml().replace("tsc=reliable", TRUE_TSC))?
            .module("nimbos", &bench.programs.nimbos)
            .module("nimbos-apps", &bench.programs.nimbos_apps)
            .module("linux", &bench.linux()?.image)
            .module("initrd", &initrd)
            .cpus(3);
        scenario.spec.ips = IPS;
        scenario.spec.time_limit = TIME_LIMIT;
        let seen = scenario.boot(None)?;
        seen.refute(HYPERVISOR, "error:")?;
        self.check_nimbos(seen.find("b", "stress: calls=")?)?;
        seen.find("a", "linux: shadow status=0")?;
        // No post was found by looking again after a while instead of by its notification.
        seen.find("a", "rechecks_hit: 0,")?;
        seen.find("a", "linux: load=killed status=137")?;
        seen.find("a", "linux: load=post status=0")?;
        let line = seen.find("a", &format!("result=PASS posts={}", 3 * self.sends))?;
        ensure!(value(line, "rechecks")? == "0", "{line}");
        for (load, channel) in [("busy", "1"), ("sleep", "2")] {
            seen.find("a", &format!("linux: load={load} status=0"))?;
            let line = seen.find("a", &format!("load: channel={channel} result=PASS"))?;
            ensure!(
                value(line, "sends")? == (ROUNDS * self.sends).to_string(),
                "{line}"
            );
            ensure!(value(line, "rechecks")? == "0", "{line}");
            // The switches of the last round: answers come between them too, not only at them.
            ensure!(
                value(line, "switches")?.parse::<u32>()? < self.sends / 2,
                "{line}"
            );
        }
        if self.nimbos_options == LOGGED {
            let lines = |part: &str| seen.console("b").filter(|line| line.contains(part)).count();
            ensure!(lines("path: call") >= self.calls as usize);
            ensure!(lines("path: received") >= self.calls as usize);
        }
        Ok(())
    }

    /// Every call's request and completion were notified.
    fn check_nimbos(&self, line: &str) -> Result<()> {
        let count = |key| -> Result<u32> { Ok(value(line, key)?.parse()?) };
        ensure!(
            count("calls")? == self.calls && count("errors")? == 0,
            "{line}"
        );
        ensure!(count("sent")? >= self.calls, "{line}");
        ensure!(count("received")? >= self.calls, "{line}");
        Ok(())
    }
}

const LOGGED: &str = "log=path";

/// Short.
pub fn direct(trial: &Trial) -> Result<()> {
    Load::SHORT.run(trial)
}

/// Short, each notification checked, and a line on NimbOS's console for each one: more time on the way changes nothing.
pub fn filtered_logged(trial: &Trial) -> Result<()> {
    Load {
        doorbell: "filtered",
        nimbos_options: LOGGED,
        ..Load::SHORT
    }
    .run(trial)
}

/// Long.
pub fn long(trial: &Trial) -> Result<()> {
    Load::LONG.run(trial)
}

/// Long, each notification checked.
pub fn long_filtered(trial: &Trial) -> Result<()> {
    Load {
        doorbell: "filtered",
        ..Load::LONG
    }
    .run(trial)
}
