//! NMIs: the hypervisor's own kick, or the cell's.

use super::Resume;
use crate::cell::CellFault;
use crate::cpu::Vcpu;
use crate::vmx::{ExitReason, fields};

/// Handles an NMI exit. The mailbox is looked at before the next entry. A ring may come late: NMIs wait while the
/// hypervisor handles one, and by the next entry the mail may have been read. An NMI that nobody rang is the cell's own
/// (a local interrupt of its APIC).
pub fn handle(vcpu: &mut Vcpu) -> Result<Resume, CellFault> {
    const NMI: u32 = 2;
    let interruption = vcpu.vmcs.read(fields::EXIT_INTERRUPTION_INFO);
    if interruption >> 8 & 7 != NMI {
        return Err(CellFault::UnhandledExit {
            reason: ExitReason::EXCEPTION_OR_NMI,
        });
    }
    if !vcpu.shared.take_ring() {
        vcpu.pending_nmi = true;
    }
    Ok(Resume::AtSame)
}
