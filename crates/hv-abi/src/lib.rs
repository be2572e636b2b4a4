//! The contract between cells and the hypervisor: boot information, hypercalls, CPUID leaves, channel regions.
//!
//! Everything here is data: layouts and numbers, no behaviour. `docs/interfaces.md` explains them; both sides
//! (hypervisor, co-kernel, test cells, and by way of `isthmus_ioctl.h` the Linux driver) use these types.
#![no_std]
#![forbid(unsafe_code)]

mod boot_info;
pub mod channel;
pub mod cpuid;
pub mod hypercall;

pub use boot_info::{
    BootInfo, ChannelInfo, ChannelRole, ConsoleInfo, ConsoleKind, Doorbell, MemoryRange,
};

/// Revision of everything in this crate; leaf [`cpuid::ABI_LEAF`] and [`BootInfo`] carry it.
pub const ABI_REVISION: u32 = 2;
/// Longest name of a cell or a channel, in bytes, with the terminating NUL.
pub const NAME_LEN: usize = 32;

/// Returns the text of a NUL-padded field, or `None` if it is no UTF-8.
pub fn text(field: &[u8]) -> Option<&str> {
    let len = field.iter().position(|&b| b == 0).unwrap_or(field.len());
    core::str::from_utf8(&field[..len]).ok()
}
