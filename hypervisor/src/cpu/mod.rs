//! CPUs: what others may see of one ([`CpuShared`]), what is its own ([`Vcpu`]), and the loop that runs its cell.
//!
//! Others tell a CPU something by its mailbox; the bell is an NMI. In the guest an NMI exits; in root mode it arms the
//! preemption timer, so that the entry that may just be under way ends at once; a CPU without a running guest watches
//! its mailbox. So nothing is lost, whatever the CPU does.
#![expect(unsafe_code, reason = "enters guests and rings other CPUs")]

mod mailbox;
mod run;
mod shared;
mod vcpu;

pub use mailbox::{Mail, Mailbox};
pub use run::run;
pub use shared::{CpuShared, CpuState, MAX_CPUS, shared};
pub use vcpu::{EntryState, HostState, Vcpu};

use crate::arch::{apic, control_regs, msr, port};
use crate::vmx::vmcs;

/// Rings a CPU after its mailbox was filled: it looks at it soon, whatever it does.
pub fn ring(cpu: &CpuShared) {
    cpu.count_ring();
    // SAFETY: the NMI is the hypervisor's own kick, for a CPU that runs the hypervisor.
    unsafe { apic::send_ipi(cpu.apic_id(), apic::ICR_NMI) };
}

/// Prepares this CPU for [`on_nmi_in_root`] and returns the GS base to keep in the VMCS.
pub fn claim(cpu: &'static CpuShared) -> u64 {
    let base = core::ptr::from_ref(cpu).expose_provenance() as u64;
    // SAFETY: the hypervisor uses GS for nothing else.
    unsafe { msr::write(msr::IA32_GS_BASE, base) };
    base
}

/// Handles an NMI that arrives in root mode. Called by the IDT's stub.
pub extern "C" fn on_nmi_in_root() {
    let base = msr::read(msr::IA32_GS_BASE) as usize;
    if base == 0 {
        return;
    }
    // SAFETY: `claim` stored a reference to a static there, and VM exits restore it.
    let cpu: &'static CpuShared = unsafe { &*core::ptr::with_exposed_provenance(base) };
    cpu.take_ring();
    if cpu.mailbox.is_machine_stopping() {
        crate::arch::wait::halt_forever();
    }
    if cpu.has_vmcs() {
        // SAFETY: the flag is set once a VMCS is current on this CPU, for good.
        unsafe { vmcs::force_exit() };
    }
}

/// Sends an interrupt to a CPU of the calling CPU's own cell, or to one that its owner named in a UPID for the caller.
/// `asserted` is the level bit, which the ICR shows afterwards as the cell wrote it.
pub fn send_fixed(target: &CpuShared, vector: u8, asserted: bool) {
    const LEVEL_ASSERT: u32 = 1 << 14;
    let level = if asserted { LEVEL_ASSERT } else { 0 };
    // SAFETY: `exit::ipi` and `exit::doorbell` resolved the command to CPUs of the sender's cell, or to those that the
    // receiver named itself; a fixed interrupt goes through the cell's own IDT, because external-interrupt exiting is 0.
    unsafe { apic::send_ipi(target.apic_id(), level | u32::from(vector)) };
}

/// Reads a register of this CPU's xAPIC for its cell.
pub fn read_own_apic(offset: u16) -> u32 {
    apic::read(offset)
}

/// Writes a register of this CPU's xAPIC for its cell; `exit::ept_violation` took out what reaches further.
pub fn write_own_apic(offset: u16, value: u32) {
    // SAFETY: the local APIC belongs to the cell, like the CPU; the ICR and the ID do not come here.
    unsafe { apic::write(offset, value) };
}

/// Reads this CPU's CR8 for its cell.
pub fn read_own_cr8() -> u64 {
    control_regs::read_cr8()
}

/// Writes this CPU's CR8, which is its cell's; `exit::control_regs` checked the value.
pub fn write_own_cr8(value: u64) {
    // SAFETY: at most 15.
    unsafe { control_regs::write_cr8(value) };
}

/// Takes from this CPU's local APIC what its cell has left there.
pub fn quiet_own_apic() {
    apic::quiet();
}

/// Reads a port that the running cell may reach.
pub fn read_cell_port(port: u16, width: port::Width) -> u32 {
    // SAFETY: `exit::io` checked that the port is the cell's; the hypervisor's own are nobody's.
    unsafe { port::read(port, width) }
}

/// Writes a port that the running cell may reach.
pub fn write_cell_port(port: u16, width: port::Width, value: u32) {
    // SAFETY: as in `read_cell_port`; what ends the machine was taken out.
    unsafe { port::write(port, width, value) };
}

/// Sets XCR0, which belongs to the cell; `exit::xsetbv` checked the value.
pub fn write_guest_xcr0(value: u64) {
    // SAFETY: the value is one that the processor accepts, and start-up set CR4.OSXSAVE.
    unsafe { control_regs::write_xcr0(value) };
}

/// Sets IA32_XSS, which belongs to the cell; `exit::msr` checked the value.
pub fn write_guest_xss(value: u64) {
    // SAFETY: the value is one that the processor accepts, and the hypervisor uses no XSAVES.
    unsafe { msr::write(msr::IA32_XSS, value) };
}

/// Writes all caches of this CPU back.
pub fn write_back_caches() {
    // SAFETY: WBINVD changes no architectural state.
    unsafe { core::arch::asm!("wbinvd", options(nostack, preserves_flags)) };
}
