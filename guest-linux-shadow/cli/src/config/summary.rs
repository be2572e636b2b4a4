//! A configuration on one screen.

use std::fmt::Write;
use std::path::Path;

use cell_config::{Cell, CellKind, Channel, Devices, Size, System};

/// Returns the summary of a configuration that has passed its checks.
pub fn text(file: &Path, system: &System) -> String {
    let mut text = format!("{}: accepted\n", file.display());
    let mut row = |what: &str, about: String| {
        writeln!(text, "  {what:<12}{about}").expect("a string takes all that is written");
    };
    row("machine", machine(system));
    row("hypervisor", hypervisor(system));
    let width = system
        .cells
        .iter()
        .map(|cell| cell.name.chars().count())
        .max()
        .unwrap_or(0);
    for each in &system.cells {
        row("cell", cell(each, width));
    }
    for each in &system.channels {
        row("channel", channel(system, each));
    }
    row("unused", unused(system));
    text
}

fn machine(system: &System) -> String {
    let machine = &system.machine;
    let ram = machine.memory.iter().map(|region| region.size).sum();
    let mode = machine.apic_mode.text();
    format!(
        "{}: CPUs {}, {} RAM, {mode}",
        machine.name,
        cpu_list(&machine.cpus),
        amount(ram)
    )
}

fn hypervisor(system: &System) -> String {
    let hypervisor = &system.hypervisor;
    let (base, size) = (hypervisor.memory.base, Size(hypervisor.memory.size));
    let level = hypervisor.log_level.text();
    format!(
        "{size} at {base:#x}, {}, log level {level}",
        console(hypervisor.console)
    )
}

fn cell(cell: &Cell, width: usize) -> String {
    let kind = match cell.kind {
        CellKind::Linux => "Linux",
        CellKind::Elf => "ELF",
    };
    let mut text = format!(
        "{:<width$}  {kind:<5}  CPUs {}, {} RAM, {}",
        cell.name,
        cpu_list(&cell.cpus),
        amount(cell_memory(cell)),
        console(cell.console),
    );
    if cell.devices == Devices::Rest {
        text.push_str(", all other devices");
    }
    if cell.may_end_machine {
        text.push_str(", may end the machine");
    }
    if cell.may_restart {
        text.push_str(", may restart");
    }
    text
}

fn channel(system: &System, channel: &Channel) -> String {
    let name = |index: u8| system.cells[usize::from(index)].name;
    format!(
        "{}: {} to {}, {} at {:#x}, {}",
        channel.name,
        name(channel.client),
        name(channel.server),
        Size(channel.memory.size),
        channel.memory.base,
        channel.doorbell.text(),
    )
}

/// Says what nobody owns. Owned regions are disjoint and in the machine's memory, so sizes may be subtracted.
fn unused(system: &System) -> String {
    let has_owner = |cpu: &u32| system.cells.iter().any(|cell| cell.cpus.contains(cpu));
    let cpus: Vec<u32> = system
        .machine
        .cpus
        .iter()
        .copied()
        .filter(|cpu| !has_owner(cpu))
        .collect();
    let ram: u64 = system.machine.memory.iter().map(|region| region.size).sum();
    let cells: u64 = system.cells.iter().map(cell_memory).sum();
    let channels: u64 = system
        .channels
        .iter()
        .map(|channel| channel.memory.size)
        .sum();
    let left = ram.saturating_sub(cells + channels + system.hypervisor.memory.size);
    match &cpus[..] {
        [] => format!("no CPU, {} RAM", amount(left)),
        cpus => format!("CPUs {}, {} RAM", cpu_list(cpus), amount(left)),
    }
}

fn cell_memory(cell: &Cell) -> u64 {
    cell.memory.iter().map(|region| region.size).sum()
}

fn console(port: Option<u16>) -> String {
    port.map_or_else(|| "no console".into(), |port| format!("console {port:#x}"))
}

/// Returns a size to a tenth of the largest unit that it reaches: `957.6M`.
fn amount(bytes: u64) -> String {
    const UNITS: [(u32, char); 4] = [(40, 'T'), (30, 'G'), (20, 'M'), (10, 'K')];
    let Some((shift, unit)) = UNITS.into_iter().find(|(shift, _)| bytes >> shift != 0) else {
        return format!("{bytes} bytes");
    };
    let tenths = (u128::from(bytes) * 10) >> shift;
    match tenths % 10 {
        0 => format!("{}{unit}", tenths / 10),
        tenth => format!("{}.{tenth}{unit}", tenths / 10),
    }
}

/// Returns APIC IDs in ascending order, neighbours as a range: `0-3,8`.
fn cpu_list(cpus: &[u32]) -> String {
    let mut sorted = cpus.to_vec();
    sorted.sort_unstable();
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for cpu in sorted {
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(cpu) => *last = cpu,
            _ => runs.push((cpu, cpu)),
        }
    }
    let shown = runs.iter().map(|(first, last)| {
        if first == last {
            first.to_string()
        } else {
            format!("{first}-{last}")
        }
    });
    shown.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_cpus_are_shown_as_a_range() {
        assert_eq!(cpu_list(&[3, 0, 1, 8, 2]), "0-3,8");
        assert_eq!(cpu_list(&[u32::MAX, 5]), "5,4294967295");
        assert_eq!(cpu_list(&[]), "");
    }

    #[test]
    fn amounts_are_rounded_down_to_a_tenth() {
        assert_eq!(amount(0), "0 bytes");
        assert_eq!(amount(1 << 20), "1M");
        assert_eq!(amount((1 << 20) + (600 << 10)), "1.5M");
        assert_eq!(amount(u64::MAX), "16777215.9T");
    }
}
