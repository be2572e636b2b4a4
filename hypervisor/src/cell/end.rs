//! The end of a cell: report, its other CPUs, the other end of its channels, and perhaps the machine.

use cell_config::{Devices, EndAction};
use hv_abi::channel::{CLIENT_STATE_OFFSET, SERVER_STATE_OFFSET, STATE_ABSENT};
use log::{error, info};

use super::{Cell, CellFault, CellState, CellStop, all};
use crate::address::HostPhys;
use crate::cpu::{self, Vcpu};
use crate::ioapic;
use crate::panic::{end_emulator, repeat_port_write};
use crate::vmx::{ExitReason, fields};

/// Ends the cell of this CPU, which has left the guest for good.
pub fn end(vcpu: &Vcpu, stop: CellStop) {
    let cell = vcpu.cell;
    let state = match stop {
        CellStop::Fault(_) => CellState::Failed,
        CellStop::Asked { .. } | CellStop::Restart => CellState::ShutDown,
    };
    if !cell.mark_ended(state) {
        leave_channels(cell);
        return;
    }
    match stop {
        CellStop::Fault(fault) => report(vcpu, fault),
        CellStop::Asked { kind, .. } => info!("cell '{}' ended: {kind}", cell.name()),
        CellStop::Restart => info!("cell '{}' ended: it cannot be started anew", cell.name()),
    }
    for other in cell
        .cpu_shares()
        .filter(|cpu| cpu.apic_id() != vcpu.shared.apic_id())
    {
        other.mailbox.post_stop();
        cpu::ring(other);
    }
    leave_channels(cell);
    if cell.config.devices == Devices::Rest {
        close_io_apics(cell);
    }
    if let CellStop::Asked {
        kind,
        port,
        width,
        value,
    } = stop
        && cell.config.may_end_machine
    {
        info!("cell '{}' may end the machine: {kind}", cell.name());
        log_exits();
        repeat_port_write(port, width, value);
    }
    end_machine_if_over();
}

/// Ends the machine as the configuration says once no cell runs.
pub fn end_machine_if_over() {
    let cells = all();
    let lives = |cell: &Cell| matches!(cell.state(), CellState::Running | CellState::Restarting);
    if cells.iter().any(lives) {
        return;
    }
    info!("all cells have ended");
    log_exits();
    if cells
        .first()
        .is_some_and(|cell| cell.system.machine.when_all_cells_end == EndAction::EmulatorExit)
    {
        end_emulator();
    }
    info!("halted");
}

/// Says on each channel that this side is gone, so that the other side's calls fail instead of hanging. Every CPU of the
/// cell does so once it has left the guest for good: until then it can write there that it is back.
pub fn leave_channels(cell: &Cell) {
    for channel in cell.channels() {
        let is_client = usize::from(channel.client) == cell.id;
        let offset = if is_client {
            CLIENT_STATE_OFFSET
        } else {
            SERVER_STATE_OFFSET
        };
        if let Err(error) = cell
            .physical
            .store_u32(HostPhys(channel.memory.base + offset as u64), STATE_ABSENT)
        {
            error!("channel '{}': {error}", channel.name);
        }
    }
}

/// Silences the devices' interrupts, and says how often the cell wanted one that it may not have.
fn close_io_apics(cell: &Cell) {
    for io_apic in ioapic::all() {
        io_apic.close();
        let refused = io_apic.refused();
        if refused != 0 {
            info!(
                "cell '{}': I/O APIC at {:#x}: {refused} writes left an entry masked",
                cell.name(),
                io_apic.address()
            );
        }
    }
}

fn report(vcpu: &Vcpu, fault: CellFault) {
    let v = &vcpu.vmcs;
    let reason = ExitReason((v.read(fields::EXIT_REASON) & 0xffff) as u16);
    error!("cell '{}' stopped: {fault}", vcpu.cell.name());
    error!(
        "  CPU with APIC ID {}, exit reason {reason}, qualification {:#x}, RIP {:#x}, CS {:#x}, CPL {}",
        vcpu.shared.apic_id(),
        v.read(fields::EXIT_QUALIFICATION),
        v.read(fields::GUEST_RIP),
        v.read(fields::GUEST_CS),
        vcpu.cpl(),
    );
    error!(
        "  guest-physical {:#x}, guest-linear {:#x}, IDT-vectoring {:#x}, interruption {:#x}",
        v.read(fields::GUEST_PHYSICAL_ADDRESS),
        v.read(fields::GUEST_LINEAR_ADDRESS),
        v.read(fields::IDT_VECTORING_INFO),
        v.read(fields::EXIT_INTERRUPTION_INFO),
    );
    error!(
        "  CR0 {:#x}, CR3 {:#x}, CR4 {:#x}, EFER {:#x}, RFLAGS {:#x}, RSP {:#x}",
        v.read(fields::GUEST_CR0),
        v.read(fields::GUEST_CR3),
        v.read(fields::GUEST_CR4),
        v.read(fields::GUEST_EFER),
        v.read(fields::GUEST_RFLAGS),
        v.read(fields::GUEST_RSP),
    );
    let r = &vcpu.regs.gpr;
    error!(
        "  RAX {:#x}, RCX {:#x}, RDX {:#x}, RBX {:#x}, RSI {:#x}, RDI {:#x}",
        r[0], r[1], r[2], r[3], r[6], r[7]
    );
}

/// Logs the exit counters of all cells: one line for each CPU, `reason=count` for what occurred.
pub fn log_exits() {
    for cell in all() {
        for cpu in cell.cpu_shares() {
            let mut line = arrayvec::ArrayString::<512>::new();
            for reason in (0..ExitReason::COUNTED)
                .filter_map(|r| u16::try_from(r).ok())
                .map(ExitReason)
            {
                let count = cpu.exits(reason);
                if count != 0 {
                    // A line that is full ends early: the total says so.
                    let _ = core::fmt::Write::write_fmt(
                        &mut line,
                        format_args!(" {}={count}", reason.name()),
                    );
                }
            }
            info!(
                "exits: cell={} state={} apic_id={} total={}{line}",
                cell.name(),
                cell.state(),
                cpu.apic_id(),
                cpu.total_exits()
            );
            if cell.filter.is_some() {
                info!(
                    "doorbells: cell={} apic_id={} sent={} dropped={}",
                    cell.name(),
                    cpu.apic_id(),
                    cpu.notifications_sent(),
                    cpu.notifications_dropped()
                );
            }
        }
    }
}
