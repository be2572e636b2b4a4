//! Pages of UPID slots that cells and processors write at any time.

use core::fmt;

use hv_abi::channel::UPID_SLOTS;
use uintr::Upid;

use crate::address::HostPhys;

/// A page that begins with the UPID slots of one end of a channel. It is atomics only.
#[repr(C, align(4096))]
pub struct UpidPage([Upid; 64]);

impl UpidPage {
    /// Returns a page of zeroes.
    pub const fn new() -> Self {
        Self([const { Upid::new() }; 64])
    }

    /// Returns the slots.
    pub fn slots(&self) -> impl Iterator<Item = &Upid> {
        self.0.iter().take(UPID_SLOTS)
    }

    /// Returns its physical address: the hypervisor maps memory one to one.
    pub fn phys(&self) -> HostPhys {
        HostPhys((&raw const *self).expose_provenance() as u64)
    }
}

impl Default for UpidPage {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for UpidPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UpidPage at {}", self.phys())
    }
}

const _: () = assert!(size_of::<UpidPage>() == 4096 && UPID_SLOTS <= 64);
