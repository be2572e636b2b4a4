//! Why a cell ends: what it did against isolation, or its own wish.

use core::fmt;

use crate::address::GuestPhys;
use crate::arch::port::Width;
use crate::lapic::icr::IpiDenied;
use crate::lapic::mmio::DecodeError;
use crate::vmx::ExitReason;

/// What a cell did that it may not do. It is stopped for it; the others run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CellFault {
    /// An exit that nothing of the cell should cause.
    UnhandledExit {
        /// Basic reason.
        reason: ExitReason,
    },
    /// Triple fault.
    TripleFault,
    /// Access of memory that is not mapped for the cell, or not in this way.
    Memory {
        /// Guest-physical address.
        gpa: GuestPhys,
        /// "read", "write" or "instruction fetch".
        access: &'static str,
    },
    /// Access of a port that is not the cell's.
    Port {
        /// First port.
        port: u16,
        /// Width.
        width: Width,
        /// Value of an OUT.
        written: Option<u32>,
    },
    /// String I/O on a port that the hypervisor watches.
    StringPort {
        /// The port.
        port: u16,
    },
    /// WRMSR of an MSR that acts beyond the cell's CPUs.
    Msr {
        /// The MSR.
        msr: u32,
        /// The value.
        value: u64,
    },
    /// Interrupt command for what is not the cell's.
    Ipi(IpiDenied),
    /// Access of the xAPIC page by an instruction that is not emulated.
    Xapic {
        /// Offset in the page.
        offset: u16,
        /// Why not, if it was decoded at all.
        error: Option<DecodeError>,
    },
    /// Access of an I/O APIC's page by an instruction that is not emulated.
    IoApic {
        /// Offset in the page.
        offset: u16,
        /// Why not, if it was decoded at all.
        error: Option<DecodeError>,
    },
    /// A control-register change that is not supported.
    ControlRegister {
        /// 0 or 4.
        register: u8,
        /// The value.
        value: u64,
    },
    /// VMLAUNCH or VMRESUME failed with a VM-instruction error: the guest's state is impossible.
    EntryRefused {
        /// VM-instruction error number.
        error: u32,
    },
    /// VM entry failed on the guest's state.
    EntryFailed {
        /// Basic reason.
        reason: ExitReason,
    },
}

impl fmt::Display for CellFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnhandledExit { reason } => write!(f, "unexpected VM exit {reason}"),
            Self::TripleFault => f.write_str("triple fault"),
            Self::Memory { gpa, access } => write!(
                f,
                "{access} of guest-physical address {gpa}, which is not the cell's"
            ),
            Self::Port {
                port,
                width,
                written: None,
            } => {
                write!(
                    f,
                    "{}-byte read of port {port:#x}, which is not the cell's",
                    width.bytes()
                )
            }
            Self::Port {
                port,
                width,
                written: Some(value),
            } => {
                write!(
                    f,
                    "{}-byte write of {value:#x} to port {port:#x}, which is not the cell's",
                    width.bytes()
                )
            }
            Self::StringPort { port } => write!(f, "string I/O on watched port {port:#x}"),
            Self::Msr { msr, value } => write!(
                f,
                "WRMSR of {value:#x} to MSR {msr:#x}, which is not the cell's"
            ),
            Self::Ipi(denied) => write!(f, "{denied}"),
            Self::Xapic {
                offset,
                error: Some(error),
            } => write!(f, "xAPIC access at offset {offset:#x}: {error}"),
            Self::Xapic {
                offset,
                error: None,
            } => {
                write!(
                    f,
                    "xAPIC access at offset {offset:#x} by an instruction that cannot be read"
                )
            }
            Self::IoApic {
                offset,
                error: Some(error),
            } => write!(f, "I/O APIC access at offset {offset:#x}: {error}"),
            Self::IoApic {
                offset,
                error: None,
            } => write!(
                f,
                "I/O APIC access at offset {offset:#x} by an instruction that cannot be read"
            ),
            Self::ControlRegister { register, value } => {
                write!(f, "unsupported value {value:#x} for CR{register}")
            }
            Self::EntryRefused { error } => {
                write!(f, "VM entry refused, VM-instruction error {error}")
            }
            Self::EntryFailed { reason } => write!(f, "VM entry failed: {reason}"),
        }
    }
}

impl From<IpiDenied> for CellFault {
    fn from(denied: IpiDenied) -> Self {
        Self::Ipi(denied)
    }
}

/// A cell's own wish to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndKind {
    /// Power-off or sleep.
    PowerOff,
    /// Reset.
    Reset,
}

impl fmt::Display for EndKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PowerOff => "power-off",
            Self::Reset => "reset",
        })
    }
}

/// Why a cell ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CellStop {
    /// It did what it may not do.
    Fault(CellFault),
    /// It asked to be started anew.
    Restart,
    /// It asked for it by writing to a port, which is repeated for real where the cell may end the machine.
    Asked {
        /// What it asked for.
        kind: EndKind,
        /// The port.
        port: u16,
        /// Width of the write.
        width: Width,
        /// Value of the write.
        value: u32,
    },
}

impl From<CellFault> for CellStop {
    fn from(fault: CellFault) -> Self {
        Self::Fault(fault)
    }
}
