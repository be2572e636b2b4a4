// SPDX-License-Identifier: MIT OR Apache-2.0
//! Writes to the xAPIC's page that the cell survives: every form of a 32-bit move, from both privilege levels, across
//! pages, beside the registers.

use core::sync::atomic::{AtomicU64, Ordering};

use super::super::{Failure, expect};
use crate::arch::apic::Apic;
use crate::arch::forms::{EMULATED, Form, VALUE, across_pages};
use crate::arch::user;
use crate::boot::Boot;

const PAGE: u64 = 0xfee0_0000;
const TASK_PRIORITY: u64 = PAGE + 0x80;
const TASK_PRIORITY_NUMBER: u32 = 0x08;
/// Beside registers, and through the end of the page.
const BESIDE: [u64; 7] = [0x81, 0x82, 0x84, 0x88, 0x302, 0x3f4, 0xffe];
/// Registers that are not there, and those that software does not write: ID, version, in-service, remote read.
const READ_ONLY: [u64; 10] = [
    0x00, 0x10, 0x20, 0x30, 0x40, 0xa0, 0xc0, 0x100, 0x200, 0xff0,
];

/// Writes that did not arrive.
static LOST: AtomicU64 = AtomicU64::new(0);

/// Runs the sweep.
pub fn run(_boot: &Boot) -> Result<(), Failure> {
    all_forms();
    expect(
        "lost-at-kernel",
        LOST.load(Ordering::SeqCst).cast_signed(),
        0,
    )?;
    user::run(all_forms);
    expect("lost-at-user", LOST.load(Ordering::SeqCst).cast_signed(), 0)?;
    report!("name=forms emulated={}", EMULATED.len() + 1);

    let apic = Apic::new(false);
    let (_, store) = EMULATED[0];
    for offset in BESIDE {
        store(PAGE + offset, u64::MAX);
        expect("beside", apic.read(TASK_PRIORITY_NUMBER).into(), 0)?;
    }
    for offset in READ_ONLY {
        store(PAGE + offset, u64::MAX);
    }
    report!(
        "name=beside offsets={} read_only={}",
        BESIDE.len(),
        READ_ONLY.len()
    );
    Ok(())
}

/// Writes by each form and reads what arrived.
extern "C" fn all_forms() {
    for &(_, form) in EMULATED {
        try_form(form);
    }
    try_form(across_pages);
}

fn try_form(form: Form) {
    let apic = Apic::new(false);
    form(TASK_PRIORITY, VALUE);
    if u64::from(apic.read(TASK_PRIORITY_NUMBER)) != VALUE {
        LOST.fetch_add(1, Ordering::SeqCst);
    }
    apic.write(TASK_PRIORITY_NUMBER, 0);
}
