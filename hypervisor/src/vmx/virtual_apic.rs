//! The virtual-APIC page of a CPU whose SENDUIPI is filtered. (SDM 3C, "APIC Virtualization and Virtual Interrupts")

use core::sync::atomic::{AtomicU64, Ordering};

use crate::address::HostPhys;

/// Offset of the virtual interrupt command register (VICR). With "virtualize APIC accesses" 0 SENDUIPI writes it as 64
/// bits, whatever the physical APIC's mode. (SDM 3C, "Virtualizing SENDUIPI")
pub const VICR_OFFSET: usize = 0x300;

/// A virtual-APIC page. The processor writes it in the guest; the cell cannot reach it.
#[repr(C, align(4096))]
pub struct VirtualApicPage([AtomicU64; 512]);

/// A page of zeroes: VTPR is 0, as the TPR threshold wants it.
impl Default for VirtualApicPage {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; 512])
    }
}

impl VirtualApicPage {
    /// Returns its physical address: the hypervisor maps memory one to one.
    pub fn phys(&self) -> HostPhys {
        HostPhys((&raw const *self).expose_provenance() as u64)
    }

    /// Returns the notification that SENDUIPI asked for last: vector (NV) and destination (NDST).
    pub fn notification(&self) -> (u8, u32) {
        let [vector, _, _, _, destination @ ..] = self.0[VICR_OFFSET / 8]
            .load(Ordering::Relaxed)
            .to_le_bytes();
        (vector, u32::from_le_bytes(destination))
    }
}

const _: () = assert!(size_of::<VirtualApicPage>() == 4096);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_notification_is_nv_and_ndst() {
        let page = VirtualApicPage::default();
        page.0[0x60].store(0x0102_0304_0000_00ec, Ordering::Relaxed);
        assert_eq!(page.notification(), (0xec, 0x0102_0304));
    }
}
