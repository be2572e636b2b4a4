//! Rules about CPUs.

use super::{CheckError, each_pair};
use crate::place::Owner;
use crate::system::{ApicMode, System};

/// Highest APIC ID of one CPU; the next one means all CPUs. (SDM 3A, "Determining IPI Destination")
const fn highest_apic_id(mode: ApicMode) -> u32 {
    match mode {
        ApicMode::Xapic => 0xFE,
        ApicMode::X2apic => 0xFFFF_FFFE,
    }
}

pub(super) fn check(system: &System) -> Result<(), CheckError> {
    let machine = &system.machine;
    check_list(Owner::Machine, &machine.cpus)?;
    for &cpu in &machine.cpus {
        if cpu > highest_apic_id(machine.apic_mode) {
            return Err(CheckError::ApicIdTooHigh {
                cpu,
                mode: machine.apic_mode,
            });
        }
    }
    for (index, cell) in system.cells.iter().enumerate() {
        let owner = Owner::cell(index, cell);
        check_list(owner, &cell.cpus)?;
        if let Some(&cpu) = cell.cpus.iter().find(|cpu| !machine.cpus.contains(cpu)) {
            return Err(CheckError::CpuNotInMachine { cpu, cell: owner });
        }
    }
    each_pair(system.cells.iter().enumerate(), |&(i, a), &(j, b)| match a
        .cpus
        .iter()
        .find(|cpu| b.cpus.contains(cpu))
    {
        Some(&cpu) => {
            let (first, second) = (Owner::cell(i, a), Owner::cell(j, b));
            Err(CheckError::CpuOwnedTwice { cpu, first, second })
        }
        None => Ok(()),
    })
}

fn check_list(owner: Owner, cpus: &[u32]) -> Result<(), CheckError> {
    if cpus.is_empty() {
        return Err(CheckError::NoCpu { owner });
    }
    each_pair(cpus.iter(), |a, b| {
        if a == b {
            Err(CheckError::CpuListedTwice { owner, cpu: **a })
        } else {
            Ok(())
        }
    })
}
