// SPDX-License-Identifier: MIT OR Apache-2.0
//! Instructions that no cell may execute. Each has a label of its own, so that the report of the hypervisor can be
//! checked against it.

use core::arch::global_asm;

unsafe extern "C" {
    fn attack_read(address: u64);
    fn attack_read_at();
    fn attack_write(address: u64, value: u32);
    fn attack_write_at();
    fn attack_out(port: u64, value: u8);
    fn attack_out_at();
    fn attack_wrmsr(low: u64, _unused: u64, high: u64, msr: u64);
    fn attack_wrmsr_at();
    fn attack_triple_fault();
    fn attack_triple_fault_at();
}

global_asm!(
    ".pushsection .text",
    ".global attack_read, attack_read_at, attack_write, attack_write_at, attack_out, attack_out_at",
    ".global attack_wrmsr, attack_wrmsr_at, attack_triple_fault, attack_triple_fault_at",
    "attack_read:",
    "attack_read_at:",
    "mov eax, [rdi]",
    "ret",
    "attack_write:",
    "attack_write_at:",
    "mov [rdi], esi",
    "ret",
    "attack_out:",
    "mov edx, edi",
    "mov eax, esi",
    "attack_out_at:",
    "out dx, al",
    "ret",
    "attack_wrmsr:",
    "mov eax, edi",
    "attack_wrmsr_at:",
    "wrmsr",
    "ret",
    "attack_triple_fault:",
    "sub rsp, 24",
    "mov qword ptr [rsp], 0",
    "mov qword ptr [rsp + 8], 0",
    "lidt [rsp]",
    "attack_triple_fault_at:",
    "ud2",
    ".popsection",
);

/// What a cell may not do.
#[derive(Clone, Copy, Debug)]
pub enum Attack {
    /// Reads four bytes.
    Read {
        /// Where.
        address: u64,
    },
    /// Writes four bytes.
    Write {
        /// Where.
        address: u64,
        /// What.
        value: u32,
    },
    /// Writes to a port.
    Out {
        /// The port.
        port: u16,
        /// What.
        value: u8,
    },
    /// Writes an MSR.
    Wrmsr {
        /// The MSR.
        msr: u32,
        /// What.
        value: u64,
    },
    /// Raises an exception without gates.
    TripleFault,
}

impl Attack {
    /// Returns the address of the instruction.
    pub fn rip(&self) -> u64 {
        let at = match self {
            Self::Read { .. } => attack_read_at as *const (),
            Self::Write { .. } => attack_write_at as *const (),
            Self::Out { .. } => attack_out_at as *const (),
            Self::Wrmsr { .. } => attack_wrmsr_at as *const (),
            Self::TripleFault => attack_triple_fault_at as *const (),
        };
        at.addr() as u64
    }

    /// Does it.
    pub fn carry_out(&self) {
        // SAFETY: the cell is stopped by it, or the test fails.
        unsafe {
            match *self {
                Self::Read { address } => attack_read(address),
                Self::Write { address, value } => attack_write(address, value),
                Self::Out { port, value } => attack_out(u64::from(port), value),
                Self::Wrmsr { msr, value } => {
                    attack_wrmsr(value & 0xffff_ffff, 0, value >> 32, u64::from(msr));
                }
                Self::TripleFault => attack_triple_fault(),
            }
        }
    }
}
