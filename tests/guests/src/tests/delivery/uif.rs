// SPDX-License-Identifier: MIT OR Apache-2.0
//! UIF belongs to the task: whatever became of the one before, a task finds its own.

use super::{CLOSED, Failure, Kernel, OPEN, Order, expect, expect_delivered};
use crate::arch::record::{self, IN_HANDLER};
use crate::arch::task::Task;

const FIRST: usize = 0;
const SECOND: usize = 1;
const THIRD: usize = 2;

/// Runs the cases.
pub fn run(kernel: &Kernel) -> Result<(), Failure> {
    switched_out_in_the_handler(kernel)?;
    switched_out_after_clui(kernel)?;
    killed_in_the_handler(kernel)
}

fn switched_out_in_the_handler(kernel: &Kernel) -> Result<(), Failure> {
    let mut first = kernel.open_task(FIRST)?;
    let mut second = kernel.open_task(SECOND)?;
    stop_in_handler(kernel, &mut first)?;
    kernel.expect("beside-a-handler", &mut second, Order::Nothing, OPEN, &[])?;
    kernel.post(SECOND, 4);
    kernel.expect("beside-a-handler", &mut second, Order::Nothing, OPEN, &[4])?;
    // Posted while the handler runs: it comes behind it.
    kernel.post(FIRST, 9);
    let before = record::logged();
    let said = kernel.go_on(&mut first)?;
    expect("after-the-handler", said as i64, OPEN as i64)?;
    expect_delivered("after-the-handler", before, &[9])?;
    kernel.post(FIRST, 7);
    kernel.expect("after-the-handler", &mut first, Order::Nothing, OPEN, &[7])
}

fn switched_out_after_clui(kernel: &Kernel) -> Result<(), Failure> {
    let mut first = kernel.open_task(FIRST)?;
    let mut second = kernel.open_task(SECOND)?;
    kernel.expect("after-clui", &mut first, Order::Disable, CLOSED, &[])?;
    kernel.expect("beside-clui", &mut second, Order::Nothing, OPEN, &[])?;
    kernel.expect("after-clui", &mut first, Order::Nothing, CLOSED, &[])?;
    kernel.post(FIRST, 11);
    kernel.expect("after-clui", &mut first, Order::Nothing, CLOSED, &[])?;
    kernel.expect("beside-clui", &mut second, Order::Nothing, OPEN, &[])?;
    kernel.expect("after-stui", &mut first, Order::Enable, OPEN, &[11])?;
    kernel.expect("after-stui", &mut first, Order::Nothing, OPEN, &[])
}

fn killed_in_the_handler(kernel: &Kernel) -> Result<(), Failure> {
    let mut other = kernel.open_task(SECOND)?;
    {
        let mut killed = kernel.open_task(FIRST)?;
        stop_in_handler(kernel, &mut killed)?;
    }
    kernel.expect("beside-a-killed", &mut other, Order::Nothing, OPEN, &[])?;
    // One with the dead task's UPID, and one that has nothing in common with it.
    for number in [FIRST, THIRD] {
        let mut new = kernel.open_task(number)?;
        kernel.post(number, 13);
        kernel.expect("after-a-killed", &mut new, Order::Nothing, OPEN, &[13])?;
    }
    Ok(())
}

/// Leaves the task of [`FIRST`] in its handler.
fn stop_in_handler(kernel: &Kernel, task: &mut Task) -> Result<(), Failure> {
    record::call_in_handler(true);
    kernel.post(FIRST, 3);
    kernel.expect("in-a-handler", task, Order::Nothing, IN_HANDLER, &[3])?;
    record::call_in_handler(false);
    expect("uif-in-a-handler", task.uif().into(), 0)
}
