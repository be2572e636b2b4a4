// SPDX-License-Identifier: MIT OR Apache-2.0
//! A descriptor that had another owner: its next owner gets nothing of the old one's and is not deaf either.

use super::{CLOSED, Failure, Kernel, OPEN, Order, UPIDS, expect};
use crate::arch::uintr::{self, NOTIFICATION};

const SLOT: usize = 3;
const ON: u64 = 1 << 0;
const SN: u64 = 1 << 1;
/// All that a descriptor can be left with: control word and requests.
const LEFT_BEHIND: [(u64, u64); 11] = [
    (0, 0),
    (ON, 0),
    (SN, 0),
    (ON | SN, 1 << 7),
    (0, u64::MAX),
    // Reserved bits, which make SENDUIPI fault.
    (1 << 2, 0),
    (1 << 15, 0),
    (0x81 << 24, 1),
    // Another vector and another CPU.
    ((0x41 << 16) | ON, 1 << 63),
    ((NOTIFICATION as u64) << 16 | 0xfe << 32 | 0xfe << 40, 0),
    (u64::MAX, u64::MAX),
];

/// Runs the cases.
pub fn run(kernel: &Kernel) -> Result<(), Failure> {
    for (control, requests) in LEFT_BEHIND {
        uintr::scribble(&UPIDS[SLOT], control, requests);
        let mut owner = kernel.new_task(SLOT);
        // One that is still under way from the time before.
        kernel.switch.interrupt(NOTIFICATION);
        kernel.expect("new-owner", &mut owner, Order::Nothing, CLOSED, &[])?;
        expect("uirr", owner.requests() as i64, 0)?;
        kernel.expect("no-vector-of-the-old", &mut owner, Order::Enable, OPEN, &[])?;
        kernel.expect("not-deaf", &mut owner, Order::Send(40, 3), OPEN, &[40, 3])?;
        kernel.post(SLOT, 17);
        kernel.expect(
            "not-deaf-to-others",
            &mut owner,
            Order::Nothing,
            OPEN,
            &[17],
        )?;
        expect("reserved", UPIDS[SLOT].has_reserved_bits().into(), 0)?;
    }
    Ok(())
}
