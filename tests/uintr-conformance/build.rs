// SPDX-License-Identifier: MIT OR Apache-2.0
//! Links the image at one address for both places: the bare machine and a cell.

fn main() {
    freestanding_link::with_script("image.ld");
    println!("cargo:rerun-if-changed=src/machine/entry.S");
}
