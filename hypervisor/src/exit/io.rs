//! I/O instructions that the bitmaps intercept: watched ports of the cell's own, and ports that are not its own.

use bit_field::BitField;
use cell_config::ForeignPorts;
use log::debug;

use super::Resume;
use crate::arch::port::Width;
use crate::cell::{CellFault, CellStop, ports};
use crate::cpu::{self, Vcpu};
use crate::vmx::enter::RAX;
use crate::vmx::fields;

/// An access as the exit qualification tells it. (SDM 3C, "Exit Qualification for I/O Instructions")
#[derive(Clone, Copy, Debug)]
struct Access {
    port: u16,
    width: Width,
    is_in: bool,
    is_string: bool,
}

impl Access {
    fn from_qualification(qualification: usize) -> Self {
        Self {
            port: qualification.get_bits(16..32) as u16,
            width: match qualification.get_bits(0..3) {
                0 => Width::Byte,
                1 => Width::Word,
                _ => Width::Dword,
            },
            is_in: qualification.get_bit(3),
            is_string: qualification.get_bit(4),
        }
    }
}

/// Handles an I/O exit.
pub fn handle(vcpu: &mut Vcpu) -> Result<Resume, CellStop> {
    let access = Access::from_qualification(vcpu.vmcs.read(fields::EXIT_QUALIFICATION));
    let value = (vcpu.regs.gpr[RAX] & 0xffff_ffff) as u32 & mask(access.width);
    let Access { port, width, .. } = access;
    let cell = vcpu.cell;
    if !ports::is_reachable(cell.system, cell.id, port, width) {
        if cell.config.foreign_ports == ForeignPorts::Absent && !access.is_string {
            debug!(
                "cell '{}': foreign port {port:#x} reads as absent",
                cell.name()
            );
            if access.is_in {
                set_result(vcpu, width, u32::MAX);
            }
            return Ok(Resume::AfterInstruction);
        }
        let written = (!access.is_in).then_some(value);
        return Err(CellFault::Port {
            port,
            width,
            written,
        }
        .into());
    }
    if access.is_string {
        return Err(CellFault::StringPort { port }.into());
    }
    if access.is_in {
        let read = cpu::read_cell_port(port, width);
        set_result(vcpu, width, read);
    } else {
        if let Some(kind) = cell.power_ports.ends(port, width, value) {
            return Err(CellStop::Asked {
                kind,
                port,
                width,
                value,
            });
        }
        cpu::write_cell_port(port, width, value);
    }
    Ok(Resume::AfterInstruction)
}

fn mask(width: Width) -> u32 {
    match width {
        Width::Byte => 0xff,
        Width::Word => 0xffff,
        Width::Dword => u32::MAX,
    }
}

/// Puts what was read into AL, AX or EAX: only the last clears the upper half of RAX.
fn set_result(vcpu: &mut Vcpu, width: Width, value: u32) {
    let rax = &mut vcpu.regs.gpr[RAX];
    *rax = match width {
        Width::Dword => u64::from(value),
        _ => *rax & !u64::from(mask(width)) | u64::from(value & mask(width)),
    };
}

#[cfg(test)]
mod fuzz;
