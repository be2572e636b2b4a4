// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hostile ends of a channel: a server against NimbOS, a client against the shadow process of a Linux cell. The other end
//! ends the session or answers with an error, and lives on.

use std::time::Duration;

use anyhow::{Result, ensure};
use lab::image::demo_initramfs;
use lab::{build, kernel_module};

use crate::cells::{Cells, Mode, Slot};
use crate::scenario::{HYPERVISOR, Trial, Wanted, value};

const NIMBOS_MEMORY: u64 = 0x3800_0000;
const NIMBOS_SIZE: u64 = 16 << 20;

/// What a server does, and what NimbOS says of it; `None` where more than one end is right.
const SERVERS: [(&str, &str, Option<&str>); 13] = [
    (
        "bad-partner",
        "filtered",
        Some("the server answered UintrInit with 0xc8"),
    ),
    (
        "corrupt-index",
        "filtered",
        Some("index 0x3e8 does not go with ours"),
    ),
    ("unknown-token", "filtered", Some("token 0x")),
    ("large-result", "filtered", None),
    ("least-result", "direct", None),
    ("gone", "filtered", Some("the server is gone")),
    ("twice", "filtered", None),
    (
        "reserved-bits",
        "direct",
        Some("the server's UPID is damaged"),
    ),
    ("scribble", "direct", None),
    ("begins-anew", "direct", None),
    ("forges-client", "filtered", None),
    ("accepts-unasked", "direct", None),
    ("accepts-late", "filtered", None),
];

/// Servers that break the rules, two at a time.
pub fn servers(trial: &Trial) -> Result<()> {
    for pair in SERVERS.chunks(2) {
        serve(trial, pair)?;
    }
    Ok(())
}

fn serve(trial: &Trial, servers: &[(&str, &str, Option<&str>)]) -> Result<()> {
    let cpus = 2 * u32::try_from(servers.len())?;
    let mut cells = Cells::new(Mode::X2apic, cpus);
    let slots = [Slot::A, Slot::B];
    for ((slot, number), (how, doorbell, _)) in slots.into_iter().zip(0_u8..).zip(servers) {
        let base = NIMBOS_MEMORY + u64::from(number) * NIMBOS_SIZE;
        let memory = format!("[{{ base = {base:#x}, size = \"16M\", guest = 0x4200_0000 }}]");
        let more = "initrd = \"nimbos-apps\"\ncmdline = \"init=demo\"";
        // Servers have the CPUs from 1 on by their number.
        let (cpu, server) = if number == 0 { (0, 1) } else { (2, 3) };
        cells = cells
            .elf(slot, &[cpu], "nimbos", &memory, more)
            .attacker(server, &format!("test=serve-badly how={how}"), "")
            .channel_between(slot.name(), &format!("x{server}"), doorbell);
    }
    let wanted: Vec<Wanted> = slots
        .iter()
        .take(servers.len())
        .map(|slot| Wanted::line(slot.name(), "init exited with status"))
        .collect();
    let programs = &trial.bench.programs;
    let seen = trial
        .scenario(cells.toml())?
        .module("nimbos", &programs.nimbos)
        .module("nimbos-apps", &programs.nimbos_apps)
        .cpus(cpus)
        .boot_until(&wanted)?;
    for (slot, (how, _, says)) in slots.into_iter().zip(servers) {
        let line = seen.find(slot.name(), "init exited with status")?;
        ensure!(!line.ends_with("status 0"), "{how}: {line}");
        if let Some(says) = says {
            let line = seen.find(slot.name(), "session over: ")?;
            ensure!(line.contains(says), "{how}: {line}");
        }
    }
    seen.refute(HYPERVISOR, "stopped:")
}

/// Fast enough that Linux's timer does not take all the time.
const IPS: u64 = 20_000_000;
const TIME_LIMIT: Duration = Duration::from_secs(900);

/// First program of the Linux cell: starts the shadow process again and again.
const INIT: &str = "#!/bin/busybox sh
bb=/bin/busybox
$bb mount -t proc proc /proc
$bb mount -t sysfs sys /sys
$bb mkdir -p /dev
$bb mount -t devtmpfs dev /dev
$bb insmod /isthmus.ko
for run in 1 2 3; do
	/bin/shadow --verbose
	echo \"linux: run=$run status=$?\"
done
echo \"linux: alive dmesg=$($bb dmesg | $bb grep -c -E 'BUG:|Oops:')\"
$bb poweroff -f
while :; do $bb sleep 60; done
";

/// A client that breaks the rules three times; Linux runs on each time.
pub fn client(trial: &Trial) -> Result<()> {
    let bench = trial.bench;
    let linux = bench.linux()?;
    let driver = bench.lab.root().join("guest-linux-shadow/driver");
    let module = kernel_module::build(&bench.lab, &linux, &driver)?;
    let shadow = build::shadow(&bench.lab)?;
    let initrd = trial.path("initrd")?;
    demo_initramfs(Some(&module), Some(&shadow), INIT, &[])?.write_gz(&initrd)?;
    let cells = Cells::new(Mode::X2apic, 2)
        .linux(&[0], "may_end_machine = true")
        .test(Slot::B, &[1], "test=call-badly")
        .channel(Slot::B, Slot::A);
    let mut scenario = trial
        .scenario(cells.toml())?
        .module("linux", &linux.image)
        .module("initrd", &initrd);
    scenario.spec.ips = IPS;
    scenario.spec.time_limit = TIME_LIMIT;
    let seen = scenario.boot(None)?;
    for attack in [
        "arguments",
        "tokens",
        "sessions",
        "index",
        "reserved-bits",
        "scribble",
    ] {
        seen.find("b", &format!("name=client attack={attack} "))?;
    }
    seen.find("b", "result=PASS")?;
    seen.find("a", "shadow: error: the client broke the ring")?;
    // SENDUIPI faults in the process where the client's descriptor is damaged. (docs/security.md)
    seen.find("a", "linux: run=2 status=139")?;
    seen.find("a", "linux: run=3 status=1")?;
    ensure!(value(seen.find("a", "linux: alive")?, "dmesg")? == "0");
    seen.refute(HYPERVISOR, "stopped:")
}
