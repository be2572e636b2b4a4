// SPDX-License-Identifier: MIT OR Apache-2.0
//! The NimbOS co-kernel: a small kernel that runs one program in a cell of its own and has a Linux process serve the
//! system calls that need an operating system.
//!
//! The hypervisor loads this image at its fixed guest-physical address and enters [`arch::entry`], which calls
//! [`kernel_main`]. That sets the machine up and runs the program that the command line names:
//!
//! ```text
//! kernel_main -> process::Process::load     program from the initial ramdisk, own address space
//!             -> kernel::Kernel::run        loop: user mode -> trap -> one handler
//!                  -> syscall::dispatch     local calls
//!                       -> channel::Channel calls that the channel's server serves
//! ```
//!
//! There is one CPU and no concurrency: interrupts are enabled in user mode and in the idle loop only, and both give
//! an interrupt back to the caller as a value. What is pure logic lies in the library beside this binary.
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
mod memory;
mod panic;
mod process;
mod syscall;
mod user_space;

use boot::Boot;
use kernel::Kernel;

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
    let mut kernel = Kernel::start(&boot);
    let status = kernel.run_init(&boot);
    kernel.tell_exit(status);
    say!("init exited with status {status}");
    arch::cpu::halt_forever()
}
