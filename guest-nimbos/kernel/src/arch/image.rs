// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the kernel's image lies; the symbols come from `kernel.ld`.

unsafe extern "C" {
    static image_text_start: u8;
    static image_rodata_start: u8;
    static image_data_start: u8;
    static image_end: u8;
}

/// Returns the first address, which is that of the code.
pub fn start() -> u64 {
    (&raw const image_text_start).addr() as u64
}

/// Returns the code.
pub fn code() -> &'static [u8] {
    let start = &raw const image_text_start;
    let len = (constants() - self::start()) as usize;
    // SAFETY: the linker put the symbols around the code, which is mapped and never written.
    unsafe { core::slice::from_raw_parts(start, len) }
}

/// Returns the address of the constants.
pub fn constants() -> u64 {
    (&raw const image_rodata_start).addr() as u64
}

/// Returns the address of the variables.
pub fn data() -> u64 {
    (&raw const image_data_start).addr() as u64
}

/// Returns the address behind the image.
pub fn end() -> u64 {
    (&raw const image_end).addr() as u64
}
