// SPDX-License-Identifier: MIT OR Apache-2.0
//! Prints a line on the cell's own console. Needs no channel.
#![no_std]
#![no_main]

use freestanding as _;
use nimbos_apps::{Arguments, entry, eprint, system};

entry!(main);

fn main(arguments: Arguments) -> i32 {
    let name = arguments.get(0).unwrap_or("?");
    eprint!(
        "{name}: hello from process {}, {} ms after the start\n",
        system::process_id(),
        system::time_ms()
    );
    for number in 1..arguments.count() {
        eprint!(
            "{name}: argument {number} is '{}'\n",
            arguments.get(number).unwrap_or("?")
        );
    }
    0
}
