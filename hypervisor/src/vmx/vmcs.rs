//! The current VMCS of this CPU.

use core::fmt;

use x86::bits64::vmx;

use super::fields::{Field, FieldWidth, VM_INSTRUCTION_ERROR};
use crate::address::HostPhys;
use crate::memory::{self, OutOfFrames};

/// The VMCS that is current on this CPU. Only [`Vmcs::activate`] makes one, and it stays current for good: one cell
/// CPU for each physical CPU.
#[derive(Debug)]
pub struct Vmcs(());

/// VMX instructions failed at start-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VmxError {
    /// VMXON failed: VMX is off in IA32_FEATURE_CONTROL, or already on.
    Vmxon,
    /// VMCLEAR or VMPTRLD failed.
    VmcsRegion,
    /// No memory for a region.
    OutOfFrames,
}

impl fmt::Display for VmxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vmxon => {
                "VMXON failed (VMX disabled in IA32_FEATURE_CONTROL, or another hypervisor is on)"
            }
            Self::VmcsRegion => "VMCLEAR or VMPTRLD failed",
            Self::OutOfFrames => {
                "the hypervisor's memory is used up: make hypervisor.memory larger"
            }
        })
    }
}

impl From<OutOfFrames> for VmxError {
    fn from(_: OutOfFrames) -> Self {
        Self::OutOfFrames
    }
}

/// Returns a zeroed region that carries this CPU's VMCS revision. (SDM 3C, "VMCS Data", "VMXON Region")
fn new_region(revision: u32) -> Result<HostPhys, OutOfFrames> {
    let region = memory::allocate_table()?;
    region.0[0] = u64::from(revision);
    Ok(region.phys())
}

/// Enters VMX root operation on this CPU.
///
/// # Safety
/// CR0 and CR4 satisfy the VMX fixed bits with CR4.VMXE set, and IA32_FEATURE_CONTROL allows VMX.
pub unsafe fn vmxon(revision: u32) -> Result<(), VmxError> {
    let region = new_region(revision)?;
    // SAFETY: the region is a frame of its own with the right revision; the caller vouches for the registers.
    unsafe { vmx::vmxon(region.0) }.map_err(|_| VmxError::Vmxon)
}

impl Vmcs {
    /// Makes a new VMCS current on this CPU.
    ///
    /// # Safety
    /// This CPU is in VMX root operation; it is the only VMCS that this CPU will ever use.
    pub unsafe fn activate(revision: u32) -> Result<Self, VmxError> {
        let region = new_region(revision)?;
        // SAFETY: the region is a frame of its own with the right revision.
        unsafe { vmx::vmclear(region.0).and_then(|()| vmx::vmptrld(region.0)) }
            .map_err(|_| VmxError::VmcsRegion)?;
        Ok(Self(()))
    }

    /// Reads a field.
    ///
    /// # Panics
    /// If the field does not exist on this processor: start-up checks every feature whose fields are used.
    pub fn read<T: FieldWidth>(&self, field: Field<T>) -> T {
        // SAFETY: `self` proves that a VMCS is current; VMREAD has no other effect.
        match unsafe { vmx::vmread(field.encoding) } {
            Ok(value) => T::from_u64(value),
            Err(_) => panic!("VMREAD of field {:#x} failed", field.encoding),
        }
    }

    /// Writes a field.
    ///
    /// # Panics
    /// If the field does not exist on this processor, as for [`Self::read`].
    pub fn write<T: FieldWidth>(&mut self, field: Field<T>, value: T) {
        // SAFETY: `self` proves that a VMCS is current. What a field makes the processor do is decided at VM entry,
        // whose `unsafe` covers it.
        if unsafe { vmx::vmwrite(field.encoding, value.to_u64()) }.is_err() {
            panic!(
                "VMWRITE of field {:#x} failed, error {}",
                field.encoding,
                self.read(VM_INSTRUCTION_ERROR)
            );
        }
    }

    /// Changes the bits of a field: clears `clear`, then sets `set`.
    pub fn modify(&mut self, field: Field<u32>, clear: u32, set: u32) {
        let value = self.read(field) & !clear | set;
        self.write(field, value);
    }
}

/// Makes the next VM entry of this CPU end at once: the preemption timer is armed with 0. Callable from an NMI
/// handler that interrupted anything in root mode, also a pair of VMREAD and VMWRITE.
///
/// # Safety
/// A VMCS is current on this CPU.
pub unsafe fn force_exit() {
    use super::capability::PIN_PREEMPTION_TIMER;
    use super::fields::{PIN_CONTROLS, PREEMPTION_TIMER_VALUE};
    // SAFETY: the caller vouches for the VMCS; a failing access leaves the kick to the mailbox check at the next exit.
    unsafe {
        if let Ok(pin) = vmx::vmread(PIN_CONTROLS.encoding) {
            let armed = vmx::vmwrite(PREEMPTION_TIMER_VALUE.encoding, 0).and_then(|()| {
                vmx::vmwrite(PIN_CONTROLS.encoding, pin | u64::from(PIN_PREEMPTION_TIMER))
            });
            assert!(
                armed.is_ok(),
                "the preemption timer was checked at start-up"
            );
        }
    }
}
