//! Why nothing is started: one line each.

use core::fmt;

use arrayvec::ArrayString;
use cell_config::{DecodeError, Name};

use super::modules::ModuleName;
use crate::cell::{CreateError, LinuxLoadError, LoadError};
use crate::loader::Range;
use crate::loader::placement::PlacementError;
use crate::memory::{OutOfFrames, RangeLimit};
use crate::vmx::vmcs::VmxError;

/// A reason to start nothing.
#[derive(Debug)]
pub enum InitError {
    /// Started by something else.
    NotMultiboot2 { magic: u32 },
    /// The boot information is damaged.
    BootInformation(&'static str),
    /// More modules or memory-map entries than there is room for.
    TooMany { what: &'static str, limit: usize },
    /// A module that is needed is not there.
    ModuleMissing {
        name: ModuleName,
        wanted_by: ArrayString<64>,
    },
    /// Two modules with one name.
    ModuleTwice { name: ModuleName },
    /// A module overlaps the hypervisor's memory.
    ModuleInHypervisor { name: ModuleName, at: Range },
    /// The configuration.
    Configuration(DecodeError),
    /// The processor lacks something.
    Processor { missing: usize },
    /// The image is not at the start of the hypervisor's region.
    ImageElsewhere { image: Range, region: Range },
    /// Memory of the configuration that this machine lacks.
    MemoryMissing {
        owner: ArrayString<64>,
        range: Range,
    },
    /// A CPU of the configuration that this machine lacks.
    CpuMissing { apic_id: u32, found: usize },
    /// An I/O APIC that shares a page.
    IoApicOffset { address: u64 },
    /// An I/O APIC in memory that the configuration names.
    IoApicNamed { address: u64 },
    /// ACPI.
    Acpi(crate::acpi::AcpiError),
    /// A cell's images.
    Load { cell: Name, error: LoadError },
    /// A cell's memory could not be written.
    Write { cell: Name, error: LinuxLoadError },
    /// A cell's tables.
    Create { cell: Name, error: CreateError },
    /// Modules cannot be moved out of the way.
    Placement(PlacementError),
    /// Memory.
    Range(RangeLimit),
    /// The hypervisor's region is too small.
    OutOfFrames,
    /// No page below 1 MiB for starting CPUs.
    NoLowMemory,
    /// A CPU did not come up.
    CpuSilent { apic_id: u32 },
    /// A CPU came up but cannot run a cell.
    CpuFailed { apic_id: u32 },
    /// The APIC mode cannot be set.
    ApicMode,
    /// VMX on the boot CPU.
    Vmx(VmxError),
}

impl fmt::Display for InitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotMultiboot2 { magic } => {
                write!(f, "not started by a Multiboot2 loader (EAX is {magic:#x})")
            }
            Self::BootInformation(what) => write!(f, "boot information: {what}"),
            Self::TooMany { what, limit } => write!(f, "more than {limit} {what}"),
            Self::ModuleMissing { name, wanted_by } => {
                write!(
                    f,
                    "module '{name}', wanted by {wanted_by}, is missing: add `module2 FILE {name}` in GRUB"
                )
            }
            Self::ModuleTwice { name } => write!(f, "two modules are named '{name}'"),
            Self::ModuleInHypervisor { name, at } => {
                write!(
                    f,
                    "module '{name}' was loaded at {at}, in the hypervisor's memory: move hypervisor.memory"
                )
            }
            Self::Configuration(error) => write!(f, "module 'config': {error}"),
            Self::Processor { missing } => {
                write!(
                    f,
                    "this processor cannot run Isthmus: {missing} features are missing, see above"
                )
            }
            Self::ImageElsewhere { image, region } => write!(
                f,
                "the image is at {image}, hypervisor.memory at {region}: it must start with the image and be larger"
            ),
            Self::MemoryMissing { owner, range } => {
                write!(
                    f,
                    "memory {range} of {owner} is not RAM that this machine offers"
                )
            }
            Self::CpuMissing { apic_id, found } => {
                write!(
                    f,
                    "CPU with APIC ID {apic_id} is configured, but this machine has {found} CPUs without it"
                )
            }
            Self::IoApicOffset { address } => {
                write!(
                    f,
                    "the I/O APIC at {address:#x} is not at the start of a page"
                )
            }
            Self::IoApicNamed { address } => write!(
                f,
                "the I/O APIC at {address:#x} is in memory that the configuration gives away"
            ),
            Self::Acpi(error) => error.fmt(f),
            Self::Load { cell, error } => write!(f, "cell '{cell}': {error}"),
            Self::Write { cell, error } => write!(f, "cell '{cell}': {error}"),
            Self::Create { cell, error } => write!(f, "cell '{cell}': {error}"),
            Self::Placement(error) => error.fmt(f),
            Self::Range(error) => error.fmt(f),
            Self::OutOfFrames => OutOfFrames.fmt(f),
            Self::NoLowMemory => f.write_str("no free page below 1 MiB for starting CPUs"),
            Self::CpuSilent { apic_id } => write!(
                f,
                "CPU with APIC ID {apic_id} does not answer INIT and SIPI"
            ),
            Self::CpuFailed { apic_id } => {
                write!(f, "CPU with APIC ID {apic_id} cannot run a cell, see above")
            }
            Self::ApicMode => {
                f.write_str("the local APIC cannot be brought into machine.apic_mode")
            }
            Self::Vmx(error) => error.fmt(f),
        }
    }
}

macro_rules! from {
    ($($error:ty => $variant:ident),* $(,)?) => {
        $(impl From<$error> for InitError {
            fn from(error: $error) -> Self {
                Self::$variant(error)
            }
        })*
    };
}

from! {
    DecodeError => Configuration,
    crate::acpi::AcpiError => Acpi,
    PlacementError => Placement,
    RangeLimit => Range,
    VmxError => Vmx,
}

impl From<OutOfFrames> for InitError {
    fn from(_: OutOfFrames) -> Self {
        Self::OutOfFrames
    }
}
