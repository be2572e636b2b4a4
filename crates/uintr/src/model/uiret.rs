// SPDX-License-Identifier: MIT OR Apache-2.0
//! UIRET.

use super::fault::Fault;
use super::memory::Memory;
use super::state::{Cpu, RFLAGS_ONE};

/// Flags that UIRET loads: CF, PF, AF, ZF, SF, TF, DF, OF, NT, RF, AC and ID.
pub const LOADED_FLAGS: u64 = 0x25_4dd5;

impl Cpu {
    /// Returns from a handler: takes RIP, RFLAGS and RSP from the stack, in this order from low to high addresses, and
    /// sets UIF. With flexible UIRET, UIF becomes bit 1 of the RFLAGS image instead.
    ///
    /// RSP points above the user vector, which the handler discards first. Raises #UD where user interrupts are
    /// disabled, what reading the stack raises, or #GP(0) for a RIP that is not canonical in the paging mode; then
    /// nothing has changed. (SDM 2, "UIRET—User-Interrupt Return")
    pub fn uiret(&mut self, memory: &impl Memory) -> Result<(), Fault> {
        self.require_enabled()?;
        let rip = self.read_stack(memory, self.rsp)?;
        let rflags = self.read_stack(memory, self.rsp.wrapping_add(8))?;
        let rsp = self.read_stack(memory, self.rsp.wrapping_add(16))?;
        if !self.is_canonical(rip) {
            return Err(Fault::GP);
        }
        self.retire(0);
        self.rip = rip;
        self.rflags = self.rflags & !LOADED_FLAGS | rflags & LOADED_FLAGS;
        self.rsp = rsp;
        self.user.uif = !self.options.flexible_uiret || rflags & RFLAGS_ONE != 0;
        Ok(())
    }
}
