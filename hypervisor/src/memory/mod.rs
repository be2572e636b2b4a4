//! Memory: the hypervisor's own frames, its view of physical memory, its heap.
#![expect(unsafe_code, reason = "turns physical addresses into memory")]

mod frames;
mod heap;
mod host_paging;
mod physical;
mod upid_page;

pub use frames::{
    FrameUse, OutOfFrames, Table, allocate, allocate_table, frame_use, init_frames, keep, leak,
};
pub use heap::BumpHeap;
pub use host_paging::{cr3, map_all};
pub use physical::{PhysicalMemory, RangeLimit};
pub use upid_page::UpidPage;
