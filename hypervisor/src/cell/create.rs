//! Builds a cell's tables: EPT, MSR and I/O bitmaps.

use core::fmt;
use core::sync::atomic::AtomicU32;

use arrayvec::ArrayVec;
use cell_config::{ApicMode, Channel, Devices, MAX_CHANNELS, Region, System};
use hv_abi::channel::{CLIENT_UPIDS_OFFSET, SERVER_UPIDS_OFFSET};

use super::device_memory::{Claimed, for_each_device_range};
use super::ports::PowerPorts;
use super::{Cell, CellState, Filter, Images, channels_of, claimed_memory, msr_policy, ports};
use crate::address::{GuestPhys, HostPhys, PAGE_SIZE};
use crate::arch::apic::XAPIC_BASE;
use crate::cpu::EntryState;
use crate::doorbell::Doorbell;
use crate::loader::e820::E820Entry;
use crate::memory::{OutOfFrames, PhysicalMemory, RangeLimit, UpidPage, allocate_table, leak};
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
    /// A channel where no memory may be touched.
    Channel(RangeLimit),
}

impl fmt::Display for CreateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Map(error) => error.fmt(f),
            Self::OutOfFrames => OutOfFrames.fmt(f),
            Self::Channel(limit) => limit.fmt(f),
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

impl From<RangeLimit> for CreateError {
    fn from(limit: RangeLimit) -> Self {
        Self::Channel(limit)
    }
}

/// Builds cell `id`, which is entered at `entry`, and loaded from `images` if it starts anew.
pub fn create(
    id: usize,
    entry: EntryState,
    images: Option<Images>,
    facts: &MachineFacts,
) -> Result<Cell, CreateError> {
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
    let filter = match system.doorbell_of(id) {
        cell_config::Doorbell::Direct => None,
        cell_config::Doorbell::Filtered => Some(Filter {
            doorbells: doorbells(id, facts)?,
            ..Filter::default()
        }),
    };
    let ept = build_ept(id, facts, filter.as_ref())?;
    Ok(Cell {
        id,
        config,
        system,
        cpus: cpu_indices(system, config),
        ept_pointer: ept.pointer(),
        msr_bitmap: msr_bitmap.phys(),
        io_bitmaps: (low.phys(), high.phys()),
        filter,
        entry,
        power_ports: facts.power_ports,
        physical: facts.physical,
        tsc_khz: facts.tsc_khz,
        images,
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

/// Makes a cell's end of each of its channels, which are all filtered.
fn doorbells(
    id: usize,
    facts: &MachineFacts,
) -> Result<ArrayVec<Doorbell, MAX_CHANNELS>, CreateError> {
    let mut doorbells = ArrayVec::new();
    for (number, channel) in channels_of(facts.system, id).enumerate() {
        let receiver = if usize::from(channel.client) == id {
            (channel.server, channel.server_vectors)
        } else {
            (channel.client, channel.client_vectors)
        };
        let targets = HostPhys(channel.memory.base + peer_upids(channel, id));
        doorbells.push(Doorbell::new(
            number,
            receiver.0.into(),
            receiver.1,
            leak(UpidPage::new())?,
            facts.physical.upid_page(targets)?,
        ));
    }
    Ok(doorbells)
}

/// Returns the offset of a cell's own UPID slots.
pub(super) fn own_upids(channel: &Channel, id: usize) -> u64 {
    let offset = if usize::from(channel.client) == id {
        CLIENT_UPIDS_OFFSET
    } else {
        SERVER_UPIDS_OFFSET
    };
    offset as u64
}

/// Returns the offset of the other end's UPID slots.
fn peer_upids(channel: &Channel, id: usize) -> u64 {
    let offset = if usize::from(channel.client) == id {
        SERVER_UPIDS_OFFSET
    } else {
        CLIENT_UPIDS_OFFSET
    };
    offset as u64
}

/// Maps a channel; where the other end has its UPID slots, a cell with a filter has its proxies.
fn map_channel(
    ept: &mut Ept,
    channel: &Channel,
    proxies: Option<(u64, HostPhys)>,
) -> Result<(), MapError> {
    let Region { base, size } = channel.memory;
    let mut shared = |offset: u64, end: u64| {
        identity(
            ept,
            base + offset,
            end - offset,
            Rights::ReadWrite,
            MemoryType::WriteBack,
        )
    };
    let Some((offset, page)) = proxies else {
        return shared(0, size);
    };
    shared(0, offset)?;
    shared(offset + PAGE_SIZE, size)?;
    ept.map(
        GuestPhys(base + offset),
        page,
        PAGE_SIZE,
        Rights::ReadWrite,
        MemoryType::WriteBack,
    )
}

fn build_ept(id: usize, facts: &MachineFacts, filter: Option<&Filter>) -> Result<Ept, CreateError> {
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
    for (number, channel) in channels_of(facts.system, id).enumerate() {
        let proxies = filter
            .and_then(|filter| filter.doorbells.get(number))
            .map(|doorbell| (peer_upids(channel, id), doorbell.proxies().phys()));
        map_channel(&mut ept, channel, proxies)?;
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
        // I/O APICs are reached through the hypervisor, wherever they are.
        let io_apics = crate::ioapic::all().iter().map(|io_apic| Region {
            base: io_apic.address(),
            size: PAGE_SIZE,
        });
        let claimed: Claimed = claimed_memory(facts.system).chain(io_apics).collect();
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
