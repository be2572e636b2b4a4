//! The modules that GRUB loaded, by name.

use arrayvec::{ArrayString, ArrayVec};
use cell_config::System;

use super::InitError;
use super::machine::Machine;
use crate::address::HostPhys;
use crate::loader::Range;
use crate::loader::placement::{self, MAX_MODULES};
use crate::memory::PhysicalMemory;

/// Name of a module: the first word of its GRUB line behind the file.
pub type ModuleName = ArrayString<31>;
/// Name of the module that holds the configuration.
const CONFIGURATION: &str = "config";

/// A module.
#[derive(Clone, Copy, Debug)]
pub struct Module {
    /// Name.
    pub name: ModuleName,
    /// Where it is now.
    pub range: Range,
}

/// All modules.
pub struct Modules {
    list: ArrayVec<Module, MAX_MODULES>,
    physical: PhysicalMemory,
}

impl Modules {
    /// Takes the modules over; names must be unique.
    pub fn new(machine: &Machine) -> Result<Self, InitError> {
        let list = machine.modules.clone();
        for (index, module) in list.iter().enumerate() {
            if list[..index].iter().any(|other| other.name == module.name) {
                return Err(InitError::ModuleTwice { name: module.name });
            }
        }
        Ok(Self {
            list,
            physical: machine.physical(),
        })
    }

    /// Decodes the configuration.
    pub fn configuration(&self) -> Result<System, InitError> {
        Ok(cell_config::decode(
            self.bytes(CONFIGURATION, "the hypervisor")?,
        )?)
    }

    /// Returns the contents of a module.
    pub fn bytes(&self, name: &str, wanted_by: &str) -> Result<&'static [u8], InitError> {
        let range = self.find(name, wanted_by)?.range;
        // SAFETY: no cell runs; `move_away` is the only writer of modules, takes `&mut self`, and its callers let go
        // of what they had borrowed before.
        Ok(unsafe { self.physical.stable_bytes(HostPhys(range.base), range.size) }?)
    }

    fn find(&self, name: &str, wanted_by: &str) -> Result<&Module, InitError> {
        self.list
            .iter()
            .find(|module| &module.name == name)
            .ok_or_else(|| InitError::ModuleMissing {
                // Both are names of the configuration, of at most 31 bytes, with a few words around.
                name: ModuleName::from(name).unwrap_or_default(),
                wanted_by: ArrayString::from(wanted_by).unwrap_or_default(),
            })
    }

    /// Moves all modules out of `destinations`, into `staging` memory that is no destination.
    pub fn move_away(
        &mut self,
        ram: &[Range],
        destinations: &[Range],
        staging: &[Range],
    ) -> Result<(), InitError> {
        let ranges: ArrayVec<Range, MAX_MODULES> =
            self.list.iter().map(|module| module.range).collect();
        for step in placement::plan(ram, destinations, &ranges, staging)? {
            self.physical
                .copy(HostPhys(step.from), HostPhys(step.to), step.len)?;
            self.list[step.module].range.base = step.to;
        }
        Ok(())
    }
}
