//! The loop of a CPU: mailbox, guest, exit, and again.

use super::{CpuState, Vcpu};
use crate::arch::wait;
use crate::cell::{self, CellFault, CellStop};
use crate::exit::{self, Resume};
use crate::vmx::{ExitReason, fields};

/// Exit reason bit 31: the VM entry failed. (SDM 3C, "Basic VM-Exit Information")
const ENTRY_FAILURE: u32 = 1 << 31;

/// Runs a CPU of a cell for good.
pub fn run(mut vcpu: Vcpu) -> ! {
    let monitor = wait::has_monitor();
    vcpu.shared.set_state(CpuState::Waiting);
    loop {
        handle_mail(&mut vcpu);
        if vcpu.shared.state() == CpuState::Running {
            if let Err(stop) = enter_and_handle(&mut vcpu) {
                leave(&mut vcpu, stop);
            }
        } else if vcpu.shared.mailbox.is_empty() {
            vcpu.shared.mailbox.wait(monitor);
        }
    }
}

/// Does what follows when the CPU has left the guest.
fn leave(vcpu: &mut Vcpu, stop: CellStop) {
    // What is wrong in a cell that another CPU starts anew is over.
    if (matches!(stop, CellStop::Restart) || cell::is_restarting(vcpu.cell)) && cell::restart(vcpu)
    {
        return;
    }
    vcpu.shared.set_state(CpuState::Ended);
    cell::end(vcpu, stop);
    vcpu.reset();
}

/// Leaves the cell, and waits until it starts anew.
fn park(vcpu: &mut Vcpu) {
    vcpu.reset_for_new_start();
    vcpu.shared.set_state(CpuState::Waiting);
    vcpu.shared.set_parked(true);
    while cell::is_restarting(vcpu.cell) {
        if vcpu.shared.mailbox.is_machine_stopping() {
            wait::halt_forever();
        }
        core::hint::spin_loop();
    }
}

fn handle_mail(vcpu: &mut Vcpu) {
    if vcpu.shared.mailbox.is_empty() {
        return;
    }
    if vcpu.shared.mailbox.is_machine_stopping() {
        wait::halt_forever();
    }
    let mail = vcpu.shared.mailbox.take();
    if mail.park {
        return park(vcpu);
    }
    let state = vcpu.shared.state();
    if mail.stop || state == CpuState::Ended {
        if state == CpuState::Running {
            cell::leave_channels(vcpu.cell);
            vcpu.reset();
        }
        vcpu.shared.set_state(CpuState::Ended);
        return;
    }
    if mail.init {
        vcpu.reset();
        vcpu.shared.set_state(CpuState::Waiting);
    }
    if vcpu.shared.state() == CpuState::Waiting {
        if mail.start {
            vcpu.start_at_entry(&vcpu.cell.entry);
            vcpu.shared.set_state(CpuState::Running);
        } else if let Some(vector) = mail.sipi {
            vcpu.start_at_sipi(vector);
            vcpu.shared.set_state(CpuState::Running);
        }
    }
    vcpu.pending_nmi |= mail.nmi && vcpu.shared.state() == CpuState::Running;
}

fn enter_and_handle(vcpu: &mut Vcpu) -> Result<(), CellStop> {
    vcpu.deliver_pending_nmi();
    if !vcpu.enter() {
        let error = vcpu.vmcs.read(fields::VM_INSTRUCTION_ERROR);
        return Err(CellFault::EntryRefused { error }.into());
    }
    let full_reason = vcpu.vmcs.read(fields::EXIT_REASON);
    let reason = ExitReason((full_reason & 0xffff) as u16);
    vcpu.shared.count_exit(reason);
    if full_reason & ENTRY_FAILURE != 0 {
        return Err(CellFault::EntryFailed { reason }.into());
    }
    match exit::dispatch(vcpu, reason)? {
        Resume::AtSame => {}
        Resume::AfterInstruction => vcpu.skip_instruction(),
    }
    vcpu.complete_interrupted_delivery();
    Ok(())
}
