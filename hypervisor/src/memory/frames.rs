//! The frame pool: what is left of the hypervisor's memory region behind its image. Frames are handed out once and
//! kept: a cell's tables live as long as the machine runs.

use core::fmt;

use spin::Mutex;

use crate::address::{HostPhys, PAGE_SIZE};

/// A page of 512 entries: paging structures, bitmaps, VMCS regions.
#[repr(C, align(4096))]
pub struct Table(pub [u64; 512]);

impl Table {
    /// Returns the table's physical address: the hypervisor maps memory one to one.
    pub fn phys(&self) -> HostPhys {
        HostPhys((&raw const *self).expose_provenance() as u64)
    }
}

/// The pool is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfFrames;

impl fmt::Display for OutOfFrames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the hypervisor's memory is used up: make hypervisor.memory larger")
    }
}

struct Pool {
    start: u64,
    next: u64,
    end: u64,
}

static POOL: Mutex<Pool> = Mutex::new(Pool {
    start: 0,
    next: 0,
    end: 0,
});

/// How much of the hypervisor's region is in use.
#[derive(Clone, Copy, Debug)]
pub struct FrameUse {
    /// Bytes handed out.
    pub used: u64,
    /// Bytes of the pool.
    pub total: u64,
}

/// Gives the pool its memory.
///
/// # Safety
/// `start..end` is RAM that is mapped one to one and that nothing else uses. Once only.
pub unsafe fn init_frames(start: HostPhys, end: HostPhys) {
    let start = start.0.next_multiple_of(PAGE_SIZE);
    *POOL.lock() = Pool {
        start,
        next: start,
        end: end.0,
    };
}

/// Returns how much of the pool is in use.
pub fn frame_use() -> FrameUse {
    let pool = POOL.lock();
    FrameUse {
        used: pool.next - pool.start,
        total: pool.end - pool.start,
    }
}

/// Takes `count` zeroed, contiguous frames. Returns their address.
pub fn allocate(count: u64) -> Result<HostPhys, OutOfFrames> {
    let mut pool = POOL.lock();
    let len = count.checked_mul(PAGE_SIZE).ok_or(OutOfFrames)?;
    let next = pool
        .next
        .checked_add(len)
        .filter(|&next| next <= pool.end)
        .ok_or(OutOfFrames)?;
    let base = pool.next;
    pool.next = next;
    // SAFETY: `base..next` is pool memory that was never handed out before.
    unsafe {
        core::ptr::write_bytes(
            core::ptr::with_exposed_provenance_mut::<u8>(base as usize),
            0,
            len as usize,
        )
    };
    Ok(HostPhys(base))
}

/// Takes one zeroed frame as a table.
pub fn allocate_table() -> Result<&'static mut Table, OutOfFrames> {
    let frame = allocate(1)?;
    // SAFETY: the frame is page-aligned, zeroed, mapped, and was handed out to nobody else; `Table` is plain data.
    Ok(unsafe { &mut *core::ptr::with_exposed_provenance_mut(frame.0 as usize) })
}

/// Copies bytes into frames of their own, for good.
pub fn keep(bytes: &[u8]) -> Result<&'static [u8], OutOfFrames> {
    let frames = allocate((bytes.len() as u64).div_ceil(PAGE_SIZE))?;
    let place = core::ptr::with_exposed_provenance_mut::<u8>(frames.0 as usize);
    // SAFETY: the frames are mapped, large enough and nobody else's; nobody writes there afterwards.
    unsafe {
        core::ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len());
        Ok(core::slice::from_raw_parts(place, bytes.len()))
    }
}

/// Moves a value into frames of its own, for good.
pub fn leak<T>(value: T) -> Result<&'static mut T, OutOfFrames> {
    const { assert!(align_of::<T>() <= PAGE_SIZE as usize) };
    let frames = allocate((size_of::<T>() as u64).div_ceil(PAGE_SIZE).max(1))?;
    let place = core::ptr::with_exposed_provenance_mut::<T>(frames.0 as usize);
    // SAFETY: the frames are mapped, large enough, page-aligned and nobody else's; the value is written before the
    // reference is made.
    unsafe {
        place.write(value);
        Ok(&mut *place)
    }
}
