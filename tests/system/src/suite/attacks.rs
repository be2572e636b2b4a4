// SPDX-License-Identifier: MIT OR Apache-2.0
//! What stops a cell: it is reported, and the neighbour goes on.
//!
//! Cell a attacks, cell b answers. Lines of cell b with `peer=gone` were printed after the hypervisor had taken the
//! attacker off the channel, which it does when it stops a cell.

use anyhow::{Result, ensure};

use super::guests::undisturbed;
use crate::cells::{CELL_SIZE, Cells, GUEST_BASE, Mode, Slot};
use crate::scenario::{HYPERVISOR, REPORT_END, Seen, Trial, Wanted, value};

/// Signs of life of the neighbour after the attacker was stopped.
const BEATS: usize = 3;
const HYPERVISOR_MEMORY: u64 = 0x3000_0000;
/// Permissions of an EPT violation's qualification: read and write access.
const READ: u64 = 1;
const WRITE: u64 = 2;

/// An attack and how it has to be reported.
struct Attack {
    mode: Mode,
    cmdline: String,
    /// Behind "stopped: ".
    cause: String,
    /// Exit reason.
    reason: &'static str,
    /// Guest-physical address, for EPT violations.
    address: Option<u64>,
    /// Bits that the exit qualification has.
    qualification: u64,
}

impl Attack {
    fn new(cmdline: String, cause: String, reason: &'static str) -> Self {
        Self {
            mode: Mode::X2apic,
            cmdline,
            cause,
            reason,
            address: None,
            qualification: 0,
        }
    }

    fn memory(test: &str, access: &str, address: u64, qualification: u64) -> Self {
        let cause =
            format!("{access} of guest-physical address {address:#x}, which is not the cell's");
        Self {
            address: Some(address),
            qualification,
            ..Self::new(
                format!("test={test} address={address:#x}"),
                cause,
                "EPT_VIOLATION (48)",
            )
        }
    }

    fn interrupt(test: &str, mode: Mode) -> Self {
        let cause = "interrupt to physical destination 0x1, which is no CPU of the cell";
        let reason = match mode {
            Mode::X2apic => "WRMSR (32)",
            Mode::Xapic => "EPT_VIOLATION (48)",
        };
        Self {
            mode,
            ..Self::new(format!("test={test} apic=1"), cause.to_owned(), reason)
        }
    }

    fn carry_out(&self, trial: &Trial) -> Result<()> {
        let cells = Cells::new(self.mode, 2)
            .test(Slot::A, &[0], &self.cmdline)
            .test(Slot::B, &[1], "test=answer")
            .channel(Slot::A, Slot::B);
        let seen = trial
            .scenario(cells.toml())?
            .may_stop_cells()
            .boot_until(&[
                Wanted::line("a", "test: attack="),
                Wanted::line(HYPERVISOR, REPORT_END),
                Wanted::lines("b", "peer=gone", BEATS),
            ])?;
        self.check_report(&seen)?;
        undisturbed(seen.console("b"))?;
        // Nothing of the attacker comes after its announcement.
        let last = seen.console("a").last().unwrap_or_default();
        ensure!(
            last.starts_with("test: attack="),
            "the attacker went on: {last}"
        );
        seen.refute(HYPERVISOR, "cell 'b' stopped")
    }

    fn check_report(&self, seen: &Seen) -> Result<()> {
        let line = seen.find(HYPERVISOR, "stopped:")?;
        let wanted = format!("isthmus: error: cell 'a' stopped: {}", self.cause);
        ensure!(line == wanted, "the report says '{line}', not '{wanted}'");
        let rip = value(seen.find("a", "test: attack=")?, "rip")?;
        let line = seen.find(HYPERVISOR, "CPU with APIC ID")?;
        let (reason, qualification) = (self.reason, number(line, "qualification")?);
        ensure!(line.contains("CPU with APIC ID 0,"), "{line}");
        ensure!(line.contains(&format!("exit reason {reason},")), "{line}");
        ensure!(
            line.contains(&format!("RIP {rip},")),
            "RIP is not {rip}: {line}"
        );
        ensure!(line.contains("CS 0x8, CPL 0"), "{line}");
        ensure!(
            qualification & self.qualification == self.qualification,
            "{line}"
        );
        if let Some(address) = self.address {
            let line = seen.find(HYPERVISOR, "guest-linear")?;
            ensure!(
                line.contains(&format!("guest-physical {address:#x},")),
                "{line}"
            );
            ensure!(
                line.contains(&format!("guest-linear {address:#x},")),
                "{line}"
            );
        }
        Ok(())
    }
}

/// Returns the number behind a word.
fn number(line: &str, word: &str) -> Result<u64> {
    let rest = line.split_once(&format!("{word} 0x")).map(|(_, rest)| rest);
    let digits = rest
        .and_then(|rest| rest.split(',').next())
        .unwrap_or_default();
    Ok(u64::from_str_radix(digits, 16)?)
}

/// The neighbour's memory is not there.
pub fn read_neighbour(trial: &Trial) -> Result<()> {
    Attack::memory("read-foreign", "read", Slot::B.memory(), READ).carry_out(trial)
}

/// Nor is the hypervisor's.
pub fn read_hypervisor(trial: &Trial) -> Result<()> {
    Attack::memory("read-foreign", "read", HYPERVISOR_MEMORY, READ).carry_out(trial)
}

/// It cannot be written either.
pub fn write_hypervisor(trial: &Trial) -> Result<()> {
    Attack::memory("write-foreign", "write", HYPERVISOR_MEMORY, WRITE).carry_out(trial)
}

/// The first byte behind the cell's own memory is nobody's.
pub fn write_neighbour(trial: &Trial) -> Result<()> {
    Attack::memory("write-foreign", "write", GUEST_BASE + CELL_SIZE, WRITE).carry_out(trial)
}

/// The neighbour's UART.
pub fn port(trial: &Trial) -> Result<()> {
    let port = Slot::B.port();
    let cause = format!("1-byte write of 0x21 to port {port:#x}, which is not the cell's");
    let cmdline = format!("test=port-foreign port={port:#x}");
    Attack {
        qualification: u64::from(port) << 16,
        ..Attack::new(cmdline, cause, "IO_INSTRUCTION (30)")
    }
    .carry_out(trial)
}

/// A port that no cell has.
pub fn pci_port(trial: &Trial) -> Result<()> {
    let cause = "1-byte write of 0x21 to port 0xcf8, which is not the cell's";
    let cmdline = "test=port-foreign port=0xcf8".to_owned();
    Attack::new(cmdline, cause.to_owned(), "IO_INSTRUCTION (30)").carry_out(trial)
}

/// IA32_BIOS_UPDT_TRIG.
pub fn microcode(trial: &Trial) -> Result<()> {
    let cause = "WRMSR of 0x1000 to MSR 0x79, which is not the cell's";
    let cmdline = "test=msr-foreign msr=0x79 value=0x1000".to_owned();
    Attack::new(cmdline, cause.to_owned(), "WRMSR (32)").carry_out(trial)
}

/// IA32_APIC_BASE with another address.
pub fn apic_base(trial: &Trial) -> Result<()> {
    let cause = "WRMSR of 0x42200d00 to MSR 0x1b, which is not the cell's";
    let cmdline = "test=msr-foreign msr=0x1b value=0x42200d00".to_owned();
    Attack::new(cmdline, cause.to_owned(), "WRMSR (32)").carry_out(trial)
}

/// INIT by MSR.
pub fn init_x2apic(trial: &Trial) -> Result<()> {
    Attack::interrupt("init-foreign", Mode::X2apic).carry_out(trial)
}

/// INIT by a store.
pub fn init_xapic(trial: &Trial) -> Result<()> {
    Attack::interrupt("init-foreign", Mode::Xapic).carry_out(trial)
}

/// Fixed interrupt by MSR.
pub fn interrupt_x2apic(trial: &Trial) -> Result<()> {
    Attack::interrupt("ipi-foreign", Mode::X2apic).carry_out(trial)
}

/// Fixed interrupt by a store.
pub fn interrupt_xapic(trial: &Trial) -> Result<()> {
    Attack::interrupt("ipi-foreign", Mode::Xapic).carry_out(trial)
}

/// SMI: denied whatever its destination.
pub fn smi(trial: &Trial) -> Result<()> {
    Attack {
        cause: "interrupt with delivery mode 2, which no cell may send".to_owned(),
        ..Attack::interrupt("smi-foreign", Mode::X2apic)
    }
    .carry_out(trial)
}

/// Triple fault.
pub fn triple_fault(trial: &Trial) -> Result<()> {
    let cmdline = "test=triple-fault".to_owned();
    Attack::new(cmdline, "triple fault".to_owned(), "TRIPLE_FAULT (2)").carry_out(trial)
}
