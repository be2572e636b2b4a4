// SPDX-License-Identifier: MIT OR Apache-2.0
//! The local APIC's timer: deadlines are met without the hypervisor.

use super::{Failure, expect};
use crate::arch::apic::{self, Apic};
use crate::arch::{cpu, hypercall, trap};
use crate::boot::Boot;

const VECTOR: u8 = 0x40;
const TICKS: u32 = 100;
const PERIOD_MS: u64 = 1;

/// Runs the test.
pub fn run(boot: &Boot) -> Result<(), Failure> {
    let apic_id = boot.first_cpu();
    let period = boot.ticks(PERIOD_MS);
    Apic::new(boot.is_x2apic()).use_deadlines(VECTOR);
    let before = hypercall::total_exits(apic_id);
    let mut early = 0;
    for tick in 0..TICKS {
        let deadline = cpu::tsc() + period;
        apic::set_deadline(deadline);
        while trap::count(0, VECTOR) <= tick {
            cpu::halt_until_interrupt();
        }
        early += i64::from(cpu::tsc() < deadline);
    }
    let exits = hypercall::total_exits(apic_id) - before - 1;
    report!("name=timer ticks={TICKS} early={early} exits={exits}");
    expect("ticks", i64::from(trap::count(0, VECTOR)), i64::from(TICKS))?;
    expect("early", early, 0)?;
    // In xAPIC mode the end of an interrupt is a write to the APIC's page, which the hypervisor checks.
    let wanted = if boot.is_x2apic() {
        0
    } else {
        i64::from(TICKS)
    };
    expect("exits", exits, wanted)
}
