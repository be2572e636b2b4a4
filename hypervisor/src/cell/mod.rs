//! Cells: what each owns, how it is built and loaded, and how it ends.
//!
//! A [`Cell`] is made once, before its CPUs run, from the checked configuration; afterwards only its state changes.
//! It says what a CPU of the cell may do; `exit` asks it.
#![forbid(unsafe_code)]

mod create;
mod device_memory;
mod end;
mod fault;
#[cfg(test)]
mod fuzz;
mod info;
mod load_elf;
mod load_linux;
pub mod msr_policy;
pub mod ports;
mod restart;

pub use create::{CreateError, MachineFacts, create};
pub use end::{end, end_machine_if_over, leave_channels};
pub use fault::{CellFault, CellStop, EndKind};
pub use info::boot_info;
pub use load_elf::ElfPlan;
pub use load_linux::{LinuxLoadError, LinuxPlan, LinuxSources, LoadError, MachineAcpi};
pub use restart::{Images, is_restarting, restart};

use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use arrayvec::ArrayVec;
use cell_config::{MAX_CHANNELS, Region, System};
use spin::Once;

use crate::address::{GuestPhys, HostPhys};
use crate::cpu::{CpuShared, EntryState, shared};
use crate::doorbell::Doorbell;
use crate::lapic::icr::{CellCpus, LogicalId};
use crate::memory::PhysicalMemory;

/// Most cells of a machine.
pub const MAX_CELLS: usize = 8;

/// What a cell is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum CellState {
    /// Its CPUs run.
    Running = 0,
    /// It ended itself: power-off or reset.
    ShutDown = 1,
    /// It was stopped for what it did.
    Failed = 2,
    /// Its CPUs leave it, to begin again.
    Restarting = 3,
}

impl fmt::Display for CellState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Running => "running",
            Self::ShutDown => "shut down",
            Self::Failed => "failed",
            Self::Restarting => "restarting",
        })
    }
}

/// A cell.
pub struct Cell {
    /// Index in the configuration.
    pub id: usize,
    /// Its part of the configuration.
    pub config: &'static cell_config::Cell,
    /// The whole configuration.
    pub system: &'static System,
    /// Indices of its CPUs in the machine's list.
    pub cpus: ArrayVec<usize, { crate::cpu::MAX_CPUS }>,
    /// EPT pointer of all its CPUs.
    pub ept_pointer: u64,
    /// MSR bitmaps.
    pub msr_bitmap: HostPhys,
    /// I/O bitmaps A and B.
    pub io_bitmaps: (HostPhys, HostPhys),
    /// Entry of its first CPU.
    pub entry: EntryState,
    /// Its doorbells, if SENDUIPI is filtered; `None` if the cell may send any interrupt to any CPU.
    pub filter: Option<Filter>,
    /// Ports that end the cell, or the machine.
    pub power_ports: ports::PowerPorts,
    /// Physical memory, as the hypervisor reaches it.
    pub physical: PhysicalMemory,
    /// TSC frequency in kHz.
    pub tsc_khz: u32,
    /// What it is loaded from when it starts anew, if it may.
    pub images: Option<Images>,
    state: AtomicU32,
}

/// What a cell with filtered SENDUIPI may do with it, beyond interrupting its own CPUs.
#[derive(Default)]
pub struct Filter {
    /// Its ends of channels; an end's number is in its proxies.
    pub doorbells: ArrayVec<Doorbell, MAX_CHANNELS>,
    /// Whether the log has been told of something refused.
    refusal_told: AtomicBool,
}

impl Filter {
    /// Returns whether this is the first refusal: the one that the log is told of.
    pub fn is_first_refusal(&self) -> bool {
        !self.refusal_told.swap(true, Ordering::Relaxed)
    }
}

/// A guest-physical range that is not in the cell's own memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotOwnMemory;

static CELLS: Once<ArrayVec<Cell, MAX_CELLS>> = Once::new();

/// Publishes the cells, before the first one is entered.
pub fn publish(cells: ArrayVec<Cell, MAX_CELLS>) -> &'static [Cell] {
    CELLS.call_once(|| cells)
}

/// Returns the published cells.
pub fn all() -> &'static [Cell] {
    CELLS.get().map_or(&[], |cells| cells.as_slice())
}

impl Cell {
    /// Returns the cell's name.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// Returns what the cell does.
    pub fn state(&self) -> CellState {
        match self.state.load(Ordering::Acquire) {
            0 => CellState::Running,
            1 => CellState::ShutDown,
            3 => CellState::Restarting,
            _ => CellState::Failed,
        }
    }

    /// Marks the cell as ended. Returns whether this call did it: of several CPUs, one reports.
    fn mark_ended(&self, state: CellState) -> bool {
        self.change_state(CellState::Running, state)
    }

    /// Goes from one state to another, unless it has gone elsewhere meanwhile. Returns whether this call did it.
    fn change_state(&self, from: CellState, to: CellState) -> bool {
        self.state
            .compare_exchange(from as u32, to as u32, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// Returns the public side of the cell's CPUs, the first one first.
    pub fn cpu_shares(&self) -> impl Iterator<Item = &'static CpuShared> {
        self.cpus.iter().map(|&index| shared(index))
    }

    /// Translates a guest-physical range that lies in one region of the cell's own memory.
    pub fn own_memory(&self, gpa: GuestPhys, len: u64) -> Result<HostPhys, NotOwnMemory> {
        own_memory(self.config, gpa, len)
    }

    /// Copies from the cell's own memory.
    pub fn read_memory(&self, gpa: GuestPhys, buffer: &mut [u8]) -> Result<(), NotOwnMemory> {
        let hpa = self.own_memory(gpa, buffer.len() as u64)?;
        self.physical.read(hpa, buffer).map_err(|_| NotOwnMemory)
    }

    /// Copies into the cell's own memory.
    pub fn write_memory(&self, gpa: GuestPhys, bytes: &[u8]) -> Result<(), NotOwnMemory> {
        let hpa = self.own_memory(gpa, bytes.len() as u64)?;
        self.physical.write(hpa, bytes).map_err(|_| NotOwnMemory)
    }

    /// Returns the channels that this cell is an end of.
    pub fn channels(&self) -> impl Iterator<Item = &'static cell_config::Channel> {
        channels_of(self.system, self.id)
    }
}

impl CellCpus for Cell {
    fn apic_ids(&self) -> &[u32] {
        &self.config.cpus
    }

    fn xapic_logical(&self, index: usize) -> LogicalId {
        self.cpus.get(index).map_or(
            LogicalId {
                ldr: 0,
                dfr: u32::MAX,
            },
            |&cpu| shared(cpu).xapic_logical(),
        )
    }
}

fn own_memory(
    config: &cell_config::Cell,
    gpa: GuestPhys,
    len: u64,
) -> Result<HostPhys, NotOwnMemory> {
    let end = gpa.0.checked_add(len).ok_or(NotOwnMemory)?;
    config
        .memory
        .iter()
        .find(|region| gpa.0 >= region.guest && end <= region.guest.saturating_add(region.size))
        .map(|region| HostPhys(region.base + (gpa.0 - region.guest)))
        .ok_or(NotOwnMemory)
}

fn channels_of(
    system: &'static System,
    cell: usize,
) -> impl Iterator<Item = &'static cell_config::Channel> {
    system.channels.iter().filter(move |channel| {
        usize::from(channel.client) == cell || usize::from(channel.server) == cell
    })
}

/// Everything in the configuration that is somebody's memory: cells', channels', the hypervisor's.
pub fn claimed_memory(system: &System) -> impl Iterator<Item = Region> + '_ {
    let cells = system.cells.iter().flat_map(|cell| {
        cell.memory
            .iter()
            .map(|region| Region {
                base: region.base,
                size: region.size,
            })
            .chain(cell.mmio.iter().copied())
    });
    cells
        .chain(system.channels.iter().map(|channel| channel.memory))
        .chain([system.hypervisor.memory])
}
