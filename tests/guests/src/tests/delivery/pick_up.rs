// SPDX-License-Identifier: MIT OR Apache-2.0
//! Posts and where they are found: in the UPID while the task is off the CPU, in UIRR while it takes none.

use super::{CLOSED, Failure, Kernel, OPEN, Order, UPIDS, expect};
use crate::arch::uintr::{self, NOTIFICATION};

const FIRST: usize = 0;
const SECOND: usize = 1;

/// Runs the cases.
pub fn run(kernel: &Kernel) -> Result<(), Failure> {
    posted_while_off_the_cpu(kernel)?;
    left_outstanding(kernel)?;
    sent_while_running(kernel)?;
    notified_without_a_post(kernel)?;
    notified_while_one_is_pending(kernel)
}

fn posted_while_off_the_cpu(kernel: &Kernel) -> Result<(), Failure> {
    let mut first = kernel.open_task(FIRST)?;
    let mut second = kernel.open_task(SECOND)?;
    for vector in [0, 5, 63] {
        let notification = UPIDS[FIRST].post(1 << vector);
        expect("notified-off-the-cpu", notification.is_some().into(), 0)?;
        kernel.expect("of-another", &mut second, Order::Nothing, OPEN, &[])?;
        kernel.expect("picked-up", &mut first, Order::Nothing, OPEN, &[vector])?;
        kernel.expect("picked-up-once", &mut first, Order::Nothing, OPEN, &[])?;
    }
    Ok(())
}

/// What a post leaves whose notification came after the switch, and reserved bits, which another cell may set: the UPID
/// is as new when the task comes back.
fn left_outstanding(kernel: &Kernel) -> Result<(), Failure> {
    const ON_AND_SN: u64 = 0b11;
    const RESERVED: u64 = 1 << 31 | 1 << 2;
    let mut first = kernel.open_task(FIRST)?;
    for control in [ON_AND_SN, ON_AND_SN | RESERVED] {
        uintr::scribble(&UPIDS[FIRST], control, 1 << 12);
        kernel.expect("outstanding", &mut first, Order::Nothing, OPEN, &[12])?;
        uintr::scribble(&UPIDS[FIRST], control, 0);
        // Without a switch between post and delivery.
        kernel.expect(
            "was-outstanding",
            &mut first,
            Order::Send(7, 4),
            OPEN,
            &[7, 4],
        )?;
    }
    Ok(())
}

/// Without a switch between post and delivery: the UPID names this CPU again.
fn sent_while_running(kernel: &Kernel) -> Result<(), Failure> {
    let mut first = kernel.open_task(FIRST)?;
    let mut second = kernel.open_task(SECOND)?;
    for _ in 0..3 {
        kernel.expect(
            "sent-to-itself",
            &mut first,
            Order::Send(6, 2),
            OPEN,
            &[6, 2],
        )?;
        kernel.expect(
            "sent-to-itself",
            &mut second,
            Order::Send(8, 1),
            OPEN,
            &[8, 1],
        )?;
    }
    Ok(())
}

/// UINV with PIR = 0 is silent.
fn notified_without_a_post(kernel: &Kernel) -> Result<(), Failure> {
    let mut first = kernel.open_task(FIRST)?;
    kernel.switch.interrupt(NOTIFICATION);
    kernel.expect("pir-is-0", &mut first, Order::Nothing, OPEN, &[])?;
    kernel.expect("pir-was-0", &mut first, Order::Send(3, 2), OPEN, &[3, 2])
}

/// UIRR is not 0, PIR is: the pending vector is delivered all the same.
fn notified_while_one_is_pending(kernel: &Kernel) -> Result<(), Failure> {
    let mut first = kernel.open_task(FIRST)?;
    kernel.expect("closed", &mut first, Order::Disable, CLOSED, &[])?;
    kernel.expect("held-back", &mut first, Order::Send(9, 9), CLOSED, &[])?;
    expect("uirr", first.requests() as i64, 1 << 9)?;
    expect("pir", UPIDS[FIRST].requests() as i64, 0)?;
    kernel.switch.interrupt(NOTIFICATION);
    kernel.expect("still-held-back", &mut first, Order::Nothing, CLOSED, &[])?;
    expect("uirr", first.requests() as i64, 1 << 9)?;
    kernel.switch.interrupt(NOTIFICATION);
    kernel.expect("let-go", &mut first, Order::Enable, OPEN, &[9])?;
    kernel.expect("let-go-once", &mut first, Order::Nothing, OPEN, &[])
}
