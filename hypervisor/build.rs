// SPDX-License-Identifier: MIT OR Apache-2.0
//! Links the hypervisor at the start of its memory.

fn main() {
    freestanding_link::with_script("linker.ld");
    println!("cargo:rerun-if-changed=src/entry.S");
}
