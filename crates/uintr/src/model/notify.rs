// SPDX-License-Identifier: MIT OR Apache-2.0
//! Notifications: telling them from ordinary interrupts, and moving posted requests into UIRR.
//!
//! Processing is two atomic steps, and other processors may come in between: [`Processing::clear_outstanding`], then
//! [`Processing::take_requests`]. The order keeps posts from being lost. A post between the two steps finds ON clear and
//! notifies again; either its request is taken now, and the second notification finds nothing, or it is left for it.

use super::fault::Fault;
use super::memory::{Direction, Memory, Privilege};
use super::send::ON;
use super::state::{Cpu, IF};

/// An interrupt that the processor acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Acknowledged {
    /// An ordinary interrupt: this vector of the IDT is next.
    Interrupt(u8),
    /// A notification: its EOI is done, its processing is next. The IDT has no part in it.
    Notification,
}

/// Notification processing between its two steps: ON is clear, the requests are not taken yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use = "the requests are still to be taken"]
pub struct Processing(());

impl Cpu {
    /// Tells whether the processor takes a maskable interrupt on this boundary: one is requested above its priority,
    /// IF is 1, and neither STI nor MOV SS blocks. UIF does not matter.
    pub fn takes_interrupt(&self) -> bool {
        self.rflags & IF != 0
            && !self.sti_blocking
            && !self.mov_ss_blocking
            && self.apic.deliverable().is_some()
    }

    /// Acknowledges the highest interrupt and tells what it is, or returns `None` if none can be taken now. A
    /// notification's EOI is written at once. (SDM 3A, "User-Interrupt Notification Identification")
    pub fn acknowledge(&mut self) -> Option<Acknowledged> {
        if !self.takes_interrupt() {
            return None;
        }
        let vector = self.apic.acknowledge()?;
        let identifies = self.cr4_uintr && self.lma;
        if !identifies || vector != self.user.uinv {
            return Some(Acknowledged::Interrupt(vector));
        }
        self.apic.end_of_interrupt();
        Some(Acknowledged::Notification)
    }

    /// Does both steps of notification processing with nothing in between; returns the requests taken.
    /// (SDM 3A, "User-Interrupt Notification Processing")
    pub fn process_notification(&mut self, memory: &mut impl Memory) -> Result<u64, Fault> {
        Processing::clear_outstanding(self, memory)?.take_requests(self, memory)
    }

    /// Reads 8 bytes of the UPID for a locked access. A fault here is one of an event from outside: EXT.
    fn read_upid(&self, memory: &impl Memory, address: u64) -> Result<u64, Fault> {
        self.read_system(memory, address, Direction::Write)
            .map_err(|fault| {
                if fault == Fault::GP {
                    Fault::GP_EXT
                } else {
                    fault
                }
            })
    }
}

impl Processing {
    /// Step 1: clears ON at UPIDADDR and leaves the rest of the UPID, reserved bits too, as it is. Raises #PF or #GP
    /// with EXT; the interrupt has ended then, and the post stays in the UPID.
    pub fn clear_outstanding(cpu: &Cpu, memory: &mut impl Memory) -> Result<Self, Fault> {
        let address = cpu.user.upid_address;
        let control = cpu.read_upid(memory, address)?;
        memory.write(address, control & !ON, Privilege::ImplicitSupervisor)?;
        Ok(Self(()))
    }

    /// Step 2: takes PIR, leaves 0 there, and adds what it held to UIRR; returns it. An empty PIR is no error and
    /// changes nothing. Faults as step 1; what step 1 did remains.
    pub fn take_requests(self, cpu: &mut Cpu, memory: &mut impl Memory) -> Result<u64, Fault> {
        let address = cpu.user.upid_address.wrapping_add(8);
        let requests = cpu.read_upid(memory, address)?;
        memory.write(address, 0, Privilege::ImplicitSupervisor)?;
        if requests != 0 {
            cpu.user.uirr |= requests;
            cpu.recognize();
        }
        Ok(requests)
    }
}
