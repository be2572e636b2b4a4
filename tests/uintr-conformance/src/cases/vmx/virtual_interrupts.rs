// SPDX-License-Identifier: MIT OR Apache-2.0
//! Virtual-interrupt delivery of a notification.

use core::sync::atomic::Ordering;

use x86::vmx::vmcs::{control, guest};

use super::{expect_processed, run_to_end};
use crate::bench::{ARRIVAL, Bench};
use crate::case::{Case, Failure, Outcome, Where};
use crate::cases::notification::{request, the_only_event};
use crate::machine::event::{self, Kind};
use crate::machine::run::{Code, Level};
use crate::machine::uintr::{NOTIFICATION, ON, RawUpid, USER_VECTOR};
use crate::vmm::control::{
    Controls, EXIT_ACKNOWLEDGE, PIN_EXTERNAL_INTERRUPT, PIN_POSTED_INTERRUPTS, PRIMARY_TPR_SHADOW,
    SECONDARY_VIRTUAL_INTERRUPTS,
};
use crate::vmm::guest::Guest;
use crate::vmm::{Vmm, regions};

/// A virtual interrupt is a notification too.
pub const V18: Case = Case::new(
    "V18",
    "virtual-interrupt delivery of a notification",
    "SDM 3C, Virtual-Interrupt Delivery",
    v18,
)
.place(Where::Bare);

/// Physical vector that says that interrupts are posted.
const POSTING: u8 = 0xf2;
const REQUESTED: u64 = 1 << USER_VECTOR;
const CONTROLS: [(Controls, u32); 5] = [
    (Controls::Primary, PRIMARY_TPR_SHADOW),
    (Controls::Secondary, SECONDARY_VIRTUAL_INTERRUPTS),
    (Controls::Pin, PIN_EXTERNAL_INTERRUPT),
    (Controls::Pin, PIN_POSTED_INTERRUPTS),
    (Controls::Exit, EXIT_ACKNOWLEDGE),
];

fn v18(bench: &mut Bench) -> Outcome {
    if let Some((controls, bits)) = CONTROLS
        .iter()
        .find(|(controls, bits)| !controls.has(*bits))
    {
        return skipped!("the processor has no {controls:?} control {bits:#x}");
    }
    let upid = bench.set_up(0)?;
    let vmm = Vmm::start()?;
    // RVI at VM entry.
    let mut guest = receiver(&vmm)?;
    regions::set_virtual_register(guest.slot(), virtual_irr(), 1 << (NOTIFICATION % 32));
    guest.write(guest::INTERRUPT_STATUS, u64::from(NOTIFICATION))?;
    post(upid);
    expect_delivery(&mut guest, upid, "RVI at VM entry")?;
    // A posted interrupt.
    let mut guest = receiver(&vmm)?;
    let descriptor = &regions::POSTED.0;
    descriptor[usize::from(NOTIFICATION) / 64].store(1 << (NOTIFICATION % 64), Ordering::SeqCst);
    // Outstanding notification.
    descriptor[4].store(1, Ordering::SeqCst);
    post(upid);
    request(POSTING)?;
    expect_delivery(&mut guest, upid, "posted interrupt")?;
    let left = [0, 1, 2, 3, 4].map(|word| descriptor[word].load(Ordering::SeqCst));
    ensure!(
        left == [0; 5],
        "posted-interrupt descriptor: expected PIR and ON 0, saw {left:x?}"
    );
    as_manual!("by RVI and by a posted interrupt: processed, VISR and SVI 0, no EOI exit, no IDT")
}

/// Makes a guest that waits at CPL 3 with virtual-interrupt delivery, and that exits for an EOI of the notification.
fn receiver(vmm: &Vmm) -> Result<Guest<'_>, Failure> {
    const EOI_EXIT: [u32; 4] = [
        control::EOI_EXIT0_FULL,
        control::EOI_EXIT1_FULL,
        control::EOI_EXIT2_FULL,
        control::EOI_EXIT3_FULL,
    ];
    let guest = Guest::new(vmm, Level::User, &Code::default().then_pause(ARRIVAL))?;
    for (controls, bits) in CONTROLS {
        guest.set(controls, bits)?;
    }
    for (number, field) in EOI_EXIT.into_iter().enumerate() {
        let is_here = usize::from(NOTIFICATION) / 64 == number;
        guest.write(field, u64::from(is_here) << (NOTIFICATION % 64))?;
    }
    guest.write(guest::INTERRUPT_STATUS, 0)?;
    guest.write(
        control::POSTED_INTERRUPT_NOTIFICATION_VECTOR,
        u64::from(POSTING),
    )?;
    guest.write(
        control::POSTED_INTERRUPT_DESC_ADDR_FULL,
        regions::POSTED.address(),
    )?;
    Ok(guest)
}

/// Returns the offset of the register of the virtual-APIC page that has the notification's bit in VIRR.
fn virtual_irr() -> usize {
    0x200 + usize::from(NOTIFICATION) / 32 * 0x10
}

fn virtual_isr() -> usize {
    0x100 + usize::from(NOTIFICATION) / 32 * 0x10
}

fn post(upid: RawUpid) {
    event::clear();
    upid.pir().store(REQUESTED, Ordering::SeqCst);
    upid.control().fetch_or(ON, Ordering::SeqCst);
}

fn expect_delivery(guest: &mut Guest<'_>, upid: RawUpid, when: &str) -> Result<(), Failure> {
    run_to_end(guest, when)?;
    expect_processed(when, upid, 0)?;
    let event = the_only_event()?;
    ensure!(
        (event.kind, event.vector) == (Kind::UserInterrupt, u64::from(USER_VECTOR)),
        "{when}: expected the handler alone, saw {event:x?}"
    );
    let seen = (
        regions::virtual_register(guest.slot(), virtual_irr()),
        regions::virtual_register(guest.slot(), virtual_isr()),
        guest.read(guest::INTERRUPT_STATUS)?,
    );
    ensure!(
        seen == (0, 0, 0),
        "{when}: VIRR, VISR, SVI and RVI: expected 0, saw {seen:x?}"
    );
    Ok(())
}
