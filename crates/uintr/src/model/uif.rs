// SPDX-License-Identifier: MIT OR Apache-2.0
//! CLUI, STUI and TESTUI.

use super::fault::Fault;
use super::state::{CF, Cpu, STATUS_FLAGS};

impl Cpu {
    /// Clears UIF. (SDM 2, "CLUI—Clear User Interrupt Flag")
    pub fn clui(&mut self) -> Result<(), Fault> {
        self.require_enabled()?;
        self.user.uif = false;
        Ok(())
    }

    /// Sets UIF, effective on the next boundary: nothing like STI's blocking follows. (SDM 2, "STUI—Set User Interrupt
    /// Flag")
    pub fn stui(&mut self) -> Result<(), Fault> {
        self.require_enabled()?;
        self.user.uif = true;
        Ok(())
    }

    /// Copies UIF to CF and clears the other status flags. (SDM 2, "TESTUI—Determine User Interrupt Flag")
    pub fn testui(&mut self) -> Result<(), Fault> {
        self.require_enabled()?;
        self.rflags &= !STATUS_FLAGS;
        if self.user.uif {
            self.rflags |= CF;
        }
        Ok(())
    }
}
