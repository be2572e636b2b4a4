// SPDX-License-Identifier: MIT OR Apache-2.0
//! What cells may do: user interrupts, timers, CPUs of their own; and what they may try.

use anyhow::{Result, ensure};

use crate::cells::{Cells, Mode, Slot};
use crate::scenario::{HYPERVISOR, Trial, Wanted, value};

const PASS: &str = "test: result=PASS";
/// Signs of life after the neighbour has ended its test.
const BEATS: usize = 3;

/// Round trips and priority in x2APIC mode.
pub fn ping_pong_x2apic(trial: &Trial) -> Result<()> {
    ping_pong(trial, Mode::X2apic, "direct")
}

/// Round trips and priority in xAPIC mode.
pub fn ping_pong_xapic(trial: &Trial) -> Result<()> {
    ping_pong(trial, Mode::Xapic, "direct")
}

/// Round trips and priority in x2APIC mode, each notification checked.
pub fn ping_pong_filtered_x2apic(trial: &Trial) -> Result<()> {
    ping_pong(trial, Mode::X2apic, "filtered")
}

/// Round trips and priority in xAPIC mode, each notification checked.
pub fn ping_pong_filtered_xapic(trial: &Trial) -> Result<()> {
    ping_pong(trial, Mode::Xapic, "filtered")
}

fn ping_pong(trial: &Trial, mode: Mode, doorbell: &str) -> Result<()> {
    let cells = Cells::new(mode, 2)
        .test(Slot::A, &[0], "test=pingpong")
        .test(Slot::B, &[1], "test=pingpong")
        .channel_with(Slot::A, Slot::B, doorbell);
    let seen = trial
        .scenario(cells.toml())?
        .boot_until(&[Wanted::line("a", PASS), Wanted::line("b", PASS)])?;
    // The client also sends two vectors for the order of delivery. Receiving is no exit.
    let sends = if doorbell == "direct" {
        ["0", "0"]
    } else {
        ["10002", "10000"]
    };
    for ((label, role), exits) in [("a", "client"), ("b", "server")].into_iter().zip(sends) {
        let line = seen.find(label, "name=pingpong")?;
        ensure!(value(line, "role")? == role, "{line}");
        ensure!(value(line, "rounds")? == "10000", "{line}");
        ensure!(value(line, "exits")? == exits, "{line}");
    }
    let ticks = |key| -> Result<u32> { Ok(value(seen.find("a", "name=pingpong")?, key)?.parse()?) };
    ensure!(0 < ticks("min")? && ticks("min")? <= ticks("median")?);
    ensure!(ticks("median")? <= ticks("p99")?);
    let line = seen.find("b", "name=priority")?;
    ensure!(
        value(line, "first")? == "40" && value(line, "second")? == "3",
        "{line}"
    );
    Ok(())
}

/// A filtered doorbell in detail, in x2APIC mode.
pub fn doorbell_x2apic(trial: &Trial) -> Result<()> {
    doorbell(trial, Mode::X2apic)
}

/// A filtered doorbell in detail, in xAPIC mode.
pub fn doorbell_xapic(trial: &Trial) -> Result<()> {
    doorbell(trial, Mode::Xapic)
}

fn doorbell(trial: &Trial, mode: Mode) -> Result<()> {
    let cells = Cells::new(mode, 2)
        .test(Slot::A, &[0], "test=doorbell")
        .test(Slot::B, &[1], "test=doorbell")
        .channel_with(Slot::A, Slot::B, "filtered")
        .with("server_vectors = [5]");
    let seen = trial.scenario(cells.toml())?.boot_until(&[
        Wanted::line("a", PASS),
        Wanted::line("b", PASS),
        Wanted::line(HYPERVISOR, "SENDUIPI dropped"),
    ])?;
    // One notification for ten posts to a receiver that does not look; each post is an exit, because the sender's
    // own descriptor is taken over at each.
    let line = seen.find("a", "name=coalesced")?;
    ensure!(
        value(line, "doorbells")? == "10" && value(line, "sent")? == "1",
        "{line}"
    );
    // Ten calls of a client that keeps the ring's protocol to the same receiver.
    let line = seen.find("a", "name=burst")?;
    ensure!(value(line, "doorbells")? == "1", "{line}");
    let line = seen.find("a", "name=refused")?;
    ensure!(
        value(line, "sent")? == "0" && value(line, "dropped")? == "10",
        "{line}"
    );
    let line = seen.find("b", "name=received")?;
    ensure!(
        value(line, "requests")? == "0x0" && value(line, "delivered")? == "1",
        "{line}"
    );
    for label in ["a", "b"] {
        ensure!(value(seen.find(label, "name=task-priority")?, "interrupts")? == "2");
    }
    let line = seen.find(HYPERVISOR, "SENDUIPI dropped")?;
    ensure!(
        line.contains("cell 'a'") && line.contains("does not allow user vectors 0x40"),
        "{line}"
    );
    Ok(())
}

/// A second CPU in x2APIC mode.
pub fn smp_x2apic(trial: &Trial) -> Result<()> {
    smp(trial, Mode::X2apic)
}

/// A second CPU in xAPIC mode.
pub fn smp_xapic(trial: &Trial) -> Result<()> {
    smp(trial, Mode::Xapic)
}

fn smp(trial: &Trial, mode: Mode) -> Result<()> {
    let cells = Cells::new(mode, 3)
        .test(Slot::A, &[0, 2], "test=smp")
        .test(Slot::B, &[1], "test=answer")
        .channel(Slot::A, Slot::B);
    let seen = trial.scenario(cells.toml())?.cpus(3).boot_until(&[
        Wanted::line("a", PASS),
        Wanted::lines("b", "peer=gone", BEATS),
    ])?;
    ensure!(value(seen.find("a", "name=ipi")?, "back")? == "100");
    ensure!(value(seen.find("a", "starts=2")?, "apic_id")? == "2");
    ensure!(value(seen.find("a", "name=nmi")?, "count")? == "1");
    // Broadcasts of the other cell are none of the neighbour's interrupts.
    undisturbed(seen.console("b"))
}

/// Fails if a neighbour counted an interrupt or an exit that it did not cause, or is not as it was.
pub fn undisturbed<'a>(lines: impl Iterator<Item = &'a str>) -> Result<()> {
    for line in lines.filter(|line| line.contains("alive=")) {
        for key in ["interrupts", "exits", "changed"] {
            ensure!(
                value(line, key)? == "0",
                "the neighbour was disturbed: {line}"
            );
        }
    }
    Ok(())
}

/// Returns the greatest value of `key` in a neighbour's lines.
pub fn disturbances<'a>(lines: impl Iterator<Item = &'a str>, key: &str) -> Result<u64> {
    let mut greatest = 0;
    for line in lines.filter(|line| line.contains("alive=")) {
        greatest = greatest.max(value(line, key)?.parse()?);
    }
    Ok(greatest)
}

/// Timer in x2APIC mode.
pub fn timer_x2apic(trial: &Trial) -> Result<()> {
    timer(trial, Mode::X2apic)
}

/// Timer in xAPIC mode.
pub fn timer_xapic(trial: &Trial) -> Result<()> {
    timer(trial, Mode::Xapic)
}

fn timer(trial: &Trial, mode: Mode) -> Result<()> {
    let cells = Cells::new(mode, 1).test(Slot::A, &[0], "test=timer");
    let seen = trial
        .scenario(cells.toml())?
        .cpus(1)
        .boot_until(&[Wanted::line("a", PASS)])?;
    ensure!(value(seen.find("a", "name=timer")?, "ticks")? == "100");
    Ok(())
}

/// What raises an exception or an error stops nobody.
pub fn denials(trial: &Trial) -> Result<()> {
    let cmdline = format!("test=denials foreign=1 address={:#x}", Slot::B.memory());
    let cells = Cells::new(Mode::X2apic, 2)
        .test(Slot::A, &[0], &cmdline)
        .test(Slot::B, &[1], "test=answer");
    let seen = trial.scenario(cells.toml())?.boot_until(&[
        Wanted::line("a", PASS),
        Wanted::lines("b", "alive=", BEATS),
        Wanted::line(HYPERVISOR, "cell 'a': debug console speaks"),
    ])?;
    seen.refute(HYPERVISOR, "stopped")?;
    for (check, raised) in [
        ("vmxon", "6(0)"),
        ("cr4-vmxe", "13(0)"),
        ("wrmsr-unknown", "13(0)"),
    ] {
        let line = seen.find("a", &format!("check={check} "))?;
        ensure!(value(line, "raised")? == raised, "{line}");
    }
    for (check, result) in [
        ("code", "-38"),
        ("cpu-foreign", "-1"),
        ("page-foreign", "-14"),
    ] {
        let line = seen.find("a", &format!("check={check} "))?;
        ensure!(value(line, "result")? == result, "{line}");
    }
    Ok(())
}
