//! VMCALL: what a cell asks of the hypervisor. (docs/interfaces.md, "Hypercalls")

use hv_abi::hypercall::{
    BOOT_INFO, CELL_RESTART, CPU_FAILED, CPU_GET_INFO, CPU_PARKED, CPU_REASON_BASE, CPU_RUNNING,
    CPU_STAT_BASE, CPU_STATE, DEBUG_CONSOLE_PUTC, errno, stat,
};
use log::info;
use zerocopy::IntoBytes;

use super::Resume;
use crate::address::{GuestPhys, PAGE_SIZE};
use crate::cell::{self, CellState, CellStop};
use crate::cpu::{CpuShared, CpuState, Vcpu, shared};
use crate::vmx::ExitReason;
use crate::vmx::enter::{RAX, RDI, RSI};

/// Handles VMCALL.
pub fn handle(vcpu: &mut Vcpu) -> Result<Resume, CellStop> {
    if vcpu.cpl() != 0 {
        vcpu.inject_undefined();
        return Ok(Resume::AtSame);
    }
    let (code, first, second) = (vcpu.regs.gpr[RAX], vcpu.regs.gpr[RDI], vcpu.regs.gpr[RSI]);
    let result = match code {
        CPU_GET_INFO => cpu_get_info(vcpu, first, second),
        DEBUG_CONSOLE_PUTC => putc(vcpu, first),
        CELL_RESTART if vcpu.cell.images.is_some() => return Err(CellStop::Restart),
        CELL_RESTART => Err(errno::EPERM),
        BOOT_INFO => write_boot_info(vcpu, GuestPhys(first)),
        _ => Err(errno::ENOSYS),
    };
    vcpu.regs.gpr[RAX] = match result {
        Ok(value) => value,
        Err(errno) => errno.cast_unsigned(),
    };
    Ok(Resume::AfterInstruction)
}

fn cpu_get_info(vcpu: &Vcpu, apic_id: u64, kind: u64) -> Result<u64, i64> {
    let apic_id = u32::try_from(apic_id).map_err(|_| errno::ENOENT)?;
    let cpus = &vcpu.cell.system.machine.cpus;
    let index = cpus
        .iter()
        .position(|&cpu| cpu == apic_id)
        .ok_or(errno::ENOENT)?;
    if !vcpu.cell.cpus.contains(&index) {
        return Err(errno::EPERM);
    }
    let cpu = shared(index);
    if kind == CPU_STATE {
        return Ok(state(vcpu.cell.state(), cpu.state()));
    }
    if let Some(reason) = kind
        .checked_sub(CPU_REASON_BASE)
        .and_then(|reason| u16::try_from(reason).ok())
    {
        let reason = ExitReason(reason);
        return if reason.index() + 1 < ExitReason::COUNTED {
            Ok(cpu.exits(reason))
        } else {
            Err(errno::EINVAL)
        };
    }
    let class = kind.checked_sub(CPU_STAT_BASE).ok_or(errno::EINVAL)?;
    class_count(cpu, class).ok_or(errno::EINVAL)
}

fn state(cell: CellState, cpu: CpuState) -> u64 {
    match (cell, cpu) {
        (CellState::Failed, _) => CPU_FAILED,
        (_, CpuState::Running) => CPU_RUNNING,
        _ => CPU_PARKED,
    }
}

/// Returns the counter of one of Jailhouse's exit classes. Another CPU may count on between two reads: differences do not
/// go below 0.
fn class_count(cpu: &CpuShared, class: u64) -> Option<u64> {
    let sum = |reasons: &[ExitReason]| reasons.iter().map(|&reason| cpu.exits(reason)).sum::<u64>();
    Some(match class {
        stat::TOTAL => cpu.total_exits(),
        stat::MMIO => sum(&[ExitReason::EPT_VIOLATION]).saturating_sub(cpu.xapic_exits()),
        stat::MANAGEMENT => sum(&[
            ExitReason::EXCEPTION_OR_NMI,
            ExitReason::NMI_WINDOW,
            ExitReason::PREEMPTION_TIMER,
        ]),
        stat::HYPERCALL => sum(&[ExitReason::VMCALL]),
        stat::PIO => sum(&[ExitReason::IO_INSTRUCTION]),
        stat::XAPIC => cpu.xapic_exits(),
        stat::CR => sum(&[ExitReason::CR_ACCESS]),
        stat::CPUID => sum(&[ExitReason::CPUID]),
        stat::XSETBV => sum(&[ExitReason::XSETBV]),
        // No exception of a cell exits.
        stat::EXCEPTION => 0,
        stat::MSR_OTHER => {
            sum(&[ExitReason::RDMSR, ExitReason::WRMSR]).saturating_sub(cpu.icr_exits())
        }
        stat::MSR_X2APIC_ICR => cpu.icr_exits(),
        stat::DOORBELL => sum(&[ExitReason::APIC_WRITE]),
        stat::NOTIFICATIONS_SENT => cpu.notifications_sent(),
        stat::NOTIFICATIONS_DROPPED => cpu.notifications_dropped(),
        _ => return None,
    })
}

/// Collects characters and logs them by the line; a line that grows too long is logged in pieces.
fn putc(vcpu: &mut Vcpu, character: u64) -> Result<u64, i64> {
    let byte = u8::try_from(character).map_err(|_| errno::EINVAL)?;
    let printable = if byte.is_ascii_graphic() || byte == b' ' {
        char::from(byte)
    } else {
        '?'
    };
    if byte == b'\n' || vcpu.console_line.try_push(printable).is_err() {
        info!("cell '{}': {}", vcpu.cell.name(), vcpu.console_line);
        vcpu.console_line.clear();
    }
    Ok(0)
}

fn write_boot_info(vcpu: &Vcpu, page: GuestPhys) -> Result<u64, i64> {
    if !page.0.is_multiple_of(PAGE_SIZE) {
        return Err(errno::EFAULT);
    }
    let info = cell::boot_info(vcpu.cell.system, vcpu.cell.id, vcpu.cell.tsc_khz, None);
    vcpu.cell
        .write_memory(page, info.as_bytes())
        .map(|()| 0)
        .map_err(|_| errno::EFAULT)
}
