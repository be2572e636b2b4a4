// SPDX-License-Identifier: MIT OR Apache-2.0
//! VMX: on the bare machine with guests of the image's own [`vmm`](crate::vmm), in cells with the hypervisor's.

pub mod apic_write;
pub mod bitmaps;
pub mod ept;
pub mod interrupts;
pub mod state;
pub mod uinv;
pub mod virtual_interrupts;

use crate::case::Failure;
use crate::machine::event;
use crate::machine::uintr::{self, RawUpid, read_msr};
use crate::vmm::exit::Exit;
use crate::vmm::guest::Guest;

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
