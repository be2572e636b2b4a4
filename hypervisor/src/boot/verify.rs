//! Compares the configuration with the real machine.

use core::fmt::Write;

use arrayvec::ArrayString;
use cell_config::{ApicMode, Doorbell, Region, System};
use log::{error, warn};

use super::machine::Machine;
use super::{Image, InitError};
use crate::acpi::Madt;
use crate::address::PAGE_SIZE;
use crate::cell::{MachineAcpi, claimed_memory};
use crate::ioapic::{Addresses, MAX_IO_APICS};
use crate::loader::Range;
use crate::vmx::capability::{CpuidLeaves, MissingList, VmxCapabilities};

/// Checks this CPU, with a line for each thing that it lacks; every CPU is checked as it comes up.
pub fn processor(apic_mode: ApicMode) -> Result<VmxCapabilities, InitError> {
    let mut missing = MissingList::new();
    let leaves = CpuidLeaves::read();
    leaves.missing(apic_mode, &mut missing);
    // Without VMX its capability MSRs do not exist.
    let vmx = if leaves.features.ecx & 1 << 5 != 0 {
        Some(VmxCapabilities::read())
    } else {
        None
    };
    if let Some(vmx) = &vmx {
        vmx.missing(&mut missing);
    }
    for item in &missing {
        error!("the processor lacks {item}");
    }
    match vmx {
        Some(vmx) if missing.is_empty() => Ok(vmx),
        _ => Err(InitError::Processor {
            missing: missing.len(),
        }),
    }
}

/// Checks memory, CPUs and what this version supports.
pub fn machine(system: &System, machine: &Machine, image: &Image) -> Result<(), InitError> {
    hypervisor_region(system, machine, image)?;
    memory(system, machine)?;
    cpus(system, machine)?;
    io_apics(system, &machine.acpi(&machine.physical())?)?;
    for channel in &system.channels {
        if channel.doorbell == Doorbell::Direct {
            warn!(
                "channel '{}' is direct: its cells trust each other",
                channel.name
            );
        }
    }
    Ok(())
}

fn hypervisor_region(system: &System, machine: &Machine, image: &Image) -> Result<(), InitError> {
    let region = Range::new(system.hypervisor.memory.base, system.hypervisor.memory.size);
    let image = Range::new(image.start, image.end - image.start);
    if region.base != image.base || !region.contains(image) || region.end() > 1 << 32 {
        return Err(InitError::ImageElsewhere { image, region });
    }
    match machine
        .modules
        .iter()
        .find(|module| module.range.overlaps(region))
    {
        Some(module) => Err(InitError::ModuleInHypervisor {
            name: module.name,
            at: module.range,
        }),
        None => Ok(()),
    }
}

fn memory(system: &System, machine: &Machine) -> Result<(), InitError> {
    let require = |base: u64, size: u64, kind: &str, name: &str| {
        let range = Range::new(base, size);
        if machine.is_ram(range) {
            return Ok(());
        }
        let mut owner = ArrayString::new();
        // 64 bytes hold both words.
        let _ = write!(owner, "{kind} '{name}'");
        Err(InitError::MemoryMissing { owner, range })
    };
    require(
        system.hypervisor.memory.base,
        system.hypervisor.memory.size,
        "the",
        "hypervisor",
    )?;
    for cell in &system.cells {
        for region in &cell.memory {
            require(region.base, region.size, "cell", &cell.name)?;
        }
    }
    for channel in &system.channels {
        require(
            channel.memory.base,
            channel.memory.size,
            "channel",
            &channel.name,
        )?;
    }
    Ok(())
}

/// Returns the addresses of the I/O APICs, which no cell may name.
pub fn io_apics(system: &System, acpi: &MachineAcpi) -> Result<Addresses, InitError> {
    let mut addresses = Addresses::new();
    for address in Madt::open(&acpi.tables)?.io_apics() {
        let address = address?;
        if addresses.contains(&address) {
            continue;
        }
        if !address.is_multiple_of(PAGE_SIZE) {
            return Err(InitError::IoApicOffset { address });
        }
        let page = Range::new(address, PAGE_SIZE);
        let is_named = |region: Region| page.overlaps(Range::new(region.base, region.size));
        if claimed_memory(system).any(is_named) {
            return Err(InitError::IoApicNamed { address });
        }
        if addresses.try_push(address).is_err() {
            return Err(InitError::TooMany {
                what: "I/O APICs",
                limit: MAX_IO_APICS,
            });
        }
    }
    Ok(addresses)
}

fn cpus(system: &System, machine: &Machine) -> Result<(), InitError> {
    let physical = machine.physical();
    let acpi = machine.acpi(&physical)?;
    let madt = Madt::open(&acpi.tables)?;
    let enabled = || {
        madt.cpus()
            .filter_map(Result::ok)
            .filter(|cpu| cpu.is_enabled)
    };
    for &apic_id in system.cells.iter().flat_map(|cell| &cell.cpus) {
        if !enabled().any(|cpu| cpu.apic_id == apic_id) {
            return Err(InitError::CpuMissing {
                apic_id,
                found: enabled().count(),
            });
        }
    }
    Ok(())
}
