//! Builds a cell's tables: EPT, MSR and I/O bitmaps.

use core::fmt;
use core::sync::atomic::AtomicU32;

use arrayvec::ArrayVec;
use cell_config::{ApicMode, Devices, System};

use super::device_memory::{Claimed, for_each_device_range};
use super::ports::PowerPorts;
use super::{Cell, CellState, channels_of, claimed_memory, msr_policy, ports};
use crate::address::{GuestPhys, HostPhys, PAGE_SIZE};
use crate::arch::apic::XAPIC_BASE;
use crate::cpu::EntryState;
use crate::loader::e820::E820Entry;
use crate::memory::{OutOfFrames, PhysicalMemory, allocate_table};
use crate::vmx::ept::{Ept, MapError, MemoryType, Rights};
use crate::vmx::io_bitmap::IoBitmap;
use crate::vmx::msr_bitmap::MsrBitmap;

/// What all cells of the machine share.
#[derive(Clone, Copy, Debug)]
pub struct MachineFacts<'a> {
    /// The configuration.
    pub system: &'static System,
    /// The machine's memory map.
    pub memory_map: &'a [E820Entry],
    /// Ports that end the machine.
    pub power_ports: PowerPorts,
    /// Physical memory, as the hypervisor reaches it.
    pub physical: PhysicalMemory,
    /// Whether EPT maps 1 GiB pages.
    pub ept_1g: bool,
    /// TSC frequency in kHz, 0 if unknown.
    pub tsc_khz: u32,
}

/// A cell cannot be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateError {
    /// EPT.
    Map(MapError),
    /// No memory for its tables.
    OutOfFrames,
}

impl fmt::Display for CreateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Map(error) => error.fmt(f),
            Self::OutOfFrames => OutOfFrames.fmt(f),
        }
    }
}

impl From<MapError> for CreateError {
    fn from(error: MapError) -> Self {
        Self::Map(error)
    }
}

impl From<OutOfFrames> for CreateError {
    fn from(_: OutOfFrames) -> Self {
        Self::OutOfFrames
    }
}

/// Builds cell `id`, which is entered at `entry`.
pub fn create(id: usize, entry: EntryState, facts: &MachineFacts) -> Result<Cell, CreateError> {
    let system = facts.system;
    let config = &system.cells[id];
    let msr_bitmap = allocate_table()?;
    msr_policy::fill(&mut MsrBitmap::intercept_all(msr_bitmap));
    let (low, high) = (allocate_table()?, allocate_table()?);
    let mut io_bitmap = if config.devices == Devices::Rest {
        IoBitmap::pass_all(low, high)
    } else {
        IoBitmap::intercept_all(low, high)
    };
    ports::fill(&mut io_bitmap, system, id, &facts.power_ports);
    Ok(Cell {
        id,
        config,
        system,
        cpus: cpu_indices(system, config),
        ept_pointer: build_ept(id, facts)?.pointer(),
        msr_bitmap: msr_bitmap.phys(),
        io_bitmaps: (low.phys(), high.phys()),
        entry,
        power_ports: facts.power_ports,
        physical: facts.physical,
        tsc_khz: facts.tsc_khz,
        state: AtomicU32::new(CellState::Running as u32),
    })
}

fn cpu_indices(
    system: &System,
    config: &cell_config::Cell,
) -> ArrayVec<usize, { crate::cpu::MAX_CPUS }> {
    let index_of = |id: &u32| system.machine.cpus.iter().position(|cpu| cpu == id);
    config.cpus.iter().filter_map(index_of).collect()
}

fn build_ept(id: usize, facts: &MachineFacts) -> Result<Ept, CreateError> {
    let config = &facts.system.cells[id];
    let mut ept = Ept::new(facts.ept_1g)?;
    for region in &config.memory {
        let (gpa, hpa) = (GuestPhys(region.guest), HostPhys(region.base));
        ept.map(
            gpa,
            hpa,
            region.size,
            Rights::ReadWriteExecute,
            MemoryType::WriteBack,
        )?;
    }
    for channel in channels_of(facts.system, id) {
        identity(
            &mut ept,
            channel.memory.base,
            channel.memory.size,
            Rights::ReadWrite,
            MemoryType::WriteBack,
        )?;
    }
    for range in &config.mmio {
        identity(
            &mut ept,
            range.base,
            range.size,
            Rights::ReadWrite,
            MemoryType::Uncached,
        )?;
    }
    if facts.system.machine.apic_mode == ApicMode::Xapic {
        // Read-only: reads cost nothing, writes exit and are checked.
        identity(
            &mut ept,
            XAPIC_BASE,
            PAGE_SIZE,
            Rights::ReadOnly,
            MemoryType::Uncached,
        )?;
    }
    if config.devices == Devices::Rest {
        let claimed: Claimed = claimed_memory(facts.system).collect();
        for_each_device_range(facts.memory_map, &claimed, |piece| {
            let rights = if piece.memory_type == MemoryType::WriteBack {
                Rights::ReadWriteExecute
            } else {
                Rights::ReadWrite
            };
            identity(
                &mut ept,
                piece.range.base,
                piece.range.size,
                rights,
                piece.memory_type,
            )
        })?;
    }
    Ok(ept)
}

fn identity(
    ept: &mut Ept,
    base: u64,
    size: u64,
    rights: Rights,
    memory_type: MemoryType,
) -> Result<(), MapError> {
    ept.map(GuestPhys(base), HostPhys(base), size, rights, memory_type)
}
