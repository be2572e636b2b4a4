//! Reads a configuration.

use std::format;
use std::string::String;

use arrayvec::ArrayVec;

use super::error::{Step, TomlError};
use super::tables::{
    CellRegionTable, CellTable, ChannelTable, ConsoleTable, HypervisorTable, MachineTable,
    PortTable, RegionTable, SystemTable,
};
use super::values::{List, UserVector};
use crate::values::small;
use cell_config::{
    ALL_USER_VECTORS, Cell, CellKind, Channel, Devices, EndAction, ForeignPorts, Hypervisor,
    LogLevel, Machine, Name, System,
};
use cell_config::{CellRegion, PortRange, Region};

/// Reads and checks a configuration.
///
/// # Errors
/// A text that is no TOML, has unknown, missing or ill-typed keys, or breaks a rule of [`System::check`].
pub fn from_toml(text: &str) -> Result<System, TomlError> {
    let tables: SystemTable =
        toml::from_str(text).map_err(|error| TomlError::from_parser(text, &error))?;
    let system = system(tables).map_err(|wrong| {
        TomlError::at(
            text,
            &[
                Step::Key(wrong.list),
                Step::Index(wrong.index),
                Step::Key(wrong.key),
            ],
            wrong.what,
        )
    })?;
    system
        .check()
        .map_err(|error| TomlError::from_check(text, error))?;
    Ok(system)
}

/// A key of a cell or channel that does not fit the other keys.
struct Wrong {
    list: &'static str,
    index: usize,
    key: &'static str,
    what: String,
}

fn system(tables: SystemTable) -> Result<System, Wrong> {
    let mut cells = ArrayVec::new();
    for (index, table) in tables.cell.0.into_iter().enumerate() {
        cells.push(cell(index, table)?);
    }
    let mut channels = ArrayVec::new();
    for (index, table) in tables.channel.0.into_iter().enumerate() {
        channels.push(channel(index, table, &cells)?);
    }
    Ok(System {
        machine: machine(tables.machine),
        hypervisor: hypervisor(tables.hypervisor),
        cells,
        channels,
    })
}

fn machine(table: MachineTable) -> Machine {
    Machine {
        name: table.name.0,
        cpus: table.cpus.0,
        memory: each(table.memory, region),
        apic_mode: table.apic_mode.0,
        when_all_cells_end: table
            .when_all_cells_end
            .map_or(EndAction::Halt, |word| word.0),
    }
}

fn hypervisor(table: HypervisorTable) -> Hypervisor {
    Hypervisor {
        memory: region(table.memory),
        console: table.console.map(port),
        log_level: table.log_level.map_or(LogLevel::Info, |word| word.0),
    }
}

fn cell(index: usize, table: CellTable) -> Result<Cell, Wrong> {
    Ok(Cell {
        image: image(index, &table)?,
        name: table.name.0,
        kind: table.kind.0,
        cpus: table.cpus.0,
        memory: each(table.memory, cell_region),
        console: table.console.map(port),
        ports: each(table.ports, port_range),
        mmio: each(table.mmio, region),
        devices: table.devices.map_or(Devices::None, |word| word.0),
        foreign_ports: table
            .foreign_ports
            .map_or(ForeignPorts::Stop, |word| word.0),
        may_end_machine: table.may_end_machine,
        may_restart: table.may_restart,
        initrd: table.initrd.map(|text| text.0),
        cmdline: table.cmdline.map(|text| text.0).unwrap_or_default(),
    })
}

/// Returns what `kernel` or `image` says; each kind of cell has one of them and not the other.
fn image(index: usize, table: &CellTable) -> Result<Name, Wrong> {
    let (kind, key, found, other_key, other) = match table.kind.0 {
        CellKind::Linux => ("Linux", "kernel", &table.kernel, "image", &table.image),
        CellKind::Elf => ("ELF", "image", &table.image, "kernel", &table.kernel),
    };
    let wrong = |key, what| Wrong {
        list: "cell",
        index,
        key,
        what,
    };
    if other.is_some() {
        return Err(wrong(
            other_key,
            format!("a cell of kind {kind} has `{key}` instead"),
        ));
    }
    match found {
        Some(text) => Ok(text.0),
        None => Err(wrong(
            key,
            format!("missing: it names the {kind} cell's boot module"),
        )),
    }
}

fn channel(index: usize, table: ChannelTable, cells: &[Cell]) -> Result<Channel, Wrong> {
    let find = |key, name: &Name| {
        let found = cells.iter().position(|cell| cell.name == *name);
        found.map(small).ok_or_else(|| {
            let what = format!("there is no cell '{}'", name.escape_debug());
            Wrong {
                list: "channel",
                index,
                key,
                what,
            }
        })
    };
    Ok(Channel {
        client: find("client", &table.client.0)?,
        server: find("server", &table.server.0)?,
        name: table.name.0,
        memory: region(table.memory),
        doorbell: table.doorbell.0,
        client_vectors: user_vectors(table.client_vectors),
        server_vectors: user_vectors(table.server_vectors),
    })
}

fn user_vectors(list: Option<List<UserVector, 64>>) -> u64 {
    list.map_or(ALL_USER_VECTORS, |list| {
        list.0.iter().fold(0, |set, vector| set | 1 << vector.0)
    })
}

fn each<T, U, const N: usize>(list: List<T, N>, f: impl FnMut(T) -> U) -> ArrayVec<U, N> {
    list.0.into_iter().map(f).collect()
}

fn region(table: RegionTable) -> Region {
    Region::new(table.base.0, table.size.0)
}

fn cell_region(table: CellRegionTable) -> CellRegion {
    CellRegion {
        base: table.base.0,
        size: table.size.0,
        guest: table.guest.unwrap_or(table.base).0,
    }
}

fn port(table: ConsoleTable) -> u16 {
    table.port
}

fn port_range(table: PortTable) -> PortRange {
    PortRange {
        base: table.base,
        size: table.size,
    }
}
