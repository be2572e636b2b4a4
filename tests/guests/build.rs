// SPDX-License-Identifier: MIT OR Apache-2.0
//! Links the cell as a freestanding image at its fixed guest-physical address.

fn main() {
    freestanding_link::with_script("cell.ld");
}
