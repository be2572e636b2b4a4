//! Physical memory as bytes: copying in and out of what cells, firmware and the boot loader own.

use core::fmt;

use super::UpidPage;
use crate::acpi::{OutOfRange, PhysMem};
use crate::address::HostPhys;

/// Physical memory outside the hypervisor: `0..limit` without the hypervisor's own region. Whatever is read here is
/// somebody else's and may change under the reader: it is copied, then checked.
#[derive(Clone, Copy, Debug)]
pub struct PhysicalMemory {
    limit: u64,
    own_start: u64,
    own_end: u64,
}

/// A range that is not accessible as physical memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RangeLimit {
    /// First address.
    pub base: HostPhys,
    /// Length in bytes.
    pub len: u64,
}

impl fmt::Display for RangeLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} bytes at {} are not memory that may be touched",
            self.len, self.base
        )
    }
}

impl PhysicalMemory {
    /// Returns access to `0..limit` without `own_start..own_end`.
    ///
    /// # Safety
    /// `0..limit` is mapped one to one; all of the hypervisor's own memory lies in `own_start..own_end`; device
    /// memory is read only by who knows the device.
    pub const unsafe fn new(limit: u64, own_start: HostPhys, own_end: HostPhys) -> Self {
        Self {
            limit,
            own_start: own_start.0,
            own_end: own_end.0,
        }
    }

    fn pointer(&self, base: HostPhys, len: u64) -> Result<*mut u8, RangeLimit> {
        let refused = RangeLimit { base, len };
        let end = base.0.checked_add(len).ok_or(refused)?;
        let own = base.0 < self.own_end && end > self.own_start;
        if end > self.limit || own || base.0 == 0 {
            return Err(refused);
        }
        Ok(core::ptr::with_exposed_provenance_mut(base.0 as usize))
    }

    /// Copies memory out.
    pub fn read(&self, from: HostPhys, buffer: &mut [u8]) -> Result<(), RangeLimit> {
        let source = self.pointer(from, buffer.len() as u64)?;
        // SAFETY: the range is mapped and not the hypervisor's, so it does not overlap `buffer`. Another CPU may
        // write it meanwhile: the copy is then a mix, which the caller checks like anything else.
        unsafe { core::ptr::copy_nonoverlapping(source, buffer.as_mut_ptr(), buffer.len()) };
        Ok(())
    }

    /// Copies memory in.
    pub fn write(&self, to: HostPhys, bytes: &[u8]) -> Result<(), RangeLimit> {
        let target = self.pointer(to, bytes.len() as u64)?;
        // SAFETY: as in `read`: no Rust object of the hypervisor lies in the range.
        unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), target, bytes.len()) };
        Ok(())
    }

    /// Fills memory with zeros.
    pub fn zero(&self, base: HostPhys, len: u64) -> Result<(), RangeLimit> {
        let target = self.pointer(base, len)?;
        // SAFETY: as in `write`.
        unsafe { core::ptr::write_bytes(target, 0, len as usize) };
        Ok(())
    }

    /// Moves memory; the ranges may overlap.
    pub fn copy(&self, from: HostPhys, to: HostPhys, len: u64) -> Result<(), RangeLimit> {
        let (source, target) = (self.pointer(from, len)?, self.pointer(to, len)?);
        // SAFETY: as in `read` and `write`.
        unsafe { core::ptr::copy(source, target, len as usize) };
        Ok(())
    }

    /// Returns memory that nobody changes while the hypervisor starts up: boot modules.
    ///
    /// # Safety
    /// No cell runs, and the caller writes to no part of the range while the slice lives.
    pub unsafe fn stable_bytes(
        &self,
        base: HostPhys,
        len: u64,
    ) -> Result<&'static [u8], RangeLimit> {
        let start = self.pointer(base, len)?;
        // SAFETY: the range is mapped, outside the hypervisor, and stays as it is by the caller's word.
        Ok(unsafe { core::slice::from_raw_parts(start, len as usize) })
    }

    /// Returns the UPID slots at a page of a channel, which cells and processors write while the hypervisor does.
    pub fn upid_page(&self, base: HostPhys) -> Result<&'static UpidPage, RangeLimit> {
        let refused = RangeLimit {
            base,
            len: size_of::<UpidPage>() as u64,
        };
        let page = self.pointer(base, refused.len)?.cast::<UpidPage>();
        if !page.is_aligned() {
            return Err(refused);
        }
        // SAFETY: mapped for good, aligned, outside the hypervisor; of shared memory, atomics are all that is made.
        Ok(unsafe { &*page })
    }

    /// Stores one 32-bit word that another CPU reads.
    pub fn store_u32(&self, at: HostPhys, value: u32) -> Result<(), RangeLimit> {
        let target = self.pointer(at, 4)?;
        if !at.0.is_multiple_of(4) {
            return Err(RangeLimit { base: at, len: 4 });
        }
        // SAFETY: mapped, aligned, outside the hypervisor; volatile so that it is one store.
        unsafe { target.cast::<u32>().write_volatile(value) };
        Ok(())
    }
}

impl PhysMem for PhysicalMemory {
    fn read(&self, address: u64, buf: &mut [u8]) -> Result<(), OutOfRange> {
        self.read(HostPhys(address), buf).map_err(|_| OutOfRange)
    }
}
