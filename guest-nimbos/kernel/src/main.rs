// SPDX-License-Identifier: MIT OR Apache-2.0
//! The NimbOS co-kernel: a small kernel that runs one program in a cell of its own and has a Linux process serve the
//! system calls that need an operating system.
//!
//! The hypervisor loads this image at its fixed guest-physical address and enters [`arch::entry`], which calls
//! [`kernel_main`]. That sets the machine up and runs the program that the command line names:
//!
//! ```text
//! kernel_main -> kernel::start             init from the initial ramdisk: process, thread, own address space
//!             -> kernel::run               loop of a CPU: next thread -> user mode -> trap -> one handler
//!                  -> syscall::dispatch    what the kernel does itself, at once or when a thread has waited
//!                       -> kernel::forward calls that the channel's server serves
//! ```
//!
//! There is no kernel stack for a thread: a thread that waits is a state in a table, and whatever it waits for finishes its
//! call. Interrupts are enabled in user mode and in the idle loop only, and both give an interrupt back to the caller as a
//! value. What is pure logic lies in the library beside this binary.
#![no_std]
#![no_main]

use freestanding as _;

#[macro_use]
mod console;

mod arch;
mod backtrace;
mod boot;
mod channel;
mod fault_report;
mod interrupts;
mod kernel;
mod load;
mod memory;
mod panic;
mod process;
mod receiver;
mod syscall;
mod thread;
mod user_space;

use boot::Boot;

/// Runs the kernel; [`arch::entry`] calls it once, on the boot CPU. A frame of its own: the tests of backtraces look for it.
#[inline(never)]
fn kernel_main(boot: Boot) -> ! {
    console::init(boot.console_port());
    say!(
        "NimbOS {} in cell '{}'",
        env!("CARGO_PKG_VERSION"),
        boot.name()
    );
    backtrace::init(&boot);
    kernel::run(kernel::start(&boot))
}
