// SPDX-License-Identifier: MIT OR Apache-2.0
//! Links the kernel as a freestanding image at its fixed guest-physical address.

fn main() {
    freestanding_link::with_script("kernel.ld");
}
