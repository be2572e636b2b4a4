// SPDX-License-Identifier: MIT OR Apache-2.0
//! A program's memory: its regions, the frames behind them, and the page tables that show them to it.
#![expect(unsafe_code, reason = "gives page frames to programs")]

use nimbos::abi::Errno;
use nimbos::layout::PAGE_LEN;
use nimbos::program::MAX_SEGMENTS;
use nimbos::user_memory::{Access, Region, RegionMap, Rights};

use crate::arch::paging::{AddressSpace, OutOfMemory};
use crate::memory::Pages;

/// Regions of a program: its segments and the stack.
const MAX_REGIONS: usize = MAX_SEGMENTS + 1;

/// User space of one program.
#[derive(Debug)]
pub struct UserSpace {
    // Before the frames that they map, so that they are dropped first.
    tables: AddressSpace,
    map: RegionMap<MAX_REGIONS>,
    /// Frames of the region with the same number.
    frames: [Option<Pages>; MAX_REGIONS],
}

impl UserSpace {
    /// Returns a user space without memory.
    pub fn new() -> Result<Self, OutOfMemory> {
        Ok(Self {
            tables: AddressSpace::new()?,
            map: RegionMap::new(),
            frames: [const { None }; MAX_REGIONS],
        })
    }

    /// Adds zeroed memory at `start..end`, both page-aligned and in user space, and returns its bytes. The program's
    /// user space is not in use.
    ///
    /// # Panics
    /// If the range overlaps another or there are too many; the loader checks that before.
    pub fn add(&mut self, start: u64, end: u64, rights: Rights) -> Result<&mut [u8], OutOfMemory> {
        let pages = Pages::allocate(((end - start) / PAGE_LEN) as usize).ok_or(OutOfMemory)?;
        let region = Region { start, end, rights };
        let number = self.map.insert(region).expect("regions do not overlap");
        let pages = self.frames[number].insert(pages);
        for offset in (0..end - start).step_by(PAGE_LEN as usize) {
            let (address, frame) = (start + offset, pages.address() + offset);
            // SAFETY: the frames belong to this object and are dropped after the tables; `add` is called before the
            // program runs.
            unsafe { self.tables.map(address, frame, rights)? };
        }
        Ok(pages.bytes_mut())
    }

    /// Makes this the CPU's user space.
    pub fn activate(&self) {
        self.tables.activate();
    }

    /// Checks that the program may read all `len` bytes at `address`, and returns them in parts.
    pub fn read_parts(
        &self,
        address: u64,
        len: usize,
    ) -> Result<impl Iterator<Item = &[u8]>, Errno> {
        let parts = self.map.parts(address, len as u64, Access::Read)?;
        Ok(parts.map(|part| {
            let frames = self.frames[part.region].as_ref();
            &frames.expect("a region has frames").bytes()[part.offset..][..part.len]
        }))
    }

    /// Returns the word at `address`, if the program may read it.
    pub fn word(&self, address: u64) -> Option<u64> {
        let mut word = [0; 8];
        let mut len = 0;
        for part in self.read_parts(address, word.len()).ok()? {
            word[len..][..part.len()].copy_from_slice(part);
            len += part.len();
        }
        Some(u64::from_le_bytes(word))
    }

    /// Tells whether the program may execute the byte at `address`.
    pub fn is_code(&self, address: u64) -> bool {
        self.map.is_code(address)
    }

    /// Checks that the program may write all `len` bytes at `address`.
    pub fn check_writable(&self, address: u64, len: usize) -> Result<(), Errno> {
        self.map.parts(address, len as u64, Access::Write).map(drop)
    }

    /// Checks that the program may write all `len` bytes at `address`, and lets `fill` write each part; its first
    /// argument counts from `address`.
    pub fn fill(
        &mut self,
        address: u64,
        len: usize,
        mut fill: impl FnMut(usize, &mut [u8]),
    ) -> Result<(), Errno> {
        let mut offset = 0;
        for part in self.map.parts(address, len as u64, Access::Write)? {
            let frames = self.frames[part.region].as_mut();
            let bytes = frames.expect("a region has frames").bytes_mut();
            fill(offset, &mut bytes[part.offset..][..part.len]);
            offset += part.len;
        }
        Ok(())
    }

    /// Copies `bytes` to `address`.
    pub fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), Errno> {
        self.fill(address, bytes.len(), |offset, part| {
            part.copy_from_slice(&bytes[offset..][..part.len()]);
        })
    }

    /// Copies the string at `address` without its NUL to the beginning of `into` and returns its length.
    pub fn read_string(&self, address: u64, into: &mut [u8]) -> Result<usize, Errno> {
        let limit = into.len() as u64;
        let accessible = self.map.accessible(address, limit, Access::Read);
        let mut len = 0;
        for part in self.read_parts(address, accessible as usize)? {
            let end = part.iter().position(|&byte| byte == 0);
            let text = &part[..end.unwrap_or(part.len())];
            into[len..][..text.len()].copy_from_slice(text);
            len += text.len();
            if end.is_some() {
                return Ok(len);
            }
        }
        Err(if accessible == limit {
            Errno::NameTooLong
        } else {
            Errno::Fault
        })
    }
}
