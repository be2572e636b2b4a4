// SPDX-License-Identifier: MIT OR Apache-2.0
//! The test cell: one image for all small cells of the system tests. Its command line says what it does.
//!
//! Everything it finds is a line `test: key=value ...` on its console; the last one is `test: result=PASS` or
//! `test: result=FAIL reason=...`, after which the CPU halts for good. `tests/system` reads these lines.
//!
//! All memory is mapped identically and for user mode too: the cell has nothing to protect, and user interrupts are
//! delivered in user mode only.
#![no_std]
#![no_main]

use freestanding as _;

#[macro_use]
mod console;

mod arch;
mod boot;
mod channel;
mod ring;
mod tests;

use boot::Boot;

/// Runs the test that the command line names; [`arch::entry`] calls it once, on the first CPU.
fn cell_main(boot: Boot) -> ! {
    console::init(boot.console_port());
    report!("cell={} command={}", boot.name(), boot.command_line());
    arch::start(&boot);
    match tests::run(&boot) {
        Ok(()) => report!("result=PASS"),
        Err(reason) => report!("result=FAIL reason={reason}"),
    }
    arch::cpu::halt_forever()
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    report!("result=FAIL reason=panic: {info}");
    arch::cpu::halt_forever()
}
