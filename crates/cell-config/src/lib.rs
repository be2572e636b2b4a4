//! Cell configurations: what each cell owns, the checks, the binary form out and in.
//!
//! A [`System`] says which cell owns which CPUs, memory and devices. `isthmus config build` reads one from TOML and
//! writes the binary form; the hypervisor, to which that form is hostile input, reads it with [`decode`]. Both ends run
//! the same checks, so that a mistake shows at the desk and a manipulated file at boot.
//!
//! Only [`encode`] allocates, which the hypervisor does not call. The text form is `cell-config-toml`'s.
//!
//! The format is described in `docs/interfaces.md`, "Cell configuration".
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod binary;
mod check;
mod place;
mod region;
mod system;

pub use binary::{DecodeError, REVISION, decode, encode};
pub use check::{
    CheckError, IO_APICS, LARGE_PAGE, LOCAL_APIC, MAX_CHANNEL_MEMORY, MIN_CHANNEL_MEMORY,
    MIN_ELF_MEMORY, MIN_HYPERVISOR_MEMORY, PHYSICAL_END,
};
pub use place::{Extent, Field, Owner, Place, PortExtent};
pub use region::{CellRegion, PAGE_SIZE, PortRange, Region, Size, UART_PORTS};
pub use system::{
    ALL_USER_VECTORS, ApicMode, Cell, CellKind, Channel, CommandLine, Devices, Doorbell, EndAction,
    ForeignPorts, Hypervisor, LogLevel, MAX_CELLS, MAX_CHANNELS, MAX_CPUS, MAX_MACHINE_REGIONS,
    MAX_RANGES, MAX_REGIONS, Machine, Name, System,
};
