// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls that NimbOS forwards to Linux: `fwdtest`, and what it has left behind there; servers and clients that die.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::image::demo_initramfs;

use crate::cells::{Cells, GUEST_BASE, Mode, Slot};
use crate::patch::{INVALID_OPCODE, Program};
use crate::scenario::{HYPERVISOR, Scenario, Seen, Trial, value};

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
echo \"linux: at the end in use: $(in_use)\"
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

/// What is in use in the driver: files that have a channel, UPID slots, UITT entries. And what the process `shadow` has open
/// for its client.
const IN_USE: &str = "
in_use() {
	for name in attached receivers senders; do $bb cat /sys/module/isthmus/parameters/$name; done | $bb tr '\\n' ' '
}
left_open() {
	$bb ls -l /proc/$shadow/fd | $bb grep -c 'pipe:\\|/tmp/'
}
";

/// `ROUNDS` stands for a number, of kills on each path.
const KILLS: &str = "
round=1
while [ $round -le $((2 * ROUNDS)) ]; do
	/bin/shadow &
	shadow=$!
	while [ ! -e /tmp/struck ]; do $bb usleep 2000; done
	$bb usleep 10000
	kill -9 $shadow
	wait $shadow
	echo \"linux: round $round, shadow status=$?, in use: $(in_use)\"
	$bb rm /tmp/struck
	round=$((round + 1))
done
/bin/shadow --verbose
echo \"linux: shadow status=$?\"
echo \"linux: at the end in use: $(in_use)\"
";

/// One server for all starts of the client, of which the last one leaves a file.
const RESETS: &str = "
/bin/shadow --stay --verbose &
shadow=$!
while [ ! -e /tmp/reset-done ]; do $bb usleep 100000; done
while [ $(left_open) != 0 ]; do $bb usleep 100000; done
kill $shadow
wait $shadow
echo \"linux: shadow status=$?\"
echo \"linux: at the end in use: $(in_use)\"
";

/// Two clients die in the middle of calls; each has a server with a root of its own.
const DEATHS: &str = "
for channel in 0 1; do
	$bb mkdir -p /root/$channel/tmp
	/bin/shadow --channel $channel --root /root/$channel --stay --verbose &
	shadow=$!
	while [ $(left_open) = 0 ]; do $bb usleep 2000; done
	echo \"linux: client $channel has begun\"
	while [ $(left_open) != 0 ]; do $bb usleep 100000; done
	echo \"linux: client $channel has left nothing\"
	kill $shadow
	wait $shadow
	echo \"linux: shadow status=$?\"
done
echo \"linux: at the end in use: $(in_use)\"
";

/// A machine with Linux as cell a and NimbOS as cell b.
#[derive(Clone, Copy)]
struct Setup<'a> {
    /// CPUs of NimbOS.
    cpus: u32,
    doorbell: &'a str,
    /// NimbOS's command line.
    cmdline: &'a str,
    /// What Linux does.
    script: &'a str,
    /// Code that NimbOS's kernel executes where it should start the cell anew.
    fault: Option<&'a [u8]>,
    time_limit: Duration,
}

impl<'a> Setup<'a> {
    const fn new(cmdline: &'a str, script: &'a str) -> Self {
        Self {
            cpus: 1,
            doorbell: "direct",
            cmdline,
            script,
            fault: None,
            time_limit: TIME_LIMIT,
        }
    }

    /// Two CPUs for NimbOS, and a doorbell that is filtered.
    const fn with_more(self) -> Self {
        Self {
            cpus: 2,
            doorbell: "filtered",
            ..self
        }
    }
}

/// Every forwarded call with good and bad arguments; files of processes; calls that wait.
pub fn all_calls(trial: &Trial) -> Result<()> {
    check_all_calls(trial, Setup::new("init=fwdtest", ALL_CALLS))
}

/// The same on two CPUs of NimbOS, with a filtered doorbell.
pub fn all_calls_more(trial: &Trial) -> Result<()> {
    check_all_calls(trial, Setup::new("init=fwdtest", ALL_CALLS).with_more())
}

fn check_all_calls(trial: &Trial, setup: Setup<'_>) -> Result<()> {
    let seen = run(trial, setup)?;
    seen.find("b", "init exited with status 0")?;
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

/// The shadow process is killed in the middle of a hundred calls, and of calls by a ring of a process, five times each.
pub fn kills(trial: &Trial) -> Result<()> {
    check_kills(trial, 5, TIME_LIMIT)
}

/// The same a thousand times.
pub fn thousand_kills(trial: &Trial) -> Result<()> {
    check_kills(trial, 1000, LONG_TIME_LIMIT)
}

fn check_kills(trial: &Trial, rounds: u32, time_limit: Duration) -> Result<()> {
    let cmdline = format!("init=fwdtest kills rounds={rounds}");
    let script = KILLS.replace("ROUNDS", &rounds.to_string());
    let setup = Setup {
        time_limit,
        ..Setup::new(&cmdline, &script)
    };
    let seen = run(trial, setup)?;
    seen.find("b", "init exited with status 0")?;
    let verdict = seen.find("b", "storm: rounds=")?;
    ensure!(value(verdict, "result")? == "PASS", "{verdict}");
    ensure!(value(verdict, "rounds")? == rounds.to_string(), "{verdict}");
    let lost: u32 = value(verdict, "lost")?.parse().context("lost=")?;
    ensure!(lost >= rounds * 30, "{verdict}");
    let verdict = seen.find("b", "rings: rounds=")?;
    ensure!(value(verdict, "result")? == "PASS", "{verdict}");
    ensure!(value(verdict, "rounds")? == rounds.to_string(), "{verdict}");
    let killed = seen
        .console("a")
        .filter(|line| {
            line.trim_end()
                .ends_with("shadow status=137, in use: 0 0 0")
        })
        .count();
    ensure!(
        killed == 2 * rounds as usize,
        "{killed} servers were killed"
    );
    Ok(())
}

/// NimbOS's cell starts anew in the middle of a hundred calls, three times, on two CPUs and with a filtered doorbell.
pub fn resets(trial: &Trial) -> Result<()> {
    check_resets(trial, 3, TIME_LIMIT, None)
}

/// The same a hundred times.
pub fn hundred_resets(trial: &Trial) -> Result<()> {
    check_resets(trial, 100, LONG_TIME_LIMIT, None)
}

/// NimbOS's kernel fails in the middle of a hundred calls, and its cell starts anew, three times.
pub fn panics(trial: &Trial) -> Result<()> {
    check_resets(trial, 3, TIME_LIMIT, Some(&INVALID_OPCODE))
}

fn check_resets(
    trial: &Trial,
    rounds: usize,
    time_limit: Duration,
    fault: Option<&[u8]>,
) -> Result<()> {
    let cmdline = format!("panic=restart init=fwdtest reset rounds={rounds}");
    let setup = Setup {
        time_limit,
        fault,
        ..Setup::new(&cmdline, RESETS)
    };
    let seen = run(
        trial,
        if fault.is_none() {
            setup.with_more()
        } else {
            setup
        },
    )?;
    let verdict = seen.find("b", "reset: rounds=")?;
    ensure!(value(verdict, "result")? == "PASS", "{verdict}");
    ensure!(value(verdict, "rounds")? == rounds.to_string(), "{verdict}");
    seen.find("b", "init exited with status 0")?;
    for (console, text, expected) in [
        (HYPERVISOR, "cell 'b' starts anew", rounds),
        (
            "b",
            "panic: invalid opcode",
            if fault.is_some() { rounds } else { 0 },
        ),
    ] {
        let count = seen
            .console(console)
            .filter(|line| line.contains(text))
            .count();
        ensure!(count == expected, "'{text}' {count} times");
    }
    let sessions = seen.find("a", " sessions=")?;
    let expected = (rounds + 1).to_string();
    ensure!(value(sessions, "sessions")? == expected, "{sessions}");
    Ok(())
}

/// NimbOS dies for good in the middle of a hundred calls: by a failure of its kernel, and stopped by the hypervisor. Its server
/// closes everything and waits for the next client.
pub fn deaths(trial: &Trial) -> Result<()> {
    // LIDT [RIP + 2]; UD2; a limit and a base of 0: a triple fault.
    const TRIPLE_FAULT: [u8; 19] = [
        0x0f, 0x01, 0x1d, 2, 0, 0, 0, 0x0f, 0x0b, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    let mut cells = Cells::new(Mode::X2apic, 3).linux(&[0], "may_end_machine = true");
    for (slot, cpu, base) in [(Slot::B, 1, 0x3800_0000_u64), (Slot::C, 2, 0x3a00_0000)] {
        let memory = format!("[{{ base = {base:#x}, size = \"32M\", guest = {GUEST_BASE:#x} }}]");
        let name = slot.name();
        let keys = "initrd = \"nimbos-apps\"\ncmdline = \"init=fwdtest reset rounds=1\"";
        cells = cells
            .elf(slot, &[cpu], &format!("nimbos-{name}"), &memory, keys)
            .channel(slot, Slot::A);
    }
    let panics = trial.file("panics", faulty(trial, &INVALID_OPCODE)?.file())?;
    let is_stopped = trial.file("is-stopped", faulty(trial, &TRIPLE_FAULT)?.file())?;
    let scenario = scenario(trial, &cells, DEATHS, TIME_LIMIT)?
        .module("nimbos-b", &panics)
        .module("nimbos-c", &is_stopped)
        .cpus(3)
        .may_stop_cells();
    let seen = boot(scenario)?;
    seen.find("b", "panic: invalid opcode")?;
    seen.find(HYPERVISOR, "cell 'c' stopped: triple fault")?;
    for channel in 0..2 {
        seen.find("a", &format!("linux: client {channel} has left nothing"))?;
    }
    Ok(())
}

/// Returns a NimbOS that executes `code` where it should start the cell anew.
fn faulty(trial: &Trial, code: &[u8]) -> Result<Program> {
    let path = &trial.bench.programs.nimbos;
    let kernel = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Program::new(kernel)?.overwrite("nimbos::syscall::reboot", code)
}

/// Boots Linux with a script, and NimbOS.
fn run(trial: &Trial, setup: Setup<'_>) -> Result<Seen> {
    /// Where further CPUs begin, and a region for the archive, which the hypervisor puts into the last one.
    const START_PAGE: &str = ", { base = 0x3c00_0000, size = \"4K\", guest = 0x8000 }, \
                              { base = 0x3c10_0000, size = \"2M\", guest = 0x4600_0000 }";
    let low = if setup.cpus > 1 { START_PAGE } else { "" };
    let memory =
        format!("[{{ base = 0x3800_0000, size = \"32M\", guest = {GUEST_BASE:#x} }}{low}]");
    let keys = format!(
        "initrd = \"nimbos-apps\"\ncmdline = \"{}\"\nmay_restart = true",
        setup.cmdline
    );
    let cpus: Vec<u32> = (1..=setup.cpus).collect();
    let cells = Cells::new(Mode::X2apic, 1 + setup.cpus)
        .linux(&[0], "may_end_machine = true")
        .elf(Slot::B, &cpus, "nimbos", &memory, &keys)
        .channel_of_size("b", "a", setup.doorbell, 16 << 20);
    let nimbos = match setup.fault {
        Some(code) => trial.file("nimbos", faulty(trial, code)?.file())?,
        None => trial.bench.programs.nimbos.clone(),
    };
    let scenario = scenario(trial, &cells, setup.script, setup.time_limit)?
        .module("nimbos", &nimbos)
        .cpus(1 + setup.cpus);
    boot(scenario)
}

/// Prepares a machine with all but NimbOS's kernel.
fn scenario<'a>(
    trial: &'a Trial<'_>,
    cells: &Cells,
    script: &str,
    time_limit: Duration,
) -> Result<Scenario<'a>> {
    let bench = trial.bench;
    let programs = bench.demo_programs()?;
    let initrd = trial.path("initrd")?;
    let program = bench.lab.image_path("nimbos-apps").join("fwdtest");
    demo_initramfs(
        Some(&programs.module),
        Some(&programs.shadow),
        &format!("{BEGIN}{IN_USE}{script}{END}"),
        &[("bin/fwdtest", program)],
    )?
    .write_gz(&initrd)?;
    let mut scenario = trial
        .scenario(cells.toml())?
        .module("nimbos-apps", &bench.programs.nimbos_apps)
        .module("linux", &bench.linux()?.image)
        .module("initrd", &initrd);
    scenario.spec.ips = IPS;
    scenario.spec.time_limit = time_limit;
    Ok(scenario)
}

/// Boots until Linux has switched the machine off; its servers have ended well, and nothing of them is in use.
fn boot(scenario: Scenario<'_>) -> Result<Seen> {
    let seen = scenario.boot(None)?;
    seen.refute("a", "linux: FAIL")?;
    seen.find("a", "linux: shadow status=0")?;
    seen.find("a", "linux: at the end in use: 0 0 0")?;
    Ok(seen)
}
