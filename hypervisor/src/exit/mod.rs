//! VM exits: one function for each reason. A handler decides; what it does to the CPU goes through [`Vcpu`].
#![forbid(unsafe_code)]

mod control_regs;
mod cpuid;
mod doorbell;
mod ept_violation;
mod hypercall;
mod io;
mod ioapic;
mod ipi;
mod mmio;
mod msr;
mod nmi;
mod xsetbv;

use crate::cell::{CellFault, CellStop};
use crate::cpu::Vcpu;
use crate::vmx::ExitReason;

/// Where the guest goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// At the same instruction, or in the handler of an injected event.
    AtSame,
    /// After the instruction that exited.
    AfterInstruction,
}

/// Handles an exit.
pub fn dispatch(vcpu: &mut Vcpu, reason: ExitReason) -> Result<Resume, CellStop> {
    match reason {
        ExitReason::CPUID => Ok(cpuid::emulate(vcpu)),
        ExitReason::RDMSR => Ok(msr::read(vcpu)),
        ExitReason::WRMSR => msr::write(vcpu),
        ExitReason::EPT_VIOLATION => Ok(ept_violation::handle(vcpu)?),
        ExitReason::IO_INSTRUCTION => io::handle(vcpu),
        ExitReason::VMCALL => hypercall::handle(vcpu),
        ExitReason::CR_ACCESS => Ok(control_regs::handle(vcpu)?),
        ExitReason::APIC_WRITE => Ok(doorbell::handle(vcpu)?),
        ExitReason::XSETBV => Ok(xsetbv::handle(vcpu)),
        ExitReason::EXCEPTION_OR_NMI => Ok(nmi::handle(vcpu)?),
        ExitReason::NMI_WINDOW => Ok(Resume::AtSame),
        ExitReason::PREEMPTION_TIMER => {
            vcpu.disarm_preemption_timer();
            Ok(Resume::AtSame)
        }
        // Real INITs and SIPIs are none of the cell's: those arrive by mailbox. One from outside changes nothing.
        ExitReason::INIT | ExitReason::SIPI => Ok(Resume::AtSame),
        // INVD would drop the hypervisor's dirty lines with the cell's.
        ExitReason::INVD | ExitReason::WBINVD => {
            crate::cpu::write_back_caches();
            Ok(Resume::AfterInstruction)
        }
        ExitReason::VMCLEAR
        | ExitReason::VMLAUNCH
        | ExitReason::VMPTRLD
        | ExitReason::VMPTRST
        | ExitReason::VMREAD
        | ExitReason::VMRESUME
        | ExitReason::VMWRITE
        | ExitReason::VMXOFF
        | ExitReason::VMXON
        | ExitReason::INVEPT
        | ExitReason::INVVPID
        | ExitReason::VMFUNC
        | ExitReason::GETSEC
        | ExitReason::ENCLS
        | ExitReason::SEAMCALL
        | ExitReason::TDCALL => {
            vcpu.inject_undefined();
            Ok(Resume::AtSame)
        }
        ExitReason::TRIPLE_FAULT => Err(CellFault::TripleFault.into()),
        reason => Err(CellFault::UnhandledExit { reason }.into()),
    }
}
