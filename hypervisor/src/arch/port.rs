//! I/O ports.

use x86_64::instructions::port::Port;

/// Width of an I/O access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// One byte.
    Byte,
    /// Two bytes.
    Word,
    /// Four bytes.
    Dword,
}

impl Width {
    /// Returns the number of bytes.
    pub fn bytes(self) -> u32 {
        match self {
            Self::Byte => 1,
            Self::Word => 2,
            Self::Dword => 4,
        }
    }
}

/// Reads a port.
///
/// # Safety
/// The device behind the port must not harm the hypervisor by being read.
pub unsafe fn read(port: u16, width: Width) -> u32 {
    // SAFETY: the caller vouches for the device.
    unsafe {
        match width {
            Width::Byte => u32::from(Port::<u8>::new(port).read()),
            Width::Word => u32::from(Port::<u16>::new(port).read()),
            Width::Dword => Port::<u32>::new(port).read(),
        }
    }
}

/// Writes a port.
///
/// # Safety
/// The device behind the port must not harm the hypervisor by being written.
pub unsafe fn write(port: u16, width: Width, value: u32) {
    // SAFETY: the caller vouches for the device.
    unsafe {
        match width {
            Width::Byte => Port::<u8>::new(port).write((value & 0xff) as u8),
            Width::Word => Port::<u16>::new(port).write((value & 0xffff) as u16),
            Width::Dword => Port::<u32>::new(port).write(value),
        }
    }
}
