// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the hypervisor refuses: one line says why, and nothing is started.

use anyhow::{Result, ensure};

use crate::cells::{CELL_SIZE, Cells, GUEST_BASE, Mode, Slot};
use crate::scenario::{CONSOLE_ARGS, HYPERVISOR, Scenario, Trial, Wanted};

const NOTHING_STARTED: &str = "isthmus: error: nothing was started; halted";
const VMX: &str = "VMX (CPUID.1:ECX[5])";
const UINTR: &str = "UINTR (user interrupts) (CPUID.(7,0):EDX[5])";
const CR4_UINTR: &str = "CR4.UINTR in VMX operation (IA32_VMX_CR4_FIXED1[25])";
const X2APIC: &str = "x2APIC (or set machine.apic_mode = \"xapic\") (CPUID.1:ECX[21])";

/// A configuration with nothing wrong in it.
fn sound() -> Cells {
    Cells::new(Mode::X2apic, 1).test(Slot::A, &[0], "test=hello")
}

/// Boots, checks that nothing was started, and returns the lines that say why.
fn errors(scenario: Scenario) -> Result<Vec<String>> {
    let seen = scenario.boot_until(&[Wanted::line(HYPERVISOR, NOTHING_STARTED)])?;
    for label in ["a", "b", "c"] {
        seen.refute(label, "")?;
    }
    seen.refute(HYPERVISOR, "starts on")?;
    let errors = seen.console(HYPERVISOR);
    let errors = errors.filter(|line| line.contains("error:") && *line != NOTHING_STARTED);
    Ok(errors.map(str::to_owned).collect())
}

/// Boots and checks that one line says why nothing was started, with each of `parts` in it.
fn refused(scenario: Scenario, parts: &[&str]) -> Result<()> {
    let errors = errors(scenario)?;
    ensure!(errors.len() == 1, "not one line of reasons: {errors:?}");
    for part in parts {
        ensure!(errors[0].contains(part), "no '{part}' in '{}'", errors[0]);
    }
    Ok(())
}

/// Boots without some features of the processor and checks that there is one line for each of `items`.
fn lacking(trial: &Trial, features: &[&str], items: &[&str]) -> Result<()> {
    let scenario = trial.scenario(sound().toml())?.without_features(features);
    let mut wanted: Vec<String> = items
        .iter()
        .map(|item| format!("isthmus: error: the processor lacks {item}"))
        .collect();
    wanted.push(format!(
        "isthmus: error: this processor cannot run Isthmus: {} features are missing, see above",
        items.len()
    ));
    let errors = errors(scenario)?;
    ensure!(errors == wanted, "{errors:?} instead of {wanted:?}");
    Ok(())
}

/// No module `config`.
pub fn no_configuration(trial: &Trial) -> Result<()> {
    let wanted =
        "module 'config', wanted by the hypervisor, is missing: add `module2 FILE config` in GRUB";
    refused(trial.bare_scenario(), &[wanted])
}

/// A configuration without its last byte.
pub fn truncated(trial: &Trial) -> Result<()> {
    let bytes = trial.encode(sound().toml())?;
    let cut = bytes.len() - 1;
    let file = trial.file("config", &bytes[..cut])?;
    let states = format!("configuration has {cut} bytes but states {}", bytes.len());
    refused(
        trial.bare_scenario().module("config", &file),
        &["module 'config': ", &states],
    )
}

/// A configuration with one wrong bit.
pub fn flipped_bit(trial: &Trial) -> Result<()> {
    let mut bytes = trial.encode(sound().toml())?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1 << 4;
    let file = trial.file("config", &bytes)?;
    let wanted = "module 'config': configuration is damaged: CRC-32 is 0x";
    refused(trial.bare_scenario().module("config", &file), &[wanted])
}

/// A module that the configuration names is not there.
pub fn missing_module(trial: &Trial) -> Result<()> {
    let scenario = trial.scenario(sound().toml())?.without("test-cell");
    refused(
        scenario,
        &[
            "module 'test-cell', wanted by cell 'a', is missing: add `module2 FILE test-cell` in GRUB",
        ],
    )
}

/// Two modules have one name. GRUB takes the first of them from the end of the hypervisor's own command.
pub fn duplicate_module(trial: &Trial) -> Result<()> {
    let twice = format!("{CONSOLE_ARGS}; module2 /boot/config config");
    let scenario = trial.scenario(sound().toml())?.kernel_args(&twice);
    refused(scenario, &["two modules are named 'config'"])
}

/// A file of zeros is no kernel.
pub fn no_bzimage(trial: &Trial) -> Result<()> {
    let zeros = trial.file("zeros", &[0; 1 << 20])?;
    let cells = Cells::new(Mode::X2apic, 1).linux(&[0], "");
    let scenario = trial
        .scenario(cells.toml())?
        .module("linux", &zeros)
        .module("initrd", &zeros);
    refused(scenario, &["cell 'a': kernel file is no bzImage"])
}

/// Nor an image.
pub fn no_elf(trial: &Trial) -> Result<()> {
    let zeros = trial.file("zeros", &[0; 1 << 16])?;
    let scenario = trial.scenario(sound().toml())?.module("test-cell", &zeros);
    refused(
        scenario,
        &["cell 'a': image of 65536 bytes is no ELF file or is cut off"],
    )
}

/// The image begins 1 MiB above the start of the cell's memory: half a megabyte more is not enough.
pub fn large_image(trial: &Trial) -> Result<()> {
    let size = (1 << 20) + (64 << 10);
    assert!(size < CELL_SIZE);
    let memory = format!("[{{ base = 0x3080_0000, size = {size:#x}, guest = {GUEST_BASE:#x} }}]");
    let cells = Cells::new(Mode::X2apic, 1).elf(Slot::A, &[0], "test-cell", &memory, "");
    refused(
        trial.scenario(cells.toml())?,
        &["cell 'a': image does not fit the cell's memory: needs it up to 0x4"],
    )
}

/// Four CPUs in the configuration, two in the machine.
pub fn missing_cpu(trial: &Trial) -> Result<()> {
    let cells = Cells::new(Mode::X2apic, 4)
        .test(Slot::A, &[0], "test=hello")
        .test(Slot::B, &[3], "test=hello");
    let wanted = "CPU with APIC ID 3 is configured, but this machine has 2 CPUs without it";
    refused(trial.scenario(cells.toml())?.cpus(2), &[wanted])
}

/// Memory at 1.25 GiB, 1 GiB in the machine.
pub fn missing_memory(trial: &Trial) -> Result<()> {
    let memory = format!("[{{ base = 0x5000_0000, size = \"4M\", guest = {GUEST_BASE:#x} }}]");
    let cells =
        Cells::with_memory(Mode::X2apic, 1, 2047).elf(Slot::A, &[0], "test-cell", &memory, "");
    let wanted = "memory 0x50000000-0x50400000 of cell 'a' is not RAM that this machine offers";
    refused(trial.scenario(cells.toml())?, &[wanted])
}

/// A processor without VMX.
pub fn no_vmx(trial: &Trial) -> Result<()> {
    lacking(trial, &["vmx"], &[VMX])
}

/// A processor without user interrupts.
pub fn no_uintr(trial: &Trial) -> Result<()> {
    lacking(trial, &["uintr"], &[UINTR, CR4_UINTR])
}

/// A processor without x2APIC, which the configuration asks for.
pub fn no_x2apic(trial: &Trial) -> Result<()> {
    lacking(trial, &["x2apic"], &[X2APIC])
}

/// A processor without all of them.
pub fn old_processor(trial: &Trial) -> Result<()> {
    lacking(trial, &["vmx", "uintr", "x2apic"], &[VMX, UINTR, X2APIC])
}
