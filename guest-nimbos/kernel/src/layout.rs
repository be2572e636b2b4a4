// SPDX-License-Identifier: MIT OR Apache-2.0
//! Addresses of user space.

/// Size of a page.
pub const PAGE_LEN: u64 = 4096;
/// First address that a program may use.
pub const USER_START: u64 = 0x40_0000;
/// First address behind user space, and top of the program's stack.
pub const USER_END: u64 = 0x1000_0000;
/// Size of a program's stack.
pub const USER_STACK_LEN: u64 = 256 << 10;
/// Lowest address of the stack.
pub const USER_STACK_BOTTOM: u64 = USER_END - USER_STACK_LEN;
/// Segments end here at the latest: a page without memory stays between them and the stack.
pub const USER_SEGMENTS_END: u64 = USER_STACK_BOTTOM - PAGE_LEN;

/// Rounds up to a multiple of the page size, or returns `None` where that is beyond the address range.
pub const fn page_align_up(address: u64) -> Option<u64> {
    address.checked_next_multiple_of(PAGE_LEN)
}

/// Rounds down to a multiple of the page size.
pub const fn page_align_down(address: u64) -> u64 {
    address - address % PAGE_LEN
}
