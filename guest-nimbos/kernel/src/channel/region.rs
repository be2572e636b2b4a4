// SPDX-License-Identifier: MIT OR Apache-2.0
//! The channel's shared memory.
#![expect(unsafe_code, reason = "accesses memory that another cell writes")]

use core::ptr::NonNull;
use core::sync::atomic::Ordering;

use forward_ring::{Client, Geometry, Mapping};
use hv_abi::ChannelInfo;
use hv_abi::channel::{
    CLIENT_STATE_OFFSET, CLIENT_UPIDS_OFFSET, RING_OFFSET, SERVER_STATE_OFFSET,
    SERVER_UPIDS_OFFSET, STATE_ABSENT, STATE_READY, StateWord, UPID_SLOT_LEN, UPID_SLOTS,
};
use uintr::Upid;

use crate::arch::copy;

/// Our state word, for a kernel that fails.
static OWN_STATE: spin::Once<&StateWord> = spin::Once::new();

/// Tells the server that nobody calls any more, whatever state this kernel is in.
pub fn abandon() {
    if let Some(state) = OWN_STATE.get() {
        state.store(STATE_ABSENT, Ordering::Release);
    }
}

/// Where the channel is mapped. There is one for a channel: it hands the ring out once.
#[derive(Debug)]
pub struct Region {
    base: NonNull<u8>,
    own_state: &'static StateWord,
    server_state: &'static StateWord,
}

// SAFETY: a region is addresses that every CPU may access, the words by atomics; nothing in it belongs to a CPU.
unsafe impl Send for Region {}

impl Region {
    /// Takes over the memory of a channel, which the kernel has mapped as ordinary memory.
    pub fn new(info: &ChannelInfo) -> Self {
        let base = core::ptr::with_exposed_provenance_mut::<u8>(info.base as usize);
        let base = NonNull::new(base).expect("a channel is not at address 0");
        let word = |offset| {
            // SAFETY: the hypervisor's boot information names memory of the channel, aligned to 2 MiB, that stays as
            // long as the cell; the kernel maps it and accesses the words by atomics only.
            unsafe { StateWord::from_ptr(base.add(offset).as_ptr().cast()) }
        };
        let own_state = *OWN_STATE.call_once(|| word(CLIENT_STATE_OFFSET));
        Self {
            base,
            own_state,
            server_state: word(SERVER_STATE_OFFSET),
        }
    }

    /// Returns the ring's memory; called once.
    pub fn ring(&self, geometry: Geometry) -> Mapping {
        // SAFETY: the geometry was made from the channel's size, so the region ends with the channel; base and
        // RING_OFFSET are aligned to 64 bytes; no other part of the kernel touches these bytes.
        unsafe { Mapping::new(self.base.add(RING_OFFSET), geometry) }
    }

    /// Returns the memory of the ring `number`, which is not the first: address and length.
    pub fn ring_memory(&self, number: usize, geometry: Geometry) -> Option<(u64, u64)> {
        let offset = geometry.ring_offset(number).filter(|_| number != 0)?;
        let address = self.base.as_ptr().expose_provenance() + offset;
        Some((address as u64, geometry.region_len() as u64))
    }

    /// Empties the ring `number`, which is not the first and nobody uses, for a new user: all is zero but for where its requests
    /// begin.
    pub fn clear_ring(&self, number: usize, geometry: Geometry) {
        let Some(offset) = geometry.ring_offset(number).filter(|_| number != 0) else {
            return;
        };
        // SAFETY: the geometry was made from the channel's size, so the region lies in the channel; base, offset and length are
        // multiples of a page. The kernel has no other use for it, and nothing there is a Rust object.
        unsafe {
            let ring = self.base.add(offset);
            copy::clear(ring.as_ptr(), geometry.region_len() / size_of::<u64>());
            Client::new(Mapping::new(ring, geometry)).reset();
        }
    }

    /// Returns one of our UPID slots.
    pub fn own_upid(&self, slot: usize) -> &'static Upid {
        self.upid(CLIENT_UPIDS_OFFSET, slot)
    }

    /// Returns one of the server's UPID slots.
    pub fn server_upid(&self, slot: usize) -> &'static Upid {
        self.upid(SERVER_UPIDS_OFFSET, slot)
    }

    /// Tells the server whether we are there.
    pub fn set_ready(&self, ready: bool) {
        let state = if ready { STATE_READY } else { STATE_ABSENT };
        self.own_state.store(state, Ordering::Release);
    }

    /// Tells whether the server is there.
    pub fn is_server_ready(&self) -> bool {
        self.server_state.load(Ordering::Acquire) == STATE_READY
    }

    fn upid(&self, slots: usize, slot: usize) -> &'static Upid {
        assert!(slot < UPID_SLOTS);
        // SAFETY: the slot lies in the channel, aligned to 64 bytes, and is accessed as a `Upid` only.
        unsafe { Upid::from_ptr(self.base.add(slots + slot * UPID_SLOT_LEN).as_ptr().cast()) }
    }
}
