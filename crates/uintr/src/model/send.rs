// SPDX-License-Identifier: MIT OR Apache-2.0
//! SENDUIPI.

use super::apic::Ipi;
use super::fault::Fault;
use super::memory::{Direction, Memory, Privilege};
use super::state::Cpu;

/// IA32_UINTR_TT: SENDUIPI is enabled.
const TT_ENABLE: u64 = 1 << 0;
/// Length of a UITT entry.
const ENTRY_LEN_BYTES: u64 = 16;

/// UITT entry: valid.
const ENTRY_VALID: u64 = 1 << 0;
/// UITT entry: bits 7:1 and 63:16, and bits 7:6 of the user vector. (SDM 3A, "User-Interrupt Target Table")
const ENTRY_RESERVED: u64 = !0xffff | 0xc000 | 0xfe;
/// UITT entry: low bits of UPIDADDR.
const ENTRY_UPID_RESERVED: u64 = 0x3f;

/// UPID: outstanding notification.
pub(super) const ON: u64 = 1 << 0;
/// UPID: suppress notification.
const SN: u64 = 1 << 1;
/// UPID: bits 15:2 and 31:24. (SDM 3A, "User Posted-Interrupt Descriptor (UPID)")
const UPID_RESERVED: u64 = 0xff00_fffc;

/// A target: a user vector for a UPID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Target {
    user_vector: u32,
    upid_address: u64,
}

impl Cpu {
    /// Executes SENDUIPI with `index` in its register: posts the user vector of the UITT entry `index` in its UPID.
    /// Returns the notification that goes out: none while one is outstanding (ON) or notifications are suppressed (SN).
    ///
    /// The checks come in the manual's order, so that the first that fails decides: #UD where the instruction or
    /// SENDUIPI is disabled, #GP(0) for an index above UITTSZ, then the faults of the entry's access, #GP(0) for an
    /// entry that is invalid or has reserved bits set, the faults of the UPID's access, #GP(0) for reserved bits there.
    /// A fault leaves processor and memory as they were. (SDM 2, "SENDUIPI—Send User Interprocessor Interrupt")
    pub fn senduipi(&mut self, memory: &mut impl Memory, index: u64) -> Result<Option<Ipi>, Fault> {
        self.require_enabled()?;
        if self.user.tt & TT_ENABLE == 0 {
            return Err(Fault::UD);
        }
        if index > u64::from(self.user.uitt_size) {
            return Err(Fault::GP);
        }
        let target = self.read_target(memory, index)?;
        let Some(control) = self.post(memory, target)? else {
            return Ok(None);
        };
        Ok(self
            .apic
            .notify((control >> 16) as u8, (control >> 32) as u32))
    }

    fn read_target(&self, memory: &impl Memory, index: u64) -> Result<Target, Fault> {
        let table = self.user.tt & !0xf;
        let entry = table.wrapping_add(index * ENTRY_LEN_BYTES);
        let low = self.read_system(memory, entry, Direction::Read)?;
        let upid_address = self.read_system(memory, entry.wrapping_add(8), Direction::Read)?;
        let is_valid = low & ENTRY_VALID != 0
            && low & ENTRY_RESERVED == 0
            && upid_address & ENTRY_UPID_RESERVED == 0;
        if !is_valid {
            return Err(Fault::GP);
        }
        Ok(Target {
            user_vector: (low >> 8 & 0x3f) as u32,
            upid_address,
        })
    }

    /// Does the one locked read-modify-write of the UPID. Returns its first 8 bytes if a notification is to be sent.
    /// (SDM 3A, "User IPIs")
    fn post(&self, memory: &mut impl Memory, target: Target) -> Result<Option<u64>, Fault> {
        let address = target.upid_address;
        let control = self.read_system(memory, address, Direction::Write)?;
        let pir = self.read_system(memory, address.wrapping_add(8), Direction::Write)?;
        if control & UPID_RESERVED != 0 {
            return Err(Fault::GP);
        }
        let notifies = control & (ON | SN) == 0;
        let outstanding = if notifies { ON } else { 0 };
        let as_processor = Privilege::ImplicitSupervisor;
        memory.write(address, control | outstanding, as_processor)?;
        let pir = pir | 1 << target.user_vector;
        memory.write(address.wrapping_add(8), pir, as_processor)?;
        Ok(notifies.then_some(control))
    }
}
