//! Prepares the cells: all images are checked before the first byte is written.

use arrayvec::{ArrayString, ArrayVec};
use cell_config::{CellKind, Region, System};
use hv_abi::channel::{CHANNEL_MAGIC, ChannelHeader};
use log::info;

use super::machine::{Machine, power_ports};
use super::modules::Modules;
use super::{InitError, tsc_khz, verify};
use crate::address::HostPhys;
use crate::cell::{
    self, Cell, CreateError, ElfPlan, Images, LinuxPlan, LinuxSources, LoadError, MAX_CELLS,
    MachineFacts, claimed_memory,
};
use crate::cpu::EntryState;
use crate::ioapic;
use crate::loader::Range;
use crate::memory::{OutOfFrames, PhysicalMemory};
use crate::vmx::capability::VmxCapabilities;

/// Room for every range that loading writes with everything that is claimed (about 400 at most), or every range of RAM.
type Ranges = ArrayVec<Range, 512>;

/// A cell whose images were checked.
#[expect(
    clippy::large_enum_variant,
    reason = "one at a time, on a stack that is large enough; there is no heap yet"
)]
enum Plan<'a> {
    Linux(LinuxPlan<'a>),
    Elf(ElfPlan<'a>),
}

/// Checks all images, moves the modules out of the way, fills the cells' memory and builds their tables.
pub fn prepare(
    system: &'static System,
    machine: &Machine,
    mut modules: Modules,
    vmx: &VmxCapabilities,
) -> Result<ArrayVec<Cell, MAX_CELLS>, InitError> {
    let own = system.hypervisor.memory;
    let physical = super::physical_memory(machine, own.base, own.base + own.size);
    let acpi = machine.acpi(&physical)?;
    ioapic::publish(&verify::io_apics(system, &acpi)?)?;
    let sources = LinuxSources {
        system,
        memory_map: &machine.memory_map,
        physical: &physical,
        acpi: Some(&acpi),
    };
    let destinations = destinations(system, &modules, &sources)?;
    move_modules(system, machine, &mut modules, &destinations)?;

    let facts = MachineFacts {
        system,
        memory_map: &machine.memory_map,
        power_ports: power_ports(&acpi),
        physical,
        ept_1g: vmx.ept_1g(),
        tsc_khz: tsc_khz(),
    };
    clear_channels(system, &physical)?;
    let mut cells = ArrayVec::new();
    for id in 0..system.cells.len() {
        let entry = load(id, &modules, &sources, &facts)?;
        let cell = images(id, &modules, system)?
            .map_err(CreateError::from)
            .and_then(|images| cell::create(id, entry, images, &facts));
        let name = system.cells[id].name;
        cells.push(cell.map_err(|error| InitError::Create { cell: name, error })?);
    }
    Ok(cells)
}

/// Keeps the images of a cell that may restart: where they are now, cells write.
fn images(
    id: usize,
    modules: &Modules,
    system: &System,
) -> Result<Result<Option<Images>, OutOfFrames>, InitError> {
    let config = &system.cells[id];
    if !config.may_restart {
        return Ok(Ok(None));
    }
    let image = modules.bytes(&config.image, &config.name)?;
    let initrd = match &config.initrd {
        Some(name) => Some(modules.bytes(name, &config.name)?),
        None => None,
    };
    Ok(Images::keep(image, initrd).map(Some))
}

fn plan<'a>(id: usize, modules: &Modules, sources: &LinuxSources) -> Result<Plan<'a>, InitError> {
    let config = &sources.system.cells[id];
    let mut owner = ArrayString::<64>::new();
    // 64 bytes hold a name of 31 and the words around it.
    let _ = core::fmt::Write::write_fmt(&mut owner, format_args!("cell '{}'", config.name));
    let image = modules.bytes(&config.image, &owner)?;
    let initrd = match &config.initrd {
        Some(name) => Some(modules.bytes(name, &owner)?),
        None => None,
    };
    let failed = |error: LoadError| InitError::Load {
        cell: config.name,
        error,
    };
    Ok(match config.kind {
        CellKind::Linux => Plan::Linux(LinuxPlan::new(id, sources, image, initrd).map_err(failed)?),
        CellKind::Elf => {
            Plan::Elf(ElfPlan::new(id, sources.system, image, initrd).map_err(failed)?)
        }
    })
}

/// Checks all images and returns every range that loading or the cells themselves will write at once.
fn destinations(
    system: &'static System,
    modules: &Modules,
    sources: &LinuxSources,
) -> Result<Ranges, InitError> {
    const LOW_MEMORY: Range = Range::new(0, 1 << 20);
    let mut ranges = Ranges::new();
    let own = system.hypervisor.memory;
    ranges.push(LOW_MEMORY);
    ranges.push(Range::new(own.base, own.size));
    ranges.extend(
        system
            .channels
            .iter()
            .map(|channel| Range::new(channel.memory.base, channel.memory.size)),
    );
    for (id, config) in system.cells.iter().enumerate() {
        match plan(id, modules, sources)? {
            Plan::Linux(linux) => ranges.extend(linux.destinations()),
            Plan::Elf(_) => ranges.extend(
                config
                    .memory
                    .iter()
                    .map(|region| Range::new(region.base, region.size)),
            ),
        }
    }
    Ok(ranges)
}

/// Stages in a Linux cell's memory, or else in memory that nobody claims.
fn move_modules(
    system: &System,
    machine: &Machine,
    modules: &mut Modules,
    destinations: &[Range],
) -> Result<(), InitError> {
    let ram: Ranges = machine.ram().collect();
    let linux = system
        .cells
        .iter()
        .filter(|cell| cell.kind == CellKind::Linux);
    let mut staging: Ranges = linux
        .flat_map(|cell| &cell.memory)
        .map(|region| Range::new(region.base, region.size))
        .collect();
    let mut forbidden: Ranges = destinations.iter().copied().collect();
    if staging.is_empty() {
        staging = ram.clone();
        forbidden
            .extend(claimed_memory(system).map(|Region { base, size }| Range::new(base, size)));
    }
    modules.move_away(&ram, &forbidden, &staging)
}

/// Fills the memory of a cell. The images were checked; they are taken apart again where they are now.
fn load(
    id: usize,
    modules: &Modules,
    sources: &LinuxSources,
    facts: &MachineFacts,
) -> Result<EntryState, InitError> {
    let name = sources.system.cells[id].name;
    let written = match plan(id, modules, sources)? {
        Plan::Linux(linux) => linux.load(sources),
        Plan::Elf(elf) => elf.load(&facts.physical, facts.tsc_khz).map_err(Into::into),
    };
    let entry = written.map_err(|error| InitError::Write { cell: name, error })?;
    info!("cell '{name}' loaded, entry {:#x}", entry.rip);
    Ok(entry)
}

/// Zeroes all channels, descriptors included: nothing of an earlier owner is ever taken for a descriptor.
fn clear_channels(system: &System, physical: &PhysicalMemory) -> Result<(), InitError> {
    for channel in &system.channels {
        let Region { base, size } = channel.memory;
        physical.zero(HostPhys(base), size)?;
        let header = ChannelHeader {
            magic: CHANNEL_MAGIC,
            revision: hv_abi::ABI_REVISION,
            reserved: 0,
            size,
        };
        physical.write(HostPhys(base), zerocopy::IntoBytes::as_bytes(&header))?;
    }
    Ok(())
}
