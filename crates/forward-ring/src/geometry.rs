// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where everything lies in a channel's ring region.
//!
//! | offset | size | what | written by |
//! | --- | --- | --- | --- |
//! | 0000H | 4 | request tail | client |
//! | 0040H | 4 | request head | server |
//! | 0080H | 4 | completion tail | server |
//! | 00C0H | 4 | completion head | client |
//! | 0100H | 8 | client's line of the session: its generation, the server's that it has greeted | client |
//! | 0140H | 8 | server's line: its generation, the client's that it has accepted | server |
//! | 0400H | 512 | 32 completions | server |
//! | 0800H | 2048 | 32 requests | client |
//! | 1000H | | 32 buffers of the same size | whoever holds the token |
//!
//! Offsets count from [`Geometry::ring_offset`]. A channel of 8 MiB or more has several rings, one in each
//! [`RING_STRIDE`]; the first is the client's kernel's own, and only in that one the session's lines are used.
//!
//! All this follows from the channel's size alone, which a side has from its boot information: nothing about the layout is
//! ever read from shared memory.

use core::fmt;

use hv_abi::channel::RING_OFFSET;

use crate::SLOTS;

pub(crate) const REQUEST_TAIL: usize = 0x00;
pub(crate) const REQUEST_HEAD: usize = 0x40;
pub(crate) const COMPLETION_TAIL: usize = 0x80;
pub(crate) const COMPLETION_HEAD: usize = 0xc0;
pub(crate) const CLIENT_LINE: usize = 0x100;
pub(crate) const SERVER_LINE: usize = 0x140;
pub(crate) const COMPLETIONS: usize = 0x400;
pub(crate) const REQUESTS: usize = 0x800;
pub(crate) const BUFFERS: usize = 0x1000;

pub(crate) const REQUEST_LEN: usize = 64;
pub(crate) const COMPLETION_LEN: usize = 16;

const PAGE_LEN: usize = 0x1000;

/// Distance of the rings in a channel that has several.
pub const RING_STRIDE: usize = 4 << 20;
/// Most rings of a channel: user vector n of the server announces ring n.
pub const MAX_RINGS: usize = 8;

const _: () = assert!(SERVER_LINE + 0x40 <= COMPLETIONS);
const _: () = assert!(COMPLETIONS + SLOTS * COMPLETION_LEN <= REQUESTS);
const _: () = assert!(REQUESTS + SLOTS * REQUEST_LEN <= BUFFERS);

/// The layout of one channel's rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    ring_count: usize,
    region_len: usize,
    buffer_len: usize,
}

/// The channel is too small (or too large for this machine) to hold a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GeometryError {
    /// The channel's size in bytes.
    pub channel_size: u64,
}

impl Geometry {
    /// Size of the smallest channel that holds a ring.
    pub const MIN_CHANNEL_SIZE: u64 = (RING_OFFSET + BUFFERS + SLOTS * PAGE_LEN) as u64;

    /// Returns the layout for a channel of `channel_size` bytes.
    pub fn for_channel(channel_size: u64) -> Result<Self, GeometryError> {
        let error = GeometryError { channel_size };
        if !(Self::MIN_CHANNEL_SIZE..=isize::MAX as u64).contains(&channel_size) {
            return Err(error);
        }
        let channel_size = usize::try_from(channel_size).map_err(|_| error)?;
        let ring_count = (channel_size / RING_STRIDE).clamp(1, MAX_RINGS);
        let region_len = match ring_count {
            1 => channel_size,
            _ => RING_STRIDE,
        } - RING_OFFSET;
        let buffer_len = (region_len - BUFFERS) / SLOTS / PAGE_LEN * PAGE_LEN;
        Ok(Self {
            ring_count,
            region_len,
            buffer_len,
        })
    }

    /// Returns the number of rings, at most [`MAX_RINGS`].
    pub fn ring_count(&self) -> usize {
        self.ring_count
    }

    /// Returns the offset of ring `number`'s region in the channel; that of the first ring is [`RING_OFFSET`].
    pub fn ring_offset(&self, number: usize) -> Option<usize> {
        (number < self.ring_count).then_some(number * RING_STRIDE + RING_OFFSET)
    }

    /// Returns the length of a ring's region.
    pub fn region_len(&self) -> usize {
        self.region_len
    }

    /// Returns the length of each buffer, a multiple of 4 KiB.
    pub fn buffer_len(&self) -> usize {
        self.buffer_len
    }

    /// Returns the offset of buffer `number` in the region.
    pub fn buffer_offset(&self, number: u32) -> usize {
        BUFFERS + (number as usize % SLOTS) * self.buffer_len
    }
}

impl fmt::Display for GeometryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a channel of {:#x} bytes cannot hold a ring",
            self.channel_size
        )
    }
}

impl core::error::Error for GeometryError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_of_4_mib_has_buffers_of_124_kib() {
        let geometry = Geometry::for_channel(4 << 20).unwrap();
        assert_eq!(geometry.region_len(), (4 << 20) - RING_OFFSET);
        assert_eq!(geometry.buffer_len(), 124 << 10);
        assert_eq!(geometry.buffer_offset(0), 0x1000);
        assert_eq!(
            geometry.buffer_offset(31) + geometry.buffer_len(),
            0x1000 + 32 * 0x1f000
        );
    }

    #[test]
    fn a_large_channel_has_rings_side_by_side() {
        let geometry = Geometry::for_channel(16 << 20).unwrap();
        assert_eq!(geometry.ring_count(), 4);
        assert_eq!(geometry.buffer_len(), 124 << 10);
        assert_eq!(geometry.ring_offset(3), Some((12 << 20) + RING_OFFSET));
        assert_eq!(geometry.ring_offset(4), None);
        let huge = Geometry::for_channel(1 << 30).unwrap();
        assert_eq!(huge.ring_count(), MAX_RINGS);
        assert_eq!(huge.region_len(), geometry.region_len());
        assert_eq!(Geometry::for_channel(7 << 20).unwrap().ring_count(), 1);
    }

    #[test]
    fn the_smallest_channel_has_buffers_of_one_page() {
        let smallest = Geometry::MIN_CHANNEL_SIZE;
        assert_eq!(Geometry::for_channel(smallest).unwrap().buffer_len(), 4096);
        for size in [0, 0x2000, smallest - 1, u64::MAX, 1 << 63] {
            assert_eq!(
                Geometry::for_channel(size),
                Err(GeometryError { channel_size: size })
            );
        }
    }

    #[test]
    fn buffers_lie_in_the_region_whatever_the_channel_size() {
        for size in (Geometry::MIN_CHANNEL_SIZE..16 << 20).step_by(12_288) {
            let geometry = Geometry::for_channel(size).unwrap();
            assert!(geometry.buffer_offset(31) + geometry.buffer_len() <= geometry.region_len());
            let last = geometry.ring_offset(geometry.ring_count() - 1).unwrap();
            assert!(last + geometry.region_len() <= size as usize);
            assert_eq!(geometry.buffer_len() % 4096, 0);
        }
    }
}
