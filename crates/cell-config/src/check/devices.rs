//! Rules about I/O ports and device memory. Shapes of device memory are checked with the other memory.

use super::memory::{cell_mmio, machine_memory};
use super::{CheckError, each_pair};
use crate::place::{Field, Owner, PortExtent, small};
use crate::region::PortRange;
use crate::system::{Cell, CellKind, Devices, System};

pub(super) fn check(system: &System) -> Result<(), CheckError> {
    for extent in all_ports(system) {
        check_range(extent)?;
    }
    each_pair(all_ports(system), |&first, &second| {
        // A cell may name a port of its own twice, as with the ports around its console.
        let is_shared = first.place.owner != second.place.owner;
        if is_shared && first.ports.overlaps(second.ports) {
            return Err(CheckError::PortOverlap { first, second });
        }
        Ok(())
    })?;
    check_mmio(system)?;
    let rest = system
        .cells
        .iter()
        .enumerate()
        .filter(|(_, cell)| cell.devices == Devices::Rest);
    each_pair(rest, |&(i, a), &(j, b)| {
        Err(CheckError::RestOwnedTwice {
            first: Owner::cell(i, a),
            second: Owner::cell(j, b),
        })
    })?;
    check_restarts(system)
}

fn check_restarts(system: &System) -> Result<(), CheckError> {
    let can_restart = |cell: &Cell| cell.kind == CellKind::Elf && cell.devices == Devices::None;
    let mut cells = system.cells.iter().enumerate();
    match cells.find(|(_, cell)| cell.may_restart && !can_restart(cell)) {
        None => Ok(()),
        Some((index, cell)) => Err(CheckError::CannotRestart {
            cell: Owner::cell(index, cell),
        }),
    }
}

fn check_range(extent: PortExtent) -> Result<(), CheckError> {
    if extent.ports.size == 0 {
        return Err(CheckError::NoPorts { extent });
    }
    if extent.ports.end() > 0x1_0000 {
        return Err(CheckError::PortsTooHigh { extent });
    }
    Ok(())
}

fn check_mmio(system: &System) -> Result<(), CheckError> {
    let all = system
        .cells
        .iter()
        .enumerate()
        .flat_map(|(i, cell)| cell_mmio(i, cell));
    for mmio in all.clone() {
        for ram in machine_memory(system) {
            if let Some(shared) = mmio.region.intersection(ram.region) {
                return Err(CheckError::MmioInRam {
                    mmio: mmio.place,
                    ram: ram.place,
                    shared,
                });
            }
        }
    }
    each_pair(all, |first, second| {
        match first.region.intersection(second.region) {
            Some(shared) => Err(CheckError::MmioOverlap {
                first: first.place,
                second: second.place,
                shared,
            }),
            None => Ok(()),
        }
    })
}

/// Returns all I/O ports that have an owner by name: consoles, then further ports.
fn all_ports(system: &System) -> impl Iterator<Item = PortExtent> + Clone {
    let hypervisor = console(Owner::Hypervisor, system.hypervisor.console);
    let cells = system
        .cells
        .iter()
        .enumerate()
        .flat_map(|(i, cell)| cell_ports(i, cell));
    hypervisor.into_iter().chain(cells)
}

fn cell_ports(index: usize, cell: &Cell) -> impl Iterator<Item = PortExtent> + Clone {
    let owner = Owner::cell(index, cell);
    let further = cell
        .ports
        .iter()
        .enumerate()
        .map(move |(i, &ports)| PortExtent {
            place: owner.at(Field::Ports(small(i))),
            ports,
        });
    console(owner, cell.console).into_iter().chain(further)
}

fn console(owner: Owner, port: Option<u16>) -> Option<PortExtent> {
    let place = owner.at(Field::Console);
    port.map(|port| PortExtent {
        place,
        ports: PortRange::uart(port),
    })
}
