//! The hypervisor's own page tables: all of physical memory one to one, in 1 GiB pages. Memory types come from the
//! MTRRs, as the firmware set them.

use core::sync::atomic::{AtomicU64, Ordering};

use super::frames::{OutOfFrames, allocate_table};
use crate::arch::control_regs::write_cr3;

const PRESENT_WRITABLE: u64 = 3;
const LARGE: u64 = 1 << 7;
const GIB: u64 = 1 << 30;

static CR3: AtomicU64 = AtomicU64::new(0);

/// Maps `0..end` one to one and switches this CPU to the map.
///
/// # Safety
/// The processor has 1 GiB pages, and `end` covers everything the hypervisor touches.
pub unsafe fn map_all(end: u64) -> Result<(), OutOfFrames> {
    let root = allocate_table()?;
    let gibs = end.div_ceil(GIB).max(4);
    for (slot, first) in (0..gibs).step_by(512).enumerate() {
        let directory = allocate_table()?;
        for (entry, gib) in directory.0.iter_mut().zip(first..gibs) {
            *entry = (gib * GIB) | LARGE | PRESENT_WRITABLE;
        }
        root.0[slot] = directory.phys().0 | PRESENT_WRITABLE;
    }
    CR3.store(root.phys().0, Ordering::Release);
    // SAFETY: the new map contains the old one: both are one to one and start at 0.
    unsafe { write_cr3(root.phys().0) };
    Ok(())
}

/// Returns the root of the map: CR3 of every CPU in root mode.
pub fn cr3() -> u64 {
    CR3.load(Ordering::Acquire)
}
