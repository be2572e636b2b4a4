//! Loads a Linux cell by the 64-bit boot protocol, with memory map and ACPI tables of its own.

use core::fmt;

use arrayvec::ArrayVec;
use cell_config::System;

use super::load_elf::write_boot_tables;
use crate::acpi::cell_tables::{self, CellTables};
use crate::acpi::{self, AcpiError};
use crate::address::{HostPhys, PAGE_SIZE};
use crate::cpu::EntryState;
use crate::loader::Range;
use crate::loader::bzimage::{BootArgs, BzImage, BzImageError};
use crate::loader::e820::{self, E820Entry, E820Kind, E820Map, E820Source, TooManyEntries};
use crate::loader::elf_image::ElfError;
use crate::memory::{PhysicalMemory, RangeLimit};

/// The boot area: boot parameters, PML4 and PDPT, GDT, command line, stack, then the ACPI tables.
const BOOT_AREA_LEN: u64 = 0x2_0000;
const PAGE_TABLES: u64 = 0x1000;
const GDT: u64 = 0x3000;
const CMDLINE: u64 = 0x4000;
const STACK_TOP: u64 = 0x8000;
const ACPI_TABLES: u64 = 0x1_0000;
const ACPI_TABLES_LEN: u64 = 0x1_0000;
/// The first 64 KiB are left to firmware and real-mode code.
const LOWEST: u64 = 0x1_0000;
/// The 64-bit entry point. (Linux x86 boot protocol, "64-bit Boot Protocol")
const ENTRY_64: u64 = 0x200;
const FOUR_GIB: u64 = 1 << 32;

/// A cell's images cannot be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadError {
    /// Not a kernel that can be started.
    Kernel(BzImageError),
    /// Not an image that can be started.
    Image(ElfError),
    /// The cell has no memory.
    NoMemory,
    /// The ramdisk does not fit beside the image.
    RamdiskDoesNotFit {
        /// Its length in bytes.
        len: u64,
    },
    /// A Linux cell without the machine's devices has no ACPI tables to start from.
    NeedsDevices,
    /// No room for boot parameters in the cell's memory.
    NoBootArea,
    /// The machine's map has too many entries.
    MemoryMap(TooManyEntries),
    /// The machine's ACPI tables.
    Acpi(AcpiError),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel(error) => error.fmt(f),
            Self::Image(error) => error.fmt(f),
            Self::NoMemory => f.write_str("the cell has no memory"),
            Self::RamdiskDoesNotFit { len } => {
                write!(
                    f,
                    "the initial ramdisk of {len} bytes does not fit into the cell's memory beside the image"
                )
            }
            Self::NeedsDevices => f.write_str(
                "a Linux cell needs devices = \"rest\": one without is not supported yet",
            ),
            Self::NoBootArea => {
                f.write_str("the cell's memory has no 128 KiB of RAM for its boot parameters")
            }
            Self::MemoryMap(_) => {
                f.write_str("the machine's memory map has more entries than Linux takes")
            }
            Self::Acpi(error) => error.fmt(f),
        }
    }
}

macro_rules! from {
    ($($error:ty => $variant:ident),*) => {
        $(impl From<$error> for LoadError {
            fn from(error: $error) -> Self {
                Self::$variant(error)
            }
        })*
    };
}

from!(BzImageError => Kernel, ElfError => Image, TooManyEntries => MemoryMap, AcpiError => Acpi);

/// What a Linux cell is loaded from.
#[derive(Clone, Copy)]
pub struct LinuxSources<'a> {
    /// The configuration.
    pub system: &'static System,
    /// The machine's memory map.
    pub memory_map: &'a [E820Entry],
    /// Physical memory.
    pub physical: &'a PhysicalMemory,
    /// The machine's ACPI tables, if it has any.
    pub acpi: Option<&'a MachineAcpi<'a>>,
}

/// The machine's ACPI tables.
pub struct MachineAcpi<'a> {
    /// Root pointer.
    pub rsdp: acpi::Rsdp,
    /// The tables that it leads to.
    pub tables: acpi::Tables<'a, PhysicalMemory>,
}

/// A Linux cell whose kernel and ramdisk fit.
pub struct LinuxPlan<'a> {
    id: usize,
    kernel: BzImage<'a>,
    place: Range,
    initrd: Option<(&'a [u8], Range)>,
    boot_area: u64,
    map: E820Map,
}

impl<'a> LinuxPlan<'a> {
    /// Checks kernel and ramdisk of cell `id`; writes nothing.
    pub fn new(
        id: usize,
        sources: &LinuxSources,
        kernel: &'a [u8],
        initrd: Option<&'a [u8]>,
    ) -> Result<Self, LoadError> {
        let config = &sources.system.cells[id];
        let kernel = BzImage::parse(kernel)?;
        let memory: ArrayVec<Range, 16> = config
            .memory
            .iter()
            .map(|region| Range::new(region.base, region.size))
            .collect();
        if config.devices != cell_config::Devices::Rest {
            return Err(LoadError::NeedsDevices);
        }
        let source = |tables| E820Source {
            machine: sources.memory_map,
            memory: &memory,
            tables,
            has_devices: true,
        };
        let ram: ArrayVec<Range, { e820::MAX_ENTRIES }> = e820::build(&source(Range::new(0, 0)))?
            .iter()
            .filter(|entry| entry.kind == E820Kind::RAM)
            .map(|entry| entry.range)
            .collect();
        let place = kernel.place(&ram)?;
        let initrd = match initrd {
            None => None,
            Some(bytes) => Some((bytes, place_ramdisk(&ram, place, bytes.len() as u64)?)),
        };
        let boot_area = place_boot_area(&ram, place, initrd.map(|(_, range)| range))
            .ok_or(LoadError::NoBootArea)?;
        let map = e820::build(&source(Range::new(
            boot_area + ACPI_TABLES,
            ACPI_TABLES_LEN,
        )))?;
        Ok(Self {
            id,
            kernel,
            place,
            initrd,
            boot_area,
            map,
        })
    }

    /// Returns the ranges that [`Self::load`] writes.
    pub fn destinations(&self) -> impl Iterator<Item = Range> + use<'_, 'a> {
        let ramdisk = self.initrd.map(|(_, range)| range);
        [self.place, Range::new(self.boot_area, BOOT_AREA_LEN)]
            .into_iter()
            .chain(ramdisk)
    }

    /// Writes the cell's memory.
    pub fn load(&self, sources: &LinuxSources) -> Result<EntryState, LinuxLoadError> {
        let config = &sources.system.cells[self.id];
        let write = |address: u64, bytes: &[u8]| sources.physical.write(HostPhys(address), bytes);
        write(self.place.base, self.kernel.payload())?;
        if let Some((bytes, range)) = self.initrd {
            write(range.base, bytes)?;
        }
        let acpi_rsdp = self.write_acpi_tables(sources, &config.cpus)?;
        let cmdline = config.cmdline.as_bytes();
        write(self.boot_area + CMDLINE, cmdline)?;
        write(self.boot_area + CMDLINE + cmdline.len() as u64, &[0])?;
        let mut page = [0; 4096];
        let args = BootArgs {
            load_address: self.place.base,
            cmdline_address: self.boot_area + CMDLINE,
            cmdline_len: cmdline.len(),
            initrd: self
                .initrd
                .map(|(bytes, range)| Range::new(range.base, bytes.len() as u64)),
            acpi_rsdp,
            e820: &self.map,
        };
        self.kernel
            .write_boot_params(&args, &mut page)
            .map_err(LoadError::Kernel)?;
        write(self.boot_area, &page)?;
        write_boot_tables(self.boot_area + PAGE_TABLES, self.boot_area + GDT, write)?;
        Ok(EntryState {
            rip: self.place.base + ENTRY_64,
            rsp: self.boot_area + STACK_TOP,
            rsi: self.boot_area,
            rdi: 0,
            cr3: self.boot_area + PAGE_TABLES,
            gdt: self.boot_area + GDT,
        })
    }
}

impl LinuxPlan<'_> {
    /// Writes the cell's own ACPI tables and returns the address of its RSDP, 0 where the machine has none.
    fn write_acpi_tables(
        &self,
        sources: &LinuxSources,
        cpus: &[u32],
    ) -> Result<u64, LinuxLoadError> {
        let Some(acpi) = sources.acpi else {
            return Ok(0);
        };
        let mut buffer = [0; 8192];
        let cell = CellTables {
            gpa: self.boot_area + ACPI_TABLES,
            cpus,
            leave_out: &[],
        };
        let written = cell_tables::build(&acpi.tables, &acpi.rsdp, &cell, &mut buffer)
            .map_err(LoadError::Acpi)?;
        sources
            .physical
            .write(HostPhys(cell.gpa), &buffer[..written.len])?;
        Ok(written.rsdp)
    }
}

/// Loading failed after the checks: the error of a write, or one of the checks that only the write could make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinuxLoadError {
    /// A destination is not memory.
    Range(RangeLimit),
    /// The images.
    Load(LoadError),
}

impl fmt::Display for LinuxLoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Range(error) => error.fmt(f),
            Self::Load(error) => error.fmt(f),
        }
    }
}

impl From<RangeLimit> for LinuxLoadError {
    fn from(error: RangeLimit) -> Self {
        Self::Range(error)
    }
}

impl From<LoadError> for LinuxLoadError {
    fn from(error: LoadError) -> Self {
        Self::Load(error)
    }
}

/// The ramdisk goes as high as it can below 4 GiB, out of the way of the kernel's decompression.
fn place_ramdisk(ram: &[Range], kernel: Range, len: u64) -> Result<Range, LoadError> {
    let padded = len.next_multiple_of(PAGE_SIZE);
    let highest = |region: &Range| {
        let end = region.end().min(FOUR_GIB);
        let base = end.checked_sub(padded)? / PAGE_SIZE * PAGE_SIZE;
        let place = Range::new(base, padded);
        (base >= region.base.max(1 << 20) && !place.overlaps(kernel)).then_some(place)
    };
    ram.iter()
        .filter_map(highest)
        .max_by_key(|place| place.base)
        .ok_or(LoadError::RamdiskDoesNotFit { len })
}

fn place_boot_area(ram: &[Range], kernel: Range, initrd: Option<Range>) -> Option<u64> {
    let fits = |region: &Range| {
        let base = region.base.max(LOWEST).next_multiple_of(PAGE_SIZE);
        let area = Range::new(base, BOOT_AREA_LEN);
        let is_free = !area.overlaps(kernel) && initrd.is_none_or(|initrd| !area.overlaps(initrd));
        (region.contains(area) && is_free && area.end() <= FOUR_GIB).then_some(base)
    };
    ram.iter().filter_map(fits).min()
}

#[cfg(test)]
mod fuzz;
