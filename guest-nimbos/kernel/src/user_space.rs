// SPDX-License-Identifier: MIT OR Apache-2.0
//! A program's memory: its regions, the frames behind them, and the page tables that show them to it.
//!
//! While a program runs, its threads change its memory at any time. So the kernel copies what it wants, once, and looks at the
//! copy.
#![expect(
    unsafe_code,
    reason = "gives page frames to programs, and copies from and to them"
)]

use forward_ring::Buffer;
use nimbos::abi::Errno;
use nimbos::layout::{PAGE_LEN, USER_SEGMENTS_END, USER_START};
use nimbos::program::MAX_SEGMENTS;
use nimbos::user_memory::{Access, Part, Region, RegionMap, Rights};

use crate::arch::copy;
use crate::arch::paging::{AddressSpace, OutOfMemory};
use crate::memory::Pages;

/// Regions of a program: its segments, the stack, and what it maps.
const MAX_REGIONS: usize = MAX_SEGMENTS + 1 + 39;
/// Bytes of a string that are looked at together.
const STRING_PIECE: usize = 64;

/// User space of one program.
#[derive(Debug)]
pub struct UserSpace {
    // Before the frames that they map, so that they are dropped first.
    tables: AddressSpace,
    map: RegionMap<MAX_REGIONS>,
    /// Frames of the region with the same number.
    frames: [Option<Pages>; MAX_REGIONS],
    /// The file that was loaded, where it stays in memory: for the names of its functions.
    file: Option<&'static [u8]>,
    /// The region without frames of its own, if there is one: memory of a channel.
    shared: Option<Shared>,
}

/// A region that shows memory which others may write to at any time.
#[derive(Clone, Copy, Debug)]
struct Shared {
    /// Number of the region.
    number: usize,
    /// Where the kernel reaches the memory.
    address: u64,
    len: u64,
}

impl UserSpace {
    /// Returns a user space without memory.
    pub fn new() -> Result<Self, OutOfMemory> {
        Ok(Self {
            tables: AddressSpace::new()?,
            map: RegionMap::new(),
            frames: [const { None }; MAX_REGIONS],
            file: None,
            shared: None,
        })
    }

    /// Returns a user space with the same memory, copied; what is shared is left out.
    pub fn duplicate(&self) -> Result<Self, OutOfMemory> {
        let mut copy = Self::new()?;
        copy.file = self.file;
        for (number, pages) in self.frames.iter().enumerate() {
            if let (Some(region), Some(pages)) = (self.map.get(number), pages) {
                copy.insert(region, pages.duplicate().ok_or(OutOfMemory)?)?;
            }
        }
        Ok(copy)
    }

    /// Adds zeroed memory at `start..end`, both page-aligned and in user space, and returns its bytes. No thread runs in this
    /// user space yet.
    ///
    /// # Panics
    /// If the range overlaps another or there are too many; the loader checks that before.
    pub fn add(&mut self, start: u64, end: u64, rights: Rights) -> Result<&mut [u8], OutOfMemory> {
        let region = Region { start, end, rights };
        let pages = Pages::allocate(((end - start) / PAGE_LEN) as usize).ok_or(OutOfMemory)?;
        let number = self.insert(region, pages)?;
        let pages = self.frames[number].as_mut();
        Ok(pages.expect("it was put there").bytes_mut())
    }

    /// Adds `len` bytes of zeroed memory, a multiple of the page size, where there is place, and returns their address.
    pub fn add_anywhere(&mut self, len: u64, rights: Rights) -> Result<u64, OutOfMemory> {
        let start = self.map.find_place(len, USER_START, USER_SEGMENTS_END);
        let start = start.ok_or(OutOfMemory)?;
        if !self.map.has_room() {
            return Err(OutOfMemory);
        }
        let end = start + len;
        let pages = Pages::allocate((len / PAGE_LEN) as usize).ok_or(OutOfMemory)?;
        self.insert(Region { start, end, rights }, pages)?;
        Ok(start)
    }

    /// Shows the program the `len` bytes of memory at `address`, which all may write, and returns where it sees them. A program
    /// has one such region at most.
    ///
    /// # Safety
    /// The pages are mapped in the kernel as ordinary memory, and hold no Rust objects. They are the program's until
    /// [`Self::remove_shared`], and no CPU knows the mapping any more.
    pub unsafe fn add_shared(&mut self, address: u64, len: u64) -> Result<u64, OutOfMemory> {
        let start = self.map.find_place(len, USER_START, USER_SEGMENTS_END);
        let start = start.filter(|_| self.shared.is_none() && self.map.has_room());
        let start = start.ok_or(OutOfMemory)?;
        let rights = Rights::Write;
        let end = start + len;
        let number = self.map.insert(Region { start, end, rights });
        let number = number.expect("there is room at a place that is free");
        self.shared = Some(Shared {
            number,
            address,
            len,
        });
        for offset in (0..len).step_by(PAGE_LEN as usize) {
            // SAFETY: the caller's promise.
            let mapped = unsafe { self.tables.map(start + offset, address + offset, rights) };
            if let Err(error) = mapped {
                self.remove_shared();
                return Err(error);
            }
        }
        Ok(start)
    }

    /// Takes the region of [`Self::add_shared`] away, if there is one. A CPU that has this user space active may use it until it
    /// activates one again.
    pub fn remove_shared(&mut self) {
        let Some(Shared { number, .. }) = self.shared.take() else {
            return;
        };
        if let Some(Region { start, end, .. }) = self.map.get(number) {
            self.map.remove(start, end);
            for address in (start..end).step_by(PAGE_LEN as usize) {
                self.tables.unmap(address);
            }
        }
    }

    /// Takes away the memory that is exactly `start..end`, and returns its frames, which a CPU that has this user space active
    /// may still use until it activates one again.
    pub fn remove(&mut self, start: u64, end: u64) -> Option<Pages> {
        let number = self.map.find(start, end)?;
        if self.shared.is_some_and(|shared| shared.number == number) {
            return None;
        }
        self.map.remove(start, end)?;
        for address in (start..end).step_by(PAGE_LEN as usize) {
            self.tables.unmap(address);
        }
        self.frames[number].take()
    }

    /// Makes this the CPU's user space, with nothing remembered of memory that was taken away.
    ///
    /// # Safety
    /// It is not dropped before the CPU has another one.
    pub unsafe fn activate(&self) {
        // SAFETY: the caller's promise.
        unsafe { self.tables.activate() };
    }

    /// Says from which file the program was loaded.
    pub fn set_file(&mut self, file: &'static [u8]) {
        self.file = Some(file);
    }

    /// Returns the file from which the program was loaded, where the kernel has it.
    pub fn file(&self) -> Option<&'static [u8]> {
        self.file
    }

    /// Returns the word at `address`, if the program may read it.
    pub fn word(&self, address: u64) -> Option<u64> {
        let mut word = [0; 8];
        self.read(address, &mut word).ok()?;
        Some(u64::from_le_bytes(word))
    }

    /// Tells whether the program may execute the byte at `address`.
    pub fn is_code(&self, address: u64) -> bool {
        self.map.is_code(address)
    }

    /// Checks that the program may access all `len` bytes at `address`.
    pub fn check(&self, address: u64, len: usize, access: Access) -> Result<(), Errno> {
        self.map.parts(address, len as u64, access).map(drop)
    }

    /// Copies the bytes at `address` to `into`.
    pub fn read(&self, address: u64, into: &mut [u8]) -> Result<(), Errno> {
        let mut to = into.as_mut_ptr();
        for part in self.map.parts(address, into.len() as u64, Access::Read)? {
            // SAFETY: the parts have together the length of `into`, and frames hold no Rust objects.
            unsafe {
                copy::copy(to, self.pointer(&part), part.len);
                to = to.add(part.len);
            }
        }
        Ok(())
    }

    /// Copies `from` to the bytes at `address`.
    pub fn write(&mut self, address: u64, from: &[u8]) -> Result<(), Errno> {
        let mut source = from.as_ptr();
        for part in self.map.parts(address, from.len() as u64, Access::Write)? {
            // SAFETY: as in `read`, with `from`.
            unsafe {
                copy::copy(self.pointer(&part), source, part.len);
                source = source.add(part.len);
            }
        }
        Ok(())
    }

    /// Copies the `len` bytes at `address` to `offset` of a call's buffer.
    ///
    /// # Panics
    /// If the buffer does not have so many bytes there.
    pub fn read_to_buffer(
        &self,
        address: u64,
        len: usize,
        buffer: &Buffer<'_>,
        offset: usize,
    ) -> Result<(), Errno> {
        let mut to = buffer_part(buffer, offset, len);
        for part in self.map.parts(address, len as u64, Access::Read)? {
            // SAFETY: the parts are together as long as the part of the buffer, which is mapped and holds no Rust objects.
            unsafe {
                copy::copy(to, self.pointer(&part), part.len);
                to = to.add(part.len);
            }
        }
        Ok(())
    }

    /// Copies the `len` bytes at `offset` of a call's buffer to `address`.
    ///
    /// # Panics
    /// If the buffer does not have so many bytes there.
    pub fn write_from_buffer(
        &mut self,
        address: u64,
        len: usize,
        buffer: &Buffer<'_>,
        offset: usize,
    ) -> Result<(), Errno> {
        let mut from = buffer_part(buffer, offset, len);
        for part in self.map.parts(address, len as u64, Access::Write)? {
            // SAFETY: as in `read_to_buffer`.
            unsafe {
                copy::copy(self.pointer(&part), from, part.len);
                from = from.add(part.len);
            }
        }
        Ok(())
    }

    /// Hands the string at `address` without its NUL to `take`, piece by piece, each with the number of bytes before it, and
    /// returns its length. With its NUL it has at most `limit` bytes.
    pub fn read_string(
        &self,
        address: u64,
        limit: usize,
        mut take: impl FnMut(usize, &[u8]),
    ) -> Result<usize, Errno> {
        let mut piece = [0; STRING_PIECE];
        let mut len = 0;
        while len < limit {
            let start = address.checked_add(len as u64).ok_or(Errno::Fault)?;
            let wanted = STRING_PIECE.min(limit - len) as u64;
            let piece_len = self.map.accessible(start, wanted, Access::Read) as usize;
            if piece_len == 0 {
                return Err(Errno::Fault);
            }
            let piece = &mut piece[..piece_len];
            self.read(start, piece)?;
            let end = piece.iter().position(|&byte| byte == 0);
            let text = &piece[..end.unwrap_or(piece_len)];
            take(len, text);
            len += text.len();
            if end.is_some() {
                return Ok(len);
            }
        }
        Err(Errno::NameTooLong)
    }

    /// Puts the region in, with these frames behind it, or leaves everything as it was.
    fn insert(&mut self, region: Region, pages: Pages) -> Result<usize, OutOfMemory> {
        let Region { start, end, rights } = region;
        let number = self.map.insert(region).expect("regions do not overlap");
        let first = pages.address();
        self.frames[number] = Some(pages);
        for offset in (0..end - start).step_by(PAGE_LEN as usize) {
            // SAFETY: the frames belong to this object; they are dropped after the tables, or handed out by `remove`.
            let mapped = unsafe { self.tables.map(start + offset, first + offset, rights) };
            if let Err(error) = mapped {
                // No CPU has used them: no thread knows of this memory yet.
                drop(self.remove(start, end));
                return Err(error);
            }
        }
        Ok(number)
    }

    /// Returns where the kernel reaches a part.
    fn pointer(&self, part: &Part) -> *mut u8 {
        let (pointer, len) = match (&self.frames[part.region], self.shared) {
            (Some(pages), _) => (pages.pointer(), pages.len()),
            (None, Some(shared)) if shared.number == part.region => {
                let pointer = core::ptr::with_exposed_provenance_mut(shared.address as usize);
                (pointer, shared.len as usize)
            }
            _ => unreachable!("a region has frames or is the shared one"),
        };
        assert!(part.offset + part.len <= len);
        pointer.wrapping_add(part.offset)
    }
}

/// Returns where the `len` bytes at `offset` of a buffer are.
fn buffer_part(buffer: &Buffer<'_>, offset: usize, len: usize) -> *mut u8 {
    let has_them = offset
        .checked_add(len)
        .is_some_and(|end| end <= buffer.len());
    assert!(has_them, "{len} bytes at {offset} are not in the buffer");
    buffer.as_ptr().wrapping_add(offset)
}
