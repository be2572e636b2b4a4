//! Regions of a channel's shared memory. The ring itself is `forward-ring`'s.

use core::sync::atomic::AtomicU32;

use zerocopy::{Immutable, IntoBytes};

/// Number of UPID slots of each side.
pub const UPID_SLOTS: usize = 32;
/// Size of a UPID slot in bytes: the processor uses 16, the rest keeps the slots apart.
pub const UPID_SLOT_LEN: usize = 64;
/// Offset of the client's state word.
pub const CLIENT_STATE_OFFSET: usize = 0x40;
/// Offset of the server's state word.
pub const SERVER_STATE_OFFSET: usize = 0x80;
/// Offset of the client's UPID slots, in a page of their own: with a filtered doorbell the server sees a page of its
/// own there.
pub const CLIENT_UPIDS_OFFSET: usize = 0x1000;
/// Offset of the server's UPID slots, in a page of their own.
pub const SERVER_UPIDS_OFFSET: usize = 0x2000;
/// Offset of the forwarding ring and its buffers, in the channel and in each of its parts that has a ring.
pub const RING_OFFSET: usize = 0x3000;

/// State word: nobody serves this side.
pub const STATE_ABSENT: u32 = 0;
/// State word: this side is ready.
pub const STATE_READY: u32 = 1;

/// Value of [`ChannelHeader::magic`].
pub const CHANNEL_MAGIC: [u8; 8] = *b"ISTHCHAN";

/// What the hypervisor writes at offset 0 before it starts a cell of the channel. Informative: a cell takes base
/// and size from [`crate::BootInfo`], never from shared memory.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoBytes, Immutable)]
pub struct ChannelHeader {
    /// [`CHANNEL_MAGIC`].
    pub magic: [u8; 8],
    /// [`crate::ABI_REVISION`].
    pub revision: u32,
    /// Zero.
    pub reserved: u32,
    /// Size of the channel in bytes.
    pub size: u64,
}

/// A state word at [`CLIENT_STATE_OFFSET`] or [`SERVER_STATE_OFFSET`]: written by its side, read by the other.
pub type StateWord = AtomicU32;

const _: () = assert!(size_of::<ChannelHeader>() == 24);
const _: () = assert!(SERVER_UPIDS_OFFSET == CLIENT_UPIDS_OFFSET + 0x1000);
const _: () = assert!(RING_OFFSET == SERVER_UPIDS_OFFSET + 0x1000);
const _: () = assert!(UPID_SLOTS * UPID_SLOT_LEN <= 0x1000);
