// SPDX-License-Identifier: MIT OR Apache-2.0
//! The accesses that user interrupts make to memory, with the exceptions that each kind raises.

use super::fault::Fault;
use super::memory::{Direction, Memory, Privilege};
use super::state::{AC, Cpu};

impl Cpu {
    /// Reads 8 bytes of a UITT entry or UPID: an implicit supervisor access at any CPL. Raises #GP(0) for an address
    /// that is not canonical, or #PF. (SDM 3A, "User IPIs"; "Access Rights")
    pub(super) fn read_system(
        &self,
        memory: &impl Memory,
        address: u64,
        direction: Direction,
    ) -> Result<u64, Fault> {
        if !self.is_canonical_word(address) {
            return Err(Fault::GP);
        }
        Ok(memory.read(address, direction, Privilege::ImplicitSupervisor)?)
    }

    /// Reads 8 bytes of the stack as POP does at the current CPL: #SS(0), #AC(0) or #PF.
    pub(super) fn read_stack(&self, memory: &impl Memory, address: u64) -> Result<u64, Fault> {
        self.check_stack(address)?;
        Ok(memory.read(address, Direction::Read, self.privilege())?)
    }

    /// Writes 8 bytes of the stack as PUSH does at the current CPL: #SS(0), #AC(0) or #PF.
    pub(super) fn write_stack(
        &self,
        memory: &mut impl Memory,
        address: u64,
        value: u64,
    ) -> Result<(), Fault> {
        self.check_stack(address)?;
        Ok(memory.write(address, value, self.privilege())?)
    }

    fn check_stack(&self, address: u64) -> Result<(), Fault> {
        if !self.is_canonical_word(address) {
            return Err(Fault::SS);
        }
        let checks_alignment = self.cpl == 3 && self.cr0_am && self.rflags & AC != 0;
        if checks_alignment && !address.is_multiple_of(8) {
            return Err(Fault::AC);
        }
        Ok(())
    }

    fn is_canonical_word(&self, address: u64) -> bool {
        self.is_canonical(address) && self.is_canonical(address.wrapping_add(7))
    }
}
