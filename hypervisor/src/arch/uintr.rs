//! User-interrupt state of this CPU. (SDM 3A, "User Interrupts")

use core::arch::asm;

use super::control_regs::{CR4_UINTR, read_cr4, write_cr4};
use super::msr;

/// Clears all user-interrupt state: the six MSRs and UIF, which is in none of them. To be called whenever a CPU is
/// handed to a cell or reset, or the state of the previous owner acts in the next one's address space.
pub fn reset() {
    // The order matters little with CR4.UINTR = 0, as the hypervisor runs; UINV goes first with IA32_UINTR_MISC
    // among them, so that no notification is identified while the rest is cleared.
    // SAFETY: 64-bit mode at CPL 0 with UINTR enumerated (checked at start-up); IF = 0, so nothing is recognised
    // while CR4.UINTR is set for the one CLUI.
    unsafe {
        for msr in msr::IA32_UINTR_RR..=msr::IA32_UINTR_TT {
            msr::write(msr, 0);
        }
        let cr4 = read_cr4();
        write_cr4(cr4 | CR4_UINTR);
        asm!("clui", options(nomem, nostack));
        write_cr4(cr4);
    }
}
