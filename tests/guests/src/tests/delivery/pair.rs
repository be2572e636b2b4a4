// SPDX-License-Identifier: MIT OR Apache-2.0
//! Two vectors one after the other: both are delivered, each once, and the higher one first where both pend.

use super::{CLOSED, Failure, Kernel, OPEN, Order, expect};
use crate::arch::record;

const FIRST: usize = 0;
const ROUNDS: u8 = 64;

/// Runs the cases.
pub fn run(kernel: &Kernel) -> Result<(), Failure> {
    let mut task = kernel.open_task(FIRST)?;
    for round in 0..ROUNDS {
        // The low one first, and from the middle on the high one.
        let (one, other) = (round, ROUNDS - 1 - round);
        let (low, high) = (one.min(other), one.max(other));
        // Both are taken as they come; the second one may come while the first is handled or before.
        let before = record::logged();
        let said = kernel.order(&mut task, Order::Send(one, other))?;
        expect("open", said as i64, OPEN as i64)?;
        expect("each-once", record::logged() as i64, before as i64 + 2)?;
        let vectors = [before, before + 1].map(|index| record::delivery(index).vector as u8);
        let (least, most) = (vectors[0].min(vectors[1]), vectors[0].max(vectors[1]));
        expect("low", least.into(), low.into())?;
        expect("high", most.into(), high.into())?;
        // Both pend.
        kernel.expect("closed", &mut task, Order::Disable, CLOSED, &[])?;
        kernel.expect("both-pend", &mut task, Order::Send(one, other), CLOSED, &[])?;
        kernel.expect(
            "highest-first",
            &mut task,
            Order::Enable,
            OPEN,
            &[high, low],
        )?;
        kernel.expect("no-third", &mut task, Order::Nothing, OPEN, &[])?;
    }
    Ok(())
}
