//! What the boot loader tells of the machine, copied out before anything is overwritten.

use arrayvec::ArrayVec;
use multiboot2::{BootInformation, BootInformationHeader, MemoryAreaType};

use super::modules::{Module, ModuleName};
use super::{Image, InitError, physical_memory};
use crate::acpi::{Fadt, Rsdp, Tables};
use crate::cell::MachineAcpi;
use crate::cell::ports::PowerPorts;
use crate::loader::Range;
use crate::loader::e820::{E820Entry, E820Kind, MAX_ENTRIES};
use crate::loader::placement::MAX_MODULES;
use crate::memory::PhysicalMemory;

const FOUR_GIB: u64 = 1 << 32;

/// The machine as the boot loader found it.
pub struct Machine {
    /// Memory map.
    pub memory_map: ArrayVec<E820Entry, MAX_ENTRIES>,
    /// Modules with their names.
    pub modules: ArrayVec<Module, MAX_MODULES>,
    /// End of all memory, at least 4 GiB.
    pub memory_end: u64,
    /// `console=PORT` of the command line.
    pub console: Option<u16>,
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
            .map_err(|_| InitError::BootInformation("its header is damaged"))?;
        let memory_map = read_memory_map(&info)?;
        let memory_end = memory_map
            .iter()
            .map(|entry| entry.range.end())
            .max()
            .unwrap_or(0)
            .max(FOUR_GIB);
        Ok(Self {
            modules: read_modules(&info)?,
            console: info
                .command_line_tag()
                .and_then(|tag| tag.cmdline().ok())
                .and_then(console_option),
            rsdp: read_rsdp(&info),
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

fn read_memory_map(info: &BootInformation) -> Result<ArrayVec<E820Entry, MAX_ENTRIES>, InitError> {
    let tag = info
        .memory_map_tag()
        .ok_or(InitError::BootInformation("it has no memory map"))?;
    let mut map = ArrayVec::new();
    for area in tag.memory_areas() {
        let kind = match area.typ() {
            MemoryAreaType::Available => E820Kind::RAM,
            MemoryAreaType::AcpiAvailable => E820Kind::ACPI_TABLES,
            MemoryAreaType::ReservedHibernate => E820Kind::ACPI_NVS,
            MemoryAreaType::Defective => E820Kind::UNUSABLE,
            MemoryAreaType::Reserved | MemoryAreaType::Custom(_) => E820Kind::RESERVED,
        };
        let entry = E820Entry {
            range: Range::new(area.start_address(), area.size()),
            kind,
        };
        map.try_push(entry).map_err(|_| InitError::TooMany {
            what: "memory map entries",
            limit: MAX_ENTRIES,
        })?;
    }
    Ok(map)
}

fn read_modules(info: &BootInformation) -> Result<ArrayVec<Module, MAX_MODULES>, InitError> {
    let mut modules = ArrayVec::new();
    for tag in info.module_tags() {
        let text = tag
            .cmdline()
            .map_err(|_| InitError::BootInformation("a module's name is no UTF-8"))?;
        let word = text.split_ascii_whitespace().next().unwrap_or("");
        let name = ModuleName::from(word)
            .map_err(|_| InitError::BootInformation("a module's name is too long"))?;
        let (start, end) = (u64::from(tag.start_address()), u64::from(tag.end_address()));
        let size = end
            .checked_sub(start)
            .ok_or(InitError::BootInformation("a module ends before it starts"))?;
        modules
            .try_push(Module {
                name,
                range: Range::new(start, size),
            })
            .map_err(|_| InitError::TooMany {
                what: "modules",
                limit: MAX_MODULES,
            })?;
    }
    Ok(modules)
}

fn read_rsdp(info: &BootInformation) -> Option<Rsdp> {
    let bytes = |id: u32| {
        info.tags()
            .find(|tag| u32::from(tag.header().typ) == id)
            .map(|tag| tag.payload())
    };
    // Tag 15 holds a copy of the ACPI 2.0 root pointer, tag 14 of the older one.
    bytes(15)
        .and_then(|copy| Rsdp::parse(copy).ok())
        .or_else(|| bytes(14).and_then(|copy| Rsdp::parse(copy).ok()))
}

/// Finds `console=PORT`, decimal or with 0x.
fn console_option(cmdline: &str) -> Option<u16> {
    let value = cmdline
        .split_ascii_whitespace()
        .find_map(|word| word.strip_prefix("console="))?;
    match value.strip_prefix("0x") {
        Some(digits) => u16::from_str_radix(digits, 16).ok(),
        None => value.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::console_option;

    #[test]
    fn the_console_option_takes_hexadecimal_and_decimal_ports() {
        assert_eq!(console_option("/boot/isthmus console=0x2f8"), Some(0x2f8));
        assert_eq!(console_option("console=760 quiet"), Some(760));
        assert_eq!(console_option("console=ttyS0"), None);
        assert_eq!(console_option("console=0x1ffff"), None);
        assert_eq!(console_option(""), None);
    }
}
