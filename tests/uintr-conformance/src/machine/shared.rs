// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory that this cell shares with another one.

use core::sync::atomic::AtomicU64;

use hv_abi::ChannelRole;
use hv_abi::channel::{CLIENT_UPIDS_OFFSET, RING_OFFSET, SERVER_UPIDS_OFFSET};

use super::place::Place;

/// Words of a page.
pub const WORDS: usize = 512;
/// What the page tables map of the machine's memory.
const MAPPED: u64 = 0x8000_0000;

/// A page of words that both cells access as atomics only.
pub type SharedPage = &'static [AtomicU64; WORDS];

/// Returns the first page of the ring of the cell's first channel, if there is a channel within the first 2 GiB.
pub fn words(place: Place) -> Option<SharedPage> {
    page(place, |_| RING_OFFSET)
}

/// Returns this cell's descriptors in its first channel.
pub fn own_upids(place: Place) -> Option<SharedPage> {
    page(place, |role| match role {
        ChannelRole::Client => CLIENT_UPIDS_OFFSET,
        ChannelRole::Server => SERVER_UPIDS_OFFSET,
    })
}

/// Returns the other cell's descriptors in the first channel, or with filtered doorbells what stands for them here.
pub fn other_upids(place: Place) -> Option<SharedPage> {
    page(place, |role| match role {
        ChannelRole::Client => SERVER_UPIDS_OFFSET,
        ChannelRole::Server => CLIENT_UPIDS_OFFSET,
    })
}

/// Returns the linear address of a page of the channel.
pub fn linear(page: SharedPage) -> u64 {
    page.as_ptr().addr() as u64
}

fn page(place: Place, offset: impl Fn(ChannelRole) -> usize) -> Option<SharedPage> {
    let Place::Cell(info) = place else {
        return None;
    };
    let channel = info.channels().first()?;
    let offset = offset(channel.role()?);
    let end = channel.base.checked_add(channel.size)?;
    let needed = offset + size_of::<[AtomicU64; WORDS]>();
    if end > MAPPED || channel.size < needed as u64 {
        return None;
    }
    let address = channel.base as usize + offset;
    let pointer = core::ptr::with_exposed_provenance::<[AtomicU64; WORDS]>(address);
    // SAFETY: the hypervisor mapped the channel at this address and it is mapped identically here; a page of it is aligned
    // and holds words that both cells access as atomics only.
    Some(unsafe { &*pointer })
}
