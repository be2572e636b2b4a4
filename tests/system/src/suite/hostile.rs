// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hostile cells that go on: cell a tries everything of a kind in one run, cell b notices nothing of it.

use anyhow::{Result, ensure};

use super::guests::{disturbances, undisturbed};
use crate::cells::{Cells, Mode, Slot};
use crate::scenario::{HYPERVISOR, REPORT_END, Seen, Trial, Wanted, value};

/// Signs of life after the sweep.
const BEATS: usize = 3;
const ABSENT: &str = "foreign_ports = \"absent\"";

/// MSRs that a cell can read. (What the emulated processor lacks of what passes reads as 0 there.)
const READABLE: &str = "10,17,1b,3a-3b,48,8b,ce-cf,e1-e2,e7-e8,fe,10a,122,174-176,179-17a,198-199,19c,1a0,1c4-1c5,1d9,\
    1fc,200-21f,250,258-259,268-26f,277,280-29f,2ff,400-47f,6a0,6a2,6a4-6a8,6e0-6e1,802-803,808,80a,80d,80f-828,82f-830,\
    832-839,83e,985-98a,da0";
/// MSRs of which a write of some value raises nothing, without those whose writes may stop the cell.
const WRITABLE: &str = "10,17,3b,48-49,8b,ce-cf,e1-e2,e7-e8,fe,10a-10b,122,174-176,179-17a,198-199,19c,1a0,1c4-1c5,1d9,\
    1fc,200-21f,250,258-259,268-26f,277,280-29f,2ff,400-47f,6a0,6a2,6a4-6a8,6e0-6e1,808,80b,80f,828,82f,832-838,\
    83e-83f,985-98a,da0";
/// MSRs that a write changes: all of this CPU alone.
const CHANGING: &str =
    "3b,48,e1,174-176,277,6a0,6a2,6a4-6a8,6e1,808,80f,82f,832-838,83e,985-98a,da0";
/// The same of the range from C0000000H, for reading as for writing.
const HIGH: &str = "c0000080-c0000084,c0000100-c0000103";

/// Runs a sweep of cell a beside cell b, which has to be as before.
fn sweep(trial: &Trial, mode: Mode, test: &str, doorbell: &str) -> Result<Seen> {
    let cells = Cells::new(mode, 2)
        .test_with(Slot::A, &[0], &format!("test={test}"), ABSENT)
        .test(Slot::B, &[1], "test=answer")
        .channel_with(Slot::A, Slot::B, doorbell);
    let seen = trial.scenario(cells.toml())?.boot_until(&[
        Wanted::line("a", "test: result=PASS"),
        Wanted::lines("b", "peer=gone", BEATS),
    ])?;
    undisturbed(seen.console("b"))?;
    seen.refute(HYPERVISOR, "stopped:")?;
    seen.refute(HYPERVISOR, REPORT_END)?;
    Ok(seen)
}

/// Fails unless the line with `what` has `key` = `wanted`.
fn expect(seen: &Seen, what: &str, key: &str, wanted: &str) -> Result<()> {
    let line = seen.find("a", what)?;
    ensure!(value(line, key)? == wanted, "{key} is not {wanted}: {line}");
    Ok(())
}

/// Every MSR of both ranges.
pub fn msrs(trial: &Trial) -> Result<()> {
    let seen = sweep(trial, Mode::X2apic, "sweep-msrs", "filtered")?;
    for (what, low, high) in [
        ("read", READABLE, HIGH),
        ("write", WRITABLE, HIGH),
        ("change", CHANGING, HIGH),
        ("strange", "none", "none"),
    ] {
        expect(&seen, &format!("name=msr-{what} range=0 "), "msrs", low)?;
        expect(
            &seen,
            &format!("name=msr-{what} range=c0000000 "),
            "msrs",
            high,
        )?;
    }
    expect(&seen, "name=msr-outside", "msrs", "12")
}

/// Every port in all widths.
pub fn ports(trial: &Trial) -> Result<()> {
    let seen = sweep(trial, Mode::X2apic, "sweep-ports", "filtered")?;
    // The emulator's UART answers no dword reads.
    for (width, own) in [("1", "3f8-3ff"), ("2", "3f8-3fe"), ("4", "none")] {
        let what = format!("name=ports width={width} ");
        expect(&seen, &what, "reads", "65536")?;
        expect(&seen, &what, "answering", own)?;
    }
    seen.find("a", "name=ports-user")?;
    Ok(())
}

/// Control registers and privileged instructions.
pub fn registers(trial: &Trial) -> Result<()> {
    let seen = sweep(trial, Mode::X2apic, "sweep-registers", "filtered")?;
    seen.find(HYPERVISOR, "cell 'a': under a breakpoint")?;
    for (register, accepted) in [
        // Not PE, PG (64-bit mode), NW (without CD).
        ("cr0", "0x5ffffffe"),
        // Not PAE, VMXE, SMXE, LA57; nor CET while WP is 0.
        ("cr4", "0x3470fdf"),
        ("dr7", "0xffffdfff"),
        // SCE, NXE; LMA is taken and stays.
        ("efer", "0xc01"),
    ] {
        let what = format!("name=bits register={register} ");
        expect(&seen, &what, "accepted", accepted)?;
    }
    expect(&seen, "name=bits register=efer", "changed", "0x801")?;
    expect(&seen, "name=xcr0", "accepted", "12")?;
    expect(&seen, "name=breakpoint", "seen", "false")
}

/// Hypercalls and CPUID.
pub fn calls(trial: &Trial) -> Result<()> {
    let seen = sweep(trial, Mode::X2apic, "sweep-calls", "filtered")?;
    for line in seen
        .console("a")
        .filter(|line| line.contains("name=cpuid-hidden"))
    {
        ensure!(value(line, "shown")? == "0x0", "{line}");
    }
    expect(&seen, "name=cpuid-hidden what=xss", "shown", "0x0")
}

/// Interrupt commands by MSR.
pub fn interrupts_x2apic(trial: &Trial) -> Result<()> {
    let seen = sweep(trial, Mode::X2apic, "sweep-interrupts", "filtered")?;
    seen.find("a", "name=commands").map(drop)
}

/// Interrupt commands by stores.
pub fn interrupts_xapic(trial: &Trial) -> Result<()> {
    let seen = sweep(trial, Mode::Xapic, "sweep-interrupts", "direct")?;
    expect(&seen, "name=logical-id", "ldr", "0x0")
}

/// Writes to the xAPIC's page.
pub fn apic_page(trial: &Trial) -> Result<()> {
    let seen = sweep(trial, Mode::Xapic, "sweep-apic-page", "filtered")?;
    expect(&seen, "name=forms", "emulated", "24")
}

/// Forged descriptors where notifications are checked, in x2APIC mode.
pub fn descriptors_filtered_x2apic(trial: &Trial) -> Result<()> {
    descriptors_filtered(trial, Mode::X2apic)
}

/// The same in xAPIC mode.
pub fn descriptors_filtered_xapic(trial: &Trial) -> Result<()> {
    descriptors_filtered(trial, Mode::Xapic)
}

fn descriptors_filtered(trial: &Trial, mode: Mode) -> Result<()> {
    let seen = forge_descriptors(trial, mode, "filtered")?;
    undisturbed(seen.console("b"))?;
    let line = seen.find("a", "name=forged what=vectors")?;
    ensure!(value(line, "dropped")? == "221", "{line}");
    // The first one is reported, the others are counted.
    let reports = seen
        .console(HYPERVISOR)
        .filter(|line| line.contains("SENDUIPI dropped"));
    ensure!(reports.filter(|line| line.contains("cell 'a'")).count() == 1);
    ensure!(disturbances(seen.console("b"), "faults")? == 0);
    Ok(())
}

/// Forged descriptors where notifications are not checked: the neighbour is interrupted, and its own posts fault.
/// Nothing else of it is touched. (docs/security.md)
pub fn descriptors_direct(trial: &Trial) -> Result<()> {
    let seen = forge_descriptors(trial, Mode::X2apic, "direct")?;
    for line in seen.console("b").filter(|line| line.contains("alive=")) {
        ensure!(
            value(line, "exits")? == "0" && value(line, "changed")? == "0",
            "{line}"
        );
    }
    let interrupts = disturbances(seen.console("b"), "interrupts")?;
    // Each vector, and the broadcast.
    ensure!(interrupts >= 222, "{interrupts} interrupts");
    let faults = disturbances(seen.console("b"), "faults")?;
    ensure!(faults > 0, "no post faulted");
    Ok(())
}

fn forge_descriptors(trial: &Trial, mode: Mode, doorbell: &str) -> Result<Seen> {
    let cells = Cells::new(mode, 2)
        .test(Slot::A, &[0], "test=forge-descriptors apic=1")
        .test(Slot::B, &[1], "test=answer posts=50")
        .channel_with(Slot::A, Slot::B, doorbell);
    let seen = trial.scenario(cells.toml())?.boot_until(&[
        Wanted::line("a", "test: result=PASS"),
        Wanted::lines("b", "peer=gone", BEATS),
    ])?;
    seen.refute(HYPERVISOR, "stopped:")?;
    Ok(seen)
}

/// A cell of two CPUs is stopped in a storm of interrupts.
pub fn storm_interrupts(trial: &Trial) -> Result<()> {
    storm(trial, Mode::X2apic, "interrupts", "direct")
}

/// In a storm of interrupts by stores.
pub fn storm_interrupts_xapic(trial: &Trial) -> Result<()> {
    storm(trial, Mode::Xapic, "interrupts", "filtered")
}

/// In a storm of INITs and SIPIs.
pub fn storm_inits(trial: &Trial) -> Result<()> {
    storm(trial, Mode::X2apic, "inits", "filtered")
}

/// In a storm of hypercalls.
pub fn storm_hypercalls(trial: &Trial) -> Result<()> {
    storm(trial, Mode::X2apic, "hypercalls", "filtered")
}

/// In a storm of SENDUIPI, unchecked and checked.
pub fn storm_posts(trial: &Trial) -> Result<()> {
    storm(trial, Mode::X2apic, "posts", "direct")?;
    storm(trial, Mode::X2apic, "posts", "filtered")
}

/// In a storm of I/O.
pub fn storm_ports(trial: &Trial) -> Result<()> {
    storm(trial, Mode::X2apic, "ports", "filtered")
}

fn storm(trial: &Trial, mode: Mode, kind: &str, doorbell: &str) -> Result<()> {
    let cells = Cells::new(mode, 3)
        .test_with(Slot::A, &[0, 2], &format!("test=storm kind={kind}"), ABSENT)
        .test(Slot::B, &[1], "test=answer posts=5")
        .channel_with(Slot::A, Slot::B, doorbell);
    let seen = trial
        .scenario(cells.toml())?
        .cpus(3)
        .may_stop_cells()
        .boot_until(&[
            Wanted::line("a", "test: attack=storm"),
            Wanted::line(HYPERVISOR, REPORT_END),
            // The first line may come while the second CPU runs on.
            Wanted::lines("b", "peer=gone", 2 * BEATS),
        ])?;
    seen.find(HYPERVISOR, "cell 'a' stopped: triple fault")?;
    seen.refute(HYPERVISOR, "cell 'b' stopped")?;
    undisturbed(seen.console("b"))?;
    // Both CPUs were stopped: nothing changes any more, and nobody says that the cell is back.
    let lines: Vec<&str> = seen
        .console("b")
        .filter(|line| line.contains("alive="))
        .collect();
    let last = lines.last().copied().unwrap_or_default();
    for line in lines.iter().rev().take(BEATS) {
        ensure!(value(line, "peer")? == "gone", "{line}");
        ensure!(
            value(line, "peer_phase")? == value(last, "peer_phase")?,
            "{line}"
        );
    }
    Ok(())
}
