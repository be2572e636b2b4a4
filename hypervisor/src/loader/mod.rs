//! What goes into a cell's memory before it starts, as pure rules: images taken apart, memory maps and moves planned.
//!
//! Nothing here touches physical memory. `boot` hands in GRUB's modules as slices, copies what comes out, and starts
//! the cell. Files are hostile input: every rule ends in a value or in an error that names what was wrong.
#![forbid(unsafe_code)]

pub mod bzimage;
pub mod e820;
pub mod elf_image;
pub mod placement;
mod range;

pub use range::Range;
