// SPDX-License-Identifier: MIT OR Apache-2.0
//! Links the programs as freestanding static executables at the address where NimbOS has user space.

fn main() {
    freestanding_link::with_script("program.ld");
}
