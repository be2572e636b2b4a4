// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory that this cell shares with another one.

use core::sync::atomic::AtomicU64;

use hv_abi::channel::RING_OFFSET;

use super::place::Place;

/// Words of a page.
const WORDS: usize = 512;
/// What the page tables map of the machine's memory.
const MAPPED: u64 = 0x8000_0000;

/// Returns the first page of the ring of the cell's first channel, if there is a channel within the first 2 GiB.
pub fn words(place: Place) -> Option<&'static [AtomicU64; WORDS]> {
    let Place::Cell(info) = place else {
        return None;
    };
    let channel = info.channels().first()?;
    let end = channel.base.checked_add(channel.size)?;
    let needed = RING_OFFSET + size_of::<[AtomicU64; WORDS]>();
    if end > MAPPED || channel.size < needed as u64 {
        return None;
    }
    let address = channel.base as usize + RING_OFFSET;
    let pointer = core::ptr::with_exposed_provenance::<[AtomicU64; WORDS]>(address);
    // SAFETY: the hypervisor mapped the channel at this address and it is mapped identically here; a page of it is aligned
    // and holds words that both cells access as atomics only.
    Some(unsafe { &*pointer })
}
