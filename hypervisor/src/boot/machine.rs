//! What the boot loader tells of the machine, copied out before anything is overwritten.

use arrayvec::ArrayVec;
use multiboot2::{BootInformation, BootInformationHeader};

use super::modules::Module;
use super::tags::SymbolTables;
use super::{Image, InitError, physical_memory, tags};
use crate::acpi::{Fadt, Rsdp, Tables};
use crate::cell::MachineAcpi;
use crate::cell::ports::PowerPorts;
use crate::loader::Range;
use crate::loader::e820::{E820Entry, E820Kind, MAX_ENTRIES};
use crate::loader::placement::MAX_MODULES;
use crate::memory::PhysicalMemory;

/// End of what entry.S maps.
pub const FOUR_GIB: u64 = 1 << 32;
/// End of the linear addresses that can be mapped one to one: above is the upper half of the canonical addresses.
/// (SDM 1, "Canonical Addressing")
const IDENTITY_END: u64 = 1 << 47;

/// The machine as the boot loader found it.
pub struct Machine {
    /// Memory map.
    pub memory_map: ArrayVec<E820Entry, MAX_ENTRIES>,
    /// Modules with their names.
    pub modules: ArrayVec<Module, MAX_MODULES>,
    /// End of all memory, at least 4 GiB and at most [`IDENTITY_END`].
    pub memory_end: u64,
    /// `console=PORT` of the command line.
    pub console: Option<u16>,
    /// Where the loader put the hypervisor's symbol table and its names.
    pub symbols: Option<SymbolTables>,
    /// Root of the ACPI tables, if the loader handed it over.
    rsdp: Option<Rsdp>,
    image: Range,
}

impl Machine {
    /// Copies the boot information.
    ///
    /// # Safety
    /// `address` is where a Multiboot2 loader left its information.
    pub unsafe fn read(address: u32, image: &Image) -> Result<Self, InitError> {
        let pointer = core::ptr::with_exposed_provenance::<BootInformationHeader>(address as usize);
        // SAFETY: the caller vouches for the address, which entry.S mapped.
        let info = unsafe { BootInformation::load(pointer) }
            .map_err(|_| InitError::BootInformation("its header or its tags are damaged"))?;
        Self::from_information(&info, image)
    }

    fn from_information(info: &BootInformation, image: &Image) -> Result<Self, InitError> {
        let memory_map = tags::memory_map(info)?;
        let memory_end = memory_map
            .iter()
            .map(|entry| entry.range.end())
            .max()
            .unwrap_or(0)
            .clamp(FOUR_GIB, IDENTITY_END);
        Ok(Self {
            modules: tags::modules(info)?,
            console: tags::console(info),
            symbols: tags::symbols(info),
            rsdp: tags::rsdp(info),
            memory_map,
            memory_end,
            image: Range::new(image.start, image.end - image.start),
        })
    }

    /// Returns the machine's RAM.
    pub fn ram(&self) -> impl Iterator<Item = Range> + '_ {
        self.memory_map
            .iter()
            .filter(|entry| entry.kind == E820Kind::RAM)
            .map(|entry| entry.range)
    }

    /// Tells whether all of `range` is RAM, perhaps of several adjoining entries.
    pub fn is_ram(&self, range: Range) -> bool {
        let mut at = range.base;
        while at < range.end() {
            let Some(entry) = self.ram().find(|entry| entry.holds(at)) else {
                return false;
            };
            at = entry.end();
        }
        true
    }

    /// Returns physical memory without the image.
    pub fn physical(&self) -> PhysicalMemory {
        physical_memory(self, self.image.base, self.image.end())
    }

    /// Opens the ACPI tables.
    pub fn acpi<'a>(&self, physical: &'a PhysicalMemory) -> Result<MachineAcpi<'a>, InitError> {
        let rsdp = match self.rsdp {
            Some(rsdp) => rsdp,
            None => Rsdp::find(physical)?,
        };
        Ok(MachineAcpi {
            tables: Tables::open(physical, &rsdp)?,
            rsdp,
        })
    }
}

/// Returns the ports that the firmware names for power-off and reset.
pub fn power_ports(acpi: &MachineAcpi) -> PowerPorts {
    let Ok(fadt) = Fadt::read(&acpi.tables) else {
        return PowerPorts::default();
    };
    PowerPorts {
        pm1a_control: fadt.pm1a_control.and_then(|register| register.port()),
        pm1b_control: fadt.pm1b_control.and_then(|register| register.port()),
        reset: fadt
            .reset
            .and_then(|reset| Some((reset.register.port()?, reset.value))),
    }
}

#[cfg(test)]
mod fuzz;
