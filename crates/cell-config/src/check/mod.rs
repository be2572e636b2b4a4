//! The rules that keep cells apart. Each has a variant of [`CheckError`]; the first broken one is reported.

mod cpus;
mod devices;
mod doorbells;
mod error;
mod memory;
mod names;

pub use error::CheckError;

use crate::Region;
use crate::system::System;

/// The local APIC's registers and the addresses of interrupt messages, which belong to no cell. (SDM 3A, "Relocating the
/// Local APIC Registers", "Message Address Register Format")
pub const LOCAL_APIC: Region = Region::new(0xFEE0_0000, 1 << 20);
/// Where chipsets put the I/O APICs, which belong to no cell: a cell that has the rest of the devices reaches them through
/// the hypervisor. Their page can be moved within these addresses by the chipset's registers. (82371AB (PIIX4), "APIC
/// Base Address Relocation Register")
pub const IO_APICS: Region = Region::new(0xFEC0_0000, 1 << 20);
/// Bases and sizes of the hypervisor's memory and of channels are multiples of this many bytes.
pub const LARGE_PAGE: u64 = 2 << 20;
/// Least memory of the hypervisor, in bytes.
pub const MIN_HYPERVISOR_MEMORY: u64 = 2 << 20;
/// Least size of an ELF cell's first region, in bytes: the boot area of 64 KiB and as much for an image.
pub const MIN_ELF_MEMORY: u64 = 128 << 10;
/// Least memory of a channel, in bytes.
pub const MIN_CHANNEL_MEMORY: u64 = 64 << 10;
/// Most memory of a channel, in bytes.
pub const MAX_CHANNEL_MEMORY: u64 = 1 << 30;
/// End of the addresses that second-level paging structures of four levels translate. Most memory is mapped identically,
/// so nothing lies above. (SDM 3C, "EPT Translation Mechanism")
pub const PHYSICAL_END: u64 = 1 << 48;

impl System {
    /// Checks that the parts do not contradict each other and that every CPU, byte of memory, port and page of
    /// device memory has at most one owner.
    ///
    /// What only the hypervisor can know is left to it: whether the real machine is the described one, and whether
    /// images fit.
    ///
    /// # Errors
    /// The first rule found broken, with both offenders.
    pub fn check(&self) -> Result<(), CheckError> {
        names::check(self)?;
        cpus::check(self)?;
        memory::check(self)?;
        devices::check(self)?;
        doorbells::check(self)
    }
}

/// Calls `f` with every pair of items of `items`, each pair once, until one fails.
fn each_pair<T, E>(
    items: impl Iterator<Item = T> + Clone,
    mut f: impl FnMut(&T, &T) -> Result<(), E>,
) -> Result<(), E> {
    let mut rest = items;
    while let Some(first) = rest.next() {
        for second in rest.clone() {
            f(&first, &second)?;
        }
    }
    Ok(())
}
