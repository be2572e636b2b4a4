// SPDX-License-Identifier: MIT OR Apache-2.0
//! Delivery of user interrupts, and what happens on an instruction boundary.

use super::fault::Fault;
use super::memory::Memory;
use super::state::{Cpu, RF, TF};

/// What comes first on an instruction boundary. Only the events that the model knows are here; SMI, INIT, debug traps
/// and NMI come before all of them. (SDM 3A, "Prioritization of Concurrent Events")
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Boundary {
    /// A maskable interrupt; a notification is one.
    Interrupt,
    /// A user interrupt.
    UserInterrupt,
    /// The next instruction.
    Instruction,
}

/// Length of the frame that delivery pushes: user vector, RIP, RFLAGS, RSP, from low to high addresses.
pub const FRAME_LEN_BYTES: u64 = 32;

impl Cpu {
    /// Returns what comes first on the boundary that the processor is at.
    pub fn boundary(&self) -> Boundary {
        if self.takes_interrupt() {
            Boundary::Interrupt
        } else if self.takes_user_interrupt() {
            Boundary::UserInterrupt
        } else {
            Boundary::Instruction
        }
    }

    /// Tells whether a user interrupt can be delivered on this boundary: one is recognized, UIF is 1, CPL is 3 in
    /// 64-bit mode, and MOV SS does not block. IF, TPR and STI do not matter. (SDM 3A, "User-Interrupt Delivery")
    pub fn takes_user_interrupt(&self) -> bool {
        self.cr4_uintr
            && self.recognized
            && self.user.uif
            && !self.mov_ss_blocking
            && self.cpl == 3
            && self.is_64_bit_mode()
    }

    /// Delivers the highest requested user vector and returns it. The caller has asked
    /// [`Self::takes_user_interrupt`].
    ///
    /// Raises #GP(0) if the handler's address is not canonical in the paging mode, or what the pushes raise. Then
    /// nothing has changed but bytes below the stack, and the interrupt remains pending.
    /// (SDM 3A, "User-Interrupt Delivery")
    pub fn deliver(&mut self, memory: &mut impl Memory) -> Result<u8, Fault> {
        if !self.is_canonical(self.user.handler) {
            return Err(Fault::GP);
        }
        let adjust = self.user.stack_adjust;
        let stack = if adjust & 1 != 0 {
            adjust
        } else {
            self.rsp.wrapping_sub(adjust)
        } & !0xf;
        let user_vector = highest_bit(self.user.uirr);
        let frame = [self.rsp, self.rflags, self.rip, u64::from(user_vector)];
        let mut rsp = stack;
        for value in frame {
            rsp = rsp.wrapping_sub(8);
            self.write_stack(memory, rsp, value)?;
        }
        self.rsp = rsp;
        self.user.uirr &= !(1 << user_vector);
        self.recognize();
        self.user.uif = false;
        self.rflags &= !(TF | RF);
        self.rip = self.user.handler;
        Ok(user_vector)
    }
}

/// Returns the index of the highest bit of `uirr`, 0 if none is set: the user-interrupt request-register vector
/// (UIRRV). (SDM 3A, "User-Interrupt State")
fn highest_bit(uirr: u64) -> u8 {
    63u8.saturating_sub(uirr.leading_zeros() as u8)
}
