//! Writes a configuration as TOML, for people who want to see what a binary form says.

use core::fmt::{self, Display, Write};
use std::string::{String, ToString};
use std::vec::Vec;

use cell_config::{ALL_USER_VECTORS, Cell, CellKind, Channel, Devices, System};
use cell_config::{CellRegion, PortRange, Region, Size};

/// Returns the configuration as TOML; [`from_toml`](super::from_toml) gives the same configuration back.
pub fn to_toml(system: &System) -> String {
    let mut text = String::new();
    write_system(&mut text, system).expect("a string takes all that is written");
    text
}

fn write_system(to: &mut String, system: &System) -> fmt::Result {
    let machine = &system.machine;
    writeln!(to, "[machine]")?;
    writeln!(to, "name = {}", Quoted(&machine.name))?;
    writeln!(to, "cpus = {}", List(&machine.cpus, cpu))?;
    writeln!(to, "memory = {}", Lines(&machine.memory, region))?;
    writeln!(to, "apic_mode = \"{}\"", machine.apic_mode.text())?;
    writeln!(
        to,
        "when_all_cells_end = \"{}\"",
        machine.when_all_cells_end.text()
    )?;
    writeln!(to, "\n[hypervisor]")?;
    writeln!(to, "memory = {}", Shown(&system.hypervisor.memory, region))?;
    write_console(to, system.hypervisor.console)?;
    writeln!(to, "log_level = \"{}\"", system.hypervisor.log_level.text())?;
    system
        .cells
        .iter()
        .try_for_each(|cell| write_cell(to, cell))?;
    system
        .channels
        .iter()
        .try_for_each(|channel| write_channel(to, system, channel))
}

fn write_cell(to: &mut String, cell: &Cell) -> fmt::Result {
    writeln!(to, "\n[[cell]]")?;
    writeln!(to, "name = {}", Quoted(&cell.name))?;
    writeln!(to, "kind = \"{}\"", cell.kind.text())?;
    writeln!(to, "cpus = {}", List(&cell.cpus, cpu))?;
    writeln!(to, "memory = {}", Lines(&cell.memory, cell_region))?;
    write_console(to, cell.console)?;
    if !cell.ports.is_empty() {
        writeln!(to, "ports = {}", Lines(&cell.ports, port_range))?;
    }
    if !cell.mmio.is_empty() {
        writeln!(to, "mmio = {}", Lines(&cell.mmio, region))?;
    }
    if cell.devices != Devices::None {
        writeln!(to, "devices = \"{}\"", cell.devices.text())?;
    }
    writeln!(to, "foreign_ports = \"{}\"", cell.foreign_ports.text())?;
    writeln!(to, "may_end_machine = {}", cell.may_end_machine)?;
    if cell.may_restart {
        writeln!(to, "may_restart = true")?;
    }
    let key = match cell.kind {
        CellKind::Linux => "kernel",
        CellKind::Elf => "image",
    };
    writeln!(to, "{key} = {}", Quoted(&cell.image))?;
    if let Some(initrd) = &cell.initrd {
        writeln!(to, "initrd = {}", Quoted(initrd))?;
    }
    if !cell.cmdline.is_empty() {
        writeln!(to, "cmdline = {}", Quoted(&cell.cmdline))?;
    }
    Ok(())
}

fn write_channel(to: &mut String, system: &System, channel: &Channel) -> fmt::Result {
    let name = |index: u8| {
        system
            .cells
            .get(usize::from(index))
            .map_or("", |cell| &cell.name)
    };
    writeln!(to, "\n[[channel]]")?;
    writeln!(to, "name = {}", Quoted(&channel.name))?;
    writeln!(to, "client = {}", Quoted(name(channel.client)))?;
    writeln!(to, "server = {}", Quoted(name(channel.server)))?;
    writeln!(to, "memory = {}", Shown(&channel.memory, region))?;
    writeln!(to, "doorbell = \"{}\"", channel.doorbell.text())?;
    write_vectors(to, "client_vectors", channel.client_vectors)?;
    write_vectors(to, "server_vectors", channel.server_vectors)
}

fn write_vectors(to: &mut String, key: &str, vectors: u64) -> fmt::Result {
    if vectors == ALL_USER_VECTORS {
        return Ok(());
    }
    let list: Vec<String> = (0..64)
        .filter(|vector| vectors >> vector & 1 != 0)
        .map(|vector: u32| vector.to_string())
        .collect();
    writeln!(to, "{key} = [{}]", list.join(", "))
}

fn write_console(to: &mut String, console: Option<u16>) -> fmt::Result {
    match console {
        Some(port) => writeln!(to, "console = {{ port = {port:#x} }}"),
        None => Ok(()),
    }
}

fn cpu(cpu: &u32, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    cpu.fmt(f)
}

fn region(region: &Region, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(
        f,
        "{{ base = {:#x}, size = {} }}",
        region.base,
        TomlSize(region.size)
    )
}

fn cell_region(region: &CellRegion, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(
        f,
        "{{ base = {:#x}, size = {}",
        region.base,
        TomlSize(region.size)
    )?;
    if region.guest != region.base {
        write!(f, ", guest = {:#x}", region.guest)?;
    }
    f.write_str(" }")
}

fn port_range(range: &PortRange, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{{ base = {:#x}, size = {} }}", range.base, range.size)
}

/// A size with a unit as a string, or without as an integer.
struct TomlSize(u64);

impl Display for TomlSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 != 0 && self.0.is_multiple_of(1 << 10) {
            write!(f, "\"{}\"", Size(self.0))
        } else {
            write!(f, "{:#x}", self.0)
        }
    }
}

/// A text as a basic string. (TOML 1.0, "String")
struct Quoted<'a>(&'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for c in self.0.chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                c if c.is_control() => write!(f, "\\u{:04x}", u32::from(c))?,
                c => f.write_char(c)?,
            }
        }
        f.write_char('"')
    }
}

/// A value shown by a function.
struct Shown<'a, T, F>(&'a T, F);

impl<T, F: Fn(&T, &mut fmt::Formatter<'_>) -> fmt::Result> Display for Shown<'_, T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.1(self.0, f)
    }
}

/// A list on one line.
struct List<'a, T, F>(&'a [T], F);

impl<T, F: Fn(&T, &mut fmt::Formatter<'_>) -> fmt::Result> Display for List<'_, T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('[')?;
        for (index, item) in self.0.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { ", " })?;
            self.1(item, f)?;
        }
        f.write_char(']')
    }
}

/// A list with a line for each item.
struct Lines<'a, T, F>(&'a [T], F);

impl<T, F: Fn(&T, &mut fmt::Formatter<'_>) -> fmt::Result> Display for Lines<'_, T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[\n")?;
        for item in self.0 {
            f.write_str("  ")?;
            self.1(item, f)?;
            f.write_str(",\n")?;
        }
        f.write_char(']')
    }
}
