// SPDX-License-Identifier: MIT OR Apache-2.0
//! VMX: on the bare machine with guests of the image's own [`vmm`](crate::vmm), in cells with the hypervisor's.

pub mod apic_write;
pub mod bitmaps;
pub mod cells;
pub mod counters;
pub mod ept;
pub mod interrupts;
pub mod ipi_virtualization;
pub mod state;
pub mod uinv;
pub mod virtual_interrupts;

use hv_abi::Doorbell;
use uintr_conformance::Found;

use crate::bench::Bench;
use crate::case::{Failure, Outcome};
use crate::machine::event;
use crate::machine::uintr::{self, RawUpid, read_msr};
use crate::vmm::guest::Guest;
use crate::vmm::{self, exit::Exit};

/// Runs the form of a case that the place asks for: on the bare machine with guests of its own, or in a cell.
fn by_place(
    bench: &mut Bench,
    bare: fn(&mut Bench) -> Outcome,
    cell: fn(&mut Bench, Doorbell) -> Outcome,
) -> Outcome {
    match bench.place.doorbell() {
        Some(doorbell) => cell(bench, doorbell),
        None => match vmm::obstacle() {
            Some(reason) => Ok(Found::Skipped(reason)),
            None => bare(bench),
        },
    }
}

/// UINV in IA32_UINTR_MISC.
fn uinv() -> u8 {
    (read_msr(::uintr::msr::IA32_UINTR_MISC) >> 32) as u8
}

/// Expects control word and requests of a descriptor.
fn expect_upid(when: &str, upid: RawUpid, wanted: (u64, u64)) -> Result<(), Failure> {
    let seen = upid.get();
    ensure!(
        seen == wanted,
        "{when}: expected the descriptor {wanted:x?}, saw {seen:x?}"
    );
    Ok(())
}

/// Expects that the descriptor was processed and that UIRR has these vectors.
fn expect_processed(when: &str, upid: RawUpid, pending: u64) -> Result<(), Failure> {
    let ((control, pir), seen) = (upid.get(), read_msr(::uintr::msr::IA32_UINTR_RR));
    ensure!(
        control & uintr::ON == 0 && pir == 0 && seen == pending,
        "{when}: expected ON=0, PIR=0, UIRR {pending:#x}, saw {control:#x} {pir:#x} {seen:#x}"
    );
    Ok(())
}

fn expect_no_events(when: &str) -> Result<(), Failure> {
    if let Some(event) = event::all().next() {
        wrong!("{when}: expected neither interrupt nor handler, saw {event:x?}");
    }
    Ok(())
}

/// Runs the guest and expects that it comes to its VMCALL.
fn run_to_end(guest: &mut Guest<'_>, when: &str) -> Result<Exit, Failure> {
    guest.run_until(crate::vmm::exit::reason::VMCALL, when)
}
