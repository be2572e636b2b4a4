// SPDX-License-Identifier: MIT OR Apache-2.0
//! The way from the firmware to running cells.

use anyhow::{Result, ensure};
use lab::machine::Firmware;

use crate::cells::{Cells, GUEST_BASE, Mode, Slot};
use crate::scenario::{HYPERVISOR, Trial, Wanted, value};

/// The BIOS leads to a running cell.
pub fn by_bios(trial: &Trial) -> Result<()> {
    hello(trial, Firmware::Bios)
}

/// So does UEFI.
pub fn by_uefi(trial: &Trial) -> Result<()> {
    hello(trial, Firmware::Uefi)
}

fn hello(trial: &Trial, firmware: Firmware) -> Result<()> {
    let cells = Cells::new(Mode::X2apic, 1).test(Slot::A, &[0], "test=hello");
    let seen = trial
        .scenario(cells.toml())?
        .cpus(1)
        .firmware(firmware)
        .boot_until(&[Wanted::line("a", "test: result=PASS")])?;
    let line = seen.find("a", "name=hello")?;
    ensure!(value(line, "cpus")? == "1", "{line}");
    ensure!(value(line, "memory")? == "4194304", "{line}");
    ensure!(value(line, "x2apic")? == "true", "{line}");
    seen.find(HYPERVISOR, "cell 'a' starts on 1 CPU(s)")?;
    Ok(())
}

/// NimbOS, alone, runs a program that needs no other cell.
pub fn nimbos(trial: &Trial) -> Result<()> {
    let memory = format!("[{{ base = 0x3080_0000, size = \"16M\", guest = {GUEST_BASE:#x} }}]");
    let more = "initrd = \"nimbos-apps\"\ncmdline = \"init=hello\"";
    let cells = Cells::new(Mode::X2apic, 1).elf(Slot::A, &[0], "nimbos", &memory, more);
    let programs = &trial.bench.programs;
    let seen = trial
        .scenario(cells.toml())?
        .module("nimbos", &programs.nimbos)
        .module("nimbos-apps", &programs.nimbos_apps)
        .cpus(1)
        .boot_until(&[Wanted::line("a", "init exited with status 0")])?;
    seen.find("a", "hello: hello from process")?;
    Ok(())
}

/// Three cells with one image each print their own lines only.
pub fn three_cells(trial: &Trial) -> Result<()> {
    let slots = [Slot::A, Slot::B, Slot::C];
    let mut cells = Cells::new(Mode::X2apic, 3);
    for (slot, cpu) in slots.into_iter().zip(0..) {
        cells = cells.test(slot, &[cpu], "test=hello");
    }
    let wanted = slots.map(|slot| Wanted::line(slot.name(), "test: result=PASS"));
    let seen = trial.scenario(cells.toml())?.cpus(3).boot_until(&wanted)?;
    for slot in slots {
        let name = slot.name();
        seen.find(name, &format!("test: cell={name} "))?;
        for other in slots.into_iter().filter(|&other| other != slot) {
            seen.refute(name, &format!("cell={} ", other.name()))?;
        }
    }
    Ok(())
}

/// The boot CPU may belong to nobody.
pub fn not_on_the_boot_cpu(trial: &Trial) -> Result<()> {
    let cells = Cells::new(Mode::X2apic, 2).test(Slot::A, &[1], "test=hello");
    let seen = trial
        .scenario(cells.toml())?
        .boot_until(&[Wanted::line("a", "test: result=PASS")])?;
    ensure!(value(seen.find("a", "name=hello")?, "cpus")? == "1");
    Ok(())
}

/// A processor without x2APIC runs cells in xAPIC mode.
pub fn without_x2apic(trial: &Trial) -> Result<()> {
    let cells = Cells::new(Mode::Xapic, 1).test(Slot::A, &[0], "test=hello");
    let seen = trial
        .scenario(cells.toml())?
        .cpus(1)
        .without_features(&["x2apic"])
        .boot_until(&[Wanted::line("a", "test: result=PASS")])?;
    ensure!(value(seen.find("a", "name=hello")?, "x2apic")? == "false");
    Ok(())
}
