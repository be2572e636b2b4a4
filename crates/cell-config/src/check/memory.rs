//! Rules about memory: what the machine has, who owns it, and where a cell sees it.

use super::{
    CheckError, IO_APICS, LARGE_PAGE, LOCAL_APIC, MAX_CHANNEL_MEMORY, MIN_CHANNEL_MEMORY,
    MIN_ELF_MEMORY, MIN_HYPERVISOR_MEMORY, PHYSICAL_END, each_pair,
};
use crate::place::{Extent, Field, Owner, small};
use crate::region::{PAGE_SIZE, Region, Size};
use crate::system::{Cell, CellKind, System};

pub(super) fn check(system: &System) -> Result<(), CheckError> {
    check_shapes(system)?;
    each_pair(machine_memory(system), disjoint)?;
    for extent in owned_memory(system) {
        if !covered(&system.machine.memory, extent.region) {
            return Err(CheckError::NotInMachine { extent });
        }
    }
    each_pair(owned_memory(system), disjoint)?;
    for (index, cell) in system.cells.iter().enumerate() {
        check_guest(system, index, cell)?;
    }
    Ok(())
}

/// Checks each region by itself: size, alignment, end.
fn check_shapes(system: &System) -> Result<(), CheckError> {
    if system.machine.memory.is_empty() {
        return Err(CheckError::NoMemory {
            owner: Owner::Machine,
        });
    }
    for extent in machine_memory(system) {
        check_shape(extent, PAGE_SIZE)?;
        off_apics(extent)?;
    }
    let extent = hypervisor_memory(system);
    check_size(extent, MIN_HYPERVISOR_MEMORY, PHYSICAL_END)?;
    check_shape(extent, LARGE_PAGE)?;
    for (index, cell) in system.cells.iter().enumerate() {
        if cell.memory.is_empty() {
            return Err(CheckError::NoMemory {
                owner: Owner::cell(index, cell),
            });
        }
        for extent in cell_memory(index, cell).chain(cell_mmio(index, cell)) {
            check_shape(extent, PAGE_SIZE)?;
        }
        if cell.kind == CellKind::Elf {
            let first = cell_memory(index, cell).take(1);
            first
                .into_iter()
                .try_for_each(|extent| check_size(extent, MIN_ELF_MEMORY, PHYSICAL_END))?;
        }
    }
    for extent in channel_memory(system) {
        check_size(extent, MIN_CHANNEL_MEMORY, MAX_CHANNEL_MEMORY)?;
        check_shape(extent, LARGE_PAGE)?;
    }
    Ok(())
}

fn check_size(extent: Extent, min: u64, max: u64) -> Result<(), CheckError> {
    match extent.region.size {
        0 => Err(CheckError::ZeroSize { extent }),
        size if size < min => Err(CheckError::TooSmall {
            extent,
            min: Size(min),
        }),
        size if size > max => Err(CheckError::TooLarge {
            extent,
            max: Size(max),
        }),
        _ => Ok(()),
    }
}

fn check_shape(extent: Extent, alignment: u64) -> Result<(), CheckError> {
    let Region { base, size } = extent.region;
    if size == 0 {
        return Err(CheckError::ZeroSize { extent });
    }
    if !base.is_multiple_of(alignment) || !size.is_multiple_of(alignment) {
        return Err(CheckError::Misaligned {
            extent,
            alignment: Size(alignment),
        });
    }
    match extent.region.checked_end() {
        Some(end) if end <= PHYSICAL_END => Ok(()),
        _ => Err(CheckError::AddressTooHigh { extent }),
    }
}

/// Checks what a cell sees at its guest-physical addresses: its memory, its channels and its device memory.
fn check_guest(system: &System, index: usize, cell: &Cell) -> Result<(), CheckError> {
    for (memory, extent) in cell.memory.iter().zip(cell_memory(index, cell)) {
        if cell.kind == CellKind::Linux && memory.guest != memory.base {
            return Err(CheckError::LinuxRemapped {
                extent,
                guest: memory.guest,
            });
        }
    }
    for extent in guest_memory(index, cell) {
        check_shape(extent, PAGE_SIZE)?;
        off_apics(extent)?;
    }
    for extent in cell_mmio(index, cell) {
        off_apics(extent)?;
    }
    let joined = channel_memory(system).zip(&system.channels);
    let channels = joined
        .filter(|(_, c)| usize::from(c.client) == index || usize::from(c.server) == index)
        .map(|(extent, _)| extent);
    let seen = guest_memory(index, cell)
        .chain(cell_mmio(index, cell))
        .chain(channels);
    each_pair(seen, |first, second| {
        match first.region.intersection(second.region) {
            Some(shared) => Err(CheckError::GuestOverlap {
                first: first.place,
                second: second.place,
                shared,
            }),
            None => Ok(()),
        }
    })
}

fn off_apics(extent: Extent) -> Result<(), CheckError> {
    if extent.region.overlaps(LOCAL_APIC) {
        return Err(CheckError::LocalApicOverlap { extent });
    }
    if extent.region.overlaps(IO_APICS) {
        return Err(CheckError::IoApicOverlap { extent });
    }
    Ok(())
}

fn disjoint(first: &Extent, second: &Extent) -> Result<(), CheckError> {
    match first.region.intersection(second.region) {
        Some(shared) => Err(CheckError::MemoryOverlap {
            first: first.place,
            second: second.place,
            shared,
        }),
        None => Ok(()),
    }
}

/// Tells whether the regions of `ram` together hold every byte of `region`, which does not wrap.
fn covered(ram: &[Region], region: Region) -> bool {
    let Some(end) = region.checked_end() else {
        return false;
    };
    let mut at = region.base;
    while at < end {
        match ram
            .iter()
            .find(|r| r.contains(Region::new(at, 1)))
            .map(|r| r.end())
        {
            Some(next) => at = next,
            None => return false,
        }
    }
    true
}

/// Returns all memory that has an owner.
fn owned_memory(system: &System) -> impl Iterator<Item = Extent> + Clone {
    let cells = system
        .cells
        .iter()
        .enumerate()
        .flat_map(|(i, cell)| cell_memory(i, cell));
    cells
        .chain(channel_memory(system))
        .chain([hypervisor_memory(system)])
}

pub(super) fn machine_memory(system: &System) -> impl Iterator<Item = Extent> + Clone {
    regions(Owner::Machine, system.machine.memory.iter().copied())
}

fn hypervisor_memory(system: &System) -> Extent {
    Extent {
        place: Owner::Hypervisor.at(Field::Memory),
        region: system.hypervisor.memory,
    }
}

fn channel_memory(system: &System) -> impl Iterator<Item = Extent> + Clone {
    system
        .channels
        .iter()
        .enumerate()
        .map(|(index, channel)| Extent {
            place: Owner::channel(index, channel).at(Field::Memory),
            region: channel.memory,
        })
}

fn cell_memory(index: usize, cell: &Cell) -> impl Iterator<Item = Extent> + Clone {
    regions(
        Owner::cell(index, cell),
        cell.memory.iter().map(|m| m.host()),
    )
}

fn guest_memory(index: usize, cell: &Cell) -> impl Iterator<Item = Extent> + Clone {
    regions(
        Owner::cell(index, cell),
        cell.memory.iter().map(|m| m.guest()),
    )
}

pub(super) fn cell_mmio(index: usize, cell: &Cell) -> impl Iterator<Item = Extent> + Clone {
    let owner = Owner::cell(index, cell);
    cell.mmio
        .iter()
        .enumerate()
        .map(move |(i, &region)| Extent {
            place: owner.at(Field::Mmio(small(i))),
            region,
        })
}

fn regions(
    owner: Owner,
    list: impl Iterator<Item = Region> + Clone,
) -> impl Iterator<Item = Extent> + Clone {
    list.enumerate().map(move |(i, region)| Extent {
        place: owner.at(Field::MemoryRegion(small(i))),
        region,
    })
}
