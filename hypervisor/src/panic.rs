//! The end of the machine: because the hypervisor failed, or because the configuration says so.
#![expect(unsafe_code, reason = "stops CPUs and writes to ports")]

use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ::backtrace::Start;
use log::error;

use crate::arch::control_regs::read_cr2;
use crate::arch::interrupts::ExceptionFrame;
use crate::arch::port::{self, Width};
use crate::arch::{tsc, wait};
use crate::backtrace;
use crate::cpu::{self, CpuState, MAX_CPUS};
use crate::log_ring;

/// Port and text that end the emulator. (Bochs, "unmapped" device)
const EMULATOR_EXIT_PORT: u16 = 0x8900;
const EMULATOR_EXIT_TEXT: &[u8] = b"Shutdown";

/// No CPU reports: value of [`REPORTER`].
const NOBODY: u64 = u64::MAX;
/// APIC ID of the CPU that reports why the hypervisor failed.
static REPORTER: AtomicU64 = AtomicU64::new(NOBODY);
/// Whether the report failed too.
static IS_REPORT_BROKEN: AtomicBool = AtomicBool::new(false);

/// Stops every CPU and prints why: the hypervisor itself failed.
pub fn stop_machine(info: &PanicInfo) -> ! {
    begin_report();
    error!("hypervisor panic: {info}");
    backtrace::backtrace();
    error!("halted");
    wait::halt_forever()
}

/// Handles an exception of the hypervisor's own code. Called by the IDT's stubs.
pub extern "C" fn on_exception(frame: &ExceptionFrame) -> ! {
    begin_report();
    error!("hypervisor exception: {frame:x?}, CR2 {:#x}", read_cr2());
    backtrace::backtrace_from(Start {
        rip: frame.rip,
        rsp: frame.rsp,
        rbp: frame.rbp,
    });
    error!("halted");
    wait::halt_forever()
}

/// Stops all other CPUs and lets this one report. The first CPU that fails does so, once: another halts, and a report that
/// fails itself is given up.
fn begin_report() {
    let id = u64::from(crate::arch::apic::id());
    match REPORTER.compare_exchange(NOBODY, id, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => stop_others(),
        Err(first) => {
            if first == id && !IS_REPORT_BROKEN.swap(true, Ordering::Relaxed) {
                // SAFETY: the first report, which may hold the log, does not go on.
                unsafe { log_ring::force_unlock() };
                error!("the report of the failure failed; halted");
            }
            wait::halt_forever()
        }
    }
}

fn stop_others() {
    for cpu in (0..MAX_CPUS).map(cpu::shared) {
        if !matches!(cpu.state(), CpuState::Offline | CpuState::Failed)
            && cpu.apic_id() != crate::arch::apic::id()
        {
            cpu.mailbox.post_machine_stop();
            cpu::ring(cpu);
        }
    }
    // A CPU that holds the log gets time to leave it.
    tsc::delay(1_000_000);
    // SAFETY: all others halt, and this CPU does not return.
    unsafe { log_ring::force_unlock() };
}

/// Does for real what a cell that may end the machine wrote to a port.
pub fn repeat_port_write(port: u16, width: Width, value: u32) {
    // SAFETY: the write ends the machine, which the configuration allows this cell.
    unsafe { port::write(port, width, value) };
}

/// Ends the emulator; on other machines the port is nobody's.
pub fn end_emulator() {
    for &byte in EMULATOR_EXIT_TEXT {
        // SAFETY: the port ends the emulator, as the configuration asked; elsewhere it has no device.
        unsafe { port::write(EMULATOR_EXIT_PORT, Width::Byte, u32::from(byte)) };
    }
}
