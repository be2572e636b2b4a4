// SPDX-License-Identifier: MIT OR Apache-2.0
//! The I/O APIC in the hands of a hostile cell with the rest of the devices: whatever it writes, the neighbour sees
//! nothing of it, and its own interrupts arrive.

use anyhow::{Result, ensure};

use super::guests::undisturbed;
use crate::cells::{Cells, Mode, Slot};
use crate::scenario::{HYPERVISOR, REPORT_END, Scenario, Seen, Trial, Wanted, value};

/// Signs of life of the neighbour after the cell has ended.
const BEATS: usize = 3;
/// The cell's guest-physical memory is then where the machine has RAM: elsewhere it would be in the way of devices.
const MEMORY_MIB: u32 = 1088;
const IO_APIC: &str = "I/O APIC at 0xfec00000";

/// All ways in x2APIC mode. The cell ends the machine, as far as it can: the exits of both cells are told then.
pub fn x2apic(trial: &Trial) -> Result<()> {
    ends_itself(trial, Mode::X2apic)
}

/// All ways in xAPIC mode.
pub fn xapic(trial: &Trial) -> Result<()> {
    ends_itself(trial, Mode::Xapic)
}

/// A store of 8 bits.
pub fn byte(trial: &Trial) -> Result<()> {
    let cause = "I/O APIC access at offset 0x10: APIC access of 8 bits instead of 32";
    is_stopped(trial, "byte", cause)
}

/// A store of 16 bits.
pub fn word(trial: &Trial) -> Result<()> {
    let cause = "I/O APIC access at offset 0x10: APIC access of 16 bits instead of 32";
    is_stopped(trial, "word", cause)
}

/// A store of 64 bits.
pub fn quadword(trial: &Trial) -> Result<()> {
    let cause = "I/O APIC access at offset 0x10: APIC access of 64 bits instead of 32";
    is_stopped(trial, "quadword", cause)
}

/// An instruction that reads and writes.
pub fn or(trial: &Trial) -> Result<()> {
    let cause = "I/O APIC access at offset 0x10: APIC access by an instruction that is no plain 32-bit move";
    is_stopped(trial, "or", cause)
}

/// The page, moved by a register of the chipset to where no I/O APIC was at start.
pub fn moved(trial: &Trial) -> Result<()> {
    let cause = "read of guest-physical address 0xfec01000, which is not the cell's";
    is_stopped(trial, "moved", cause)
}

fn scenario<'a>(trial: &'a Trial, mode: Mode, end: &str) -> Result<Scenario<'a>> {
    let cmdline = format!("test=ioapic foreign=1 end={end}");
    let cells = Cells::new(mode, 2)
        .test_with_devices(Slot::A, &[0], &cmdline)
        .test(Slot::B, &[1], "test=answer")
        .channel(Slot::A, Slot::B);
    let mut scenario = trial.scenario(cells.toml())?;
    scenario.spec.memory_mib = MEMORY_MIB;
    Ok(scenario)
}

fn ends_itself(trial: &Trial, mode: Mode) -> Result<()> {
    let seen = scenario(trial, mode, "power-off")?.boot_until(&[
        Wanted::line(HYPERVISOR, "exits: cell=b"),
        Wanted::lines("b", "peer=gone", BEATS),
    ])?;
    let refusals = value(seen.find("a", "name=ioapic")?, "refusals")?;
    let wanted = format!("{IO_APIC}: {refusals} writes left an entry masked");
    seen.find(HYPERVISOR, &wanted)?;
    seen.find(HYPERVISOR, "cell 'a' ended: power-off")?;
    // An INIT would not interrupt the neighbour, but exit.
    let exits = seen.find(HYPERVISOR, "exits: cell=b")?;
    for reason in ["INIT=", "SIPI=", "OTHER_SMI="] {
        ensure!(!exits.contains(reason), "{exits}");
    }
    unharmed(&seen)
}

fn is_stopped(trial: &Trial, end: &str, cause: &str) -> Result<()> {
    let seen = scenario(trial, Mode::X2apic, end)?
        .may_stop_cells()
        .boot_until(&[
            Wanted::line(HYPERVISOR, REPORT_END),
            Wanted::lines("b", "peer=gone", BEATS),
        ])?;
    seen.find(HYPERVISOR, &format!("cell 'a' stopped: {cause}"))?;
    unharmed(&seen)
}

fn unharmed(seen: &Seen) -> Result<()> {
    // Of all refusals one is said.
    let said = seen
        .console(HYPERVISOR)
        .filter(|line| line.contains("stays masked"))
        .count();
    ensure!(said == 1, "{said} refusals were said");
    let first = format!(
        "cell 'a': {IO_APIC}: entry 2 stays masked: physical destination 0x1, which is no CPU of the cell"
    );
    seen.find(HYPERVISOR, &first)?;
    seen.refute(HYPERVISOR, "cell 'b' stopped")?;
    undisturbed(seen.console("b"))
}
