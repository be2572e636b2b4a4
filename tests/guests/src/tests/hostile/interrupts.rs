// SPDX-License-Identifier: MIT OR Apache-2.0
//! Interrupt commands of every kind that a cell survives: all delivery modes, destinations, shorthands and levels.
//!
//! What is left out stops the cell ([`super::super::attack`] tries it) or, an INIT to itself, puts it to sleep.

use super::super::{Failure, expect};
use crate::arch::apic::{Apic, X2APIC_ICR};
use crate::arch::probe::GENERAL_PROTECTION;
use crate::arch::sweep::write_msr;
use crate::arch::{cpu, trap};
use crate::boot::Boot;

const SMI: u32 = 2;
const RESERVED_MODE: u32 = 3;
const NMI: u32 = 4;
const INIT: u32 = 5;
const EXTINT: u32 = 7;
const LOGICAL: u32 = 1 << 11;
const ASSERT: u32 = 1 << 14;
const LEVEL: u32 = 1 << 15;
const SHORTHANDS: [u32; 4] = [0, 1 << 18, 2 << 18, 3 << 18];
const SELF_IPI: u32 = 0x83f;
const LDR: u32 = 0x0d;
const DFR: u32 = 0x0e;
/// Vectors with a gate that counts, and two that no APIC takes.
const VECTORS: [u8; 5] = [0, 15, 0x31, 0x80 - 1, 0xfe];
/// Bits of the command that fault in x2APIC mode.
const RESERVED_BITS: [u32; 14] = [13, 16, 17, 20, 21, 22, 23, 24, 25, 26, 27, 28, 30, 31];

/// A command's destination and what it means.
#[derive(Clone, Copy)]
struct Destination {
    value: u32,
    logical: u32,
}

/// Runs the sweep.
pub fn run(boot: &Boot) -> Result<(), Failure> {
    let apic = Apic::new(boot.is_x2apic());
    let id = boot.first_cpu();
    cpu::enable_interrupts();
    let logical = if boot.is_x2apic() {
        logical_x2apic(id)
    } else {
        logical_xapic(apic)?
    };
    let broadcast = if boot.is_x2apic() { u32::MAX } else { 0xff };
    let physical = [id, broadcast].map(|value| Destination { value, logical: 0 });
    let mut sent = 0_u32;
    for destination in physical.into_iter().chain(logical) {
        for mode in 0..8 {
            for shorthand in SHORTHANDS {
                for level in [0, ASSERT, LEVEL, LEVEL | ASSERT] {
                    let command = mode << 8 | destination.logical | shorthand | level;
                    if !is_survived(mode, shorthand, level) {
                        continue;
                    }
                    for vector in VECTORS {
                        apic.command(destination.value, command | u32::from(vector));
                        sent += 1;
                    }
                }
            }
        }
    }
    report!(
        "name=commands sent={sent} received={} nmi={}",
        trap::count_all(0),
        trap::count(0, 2)
    );
    if boot.is_x2apic() {
        x2apic_only(id)?;
    }
    Ok(())
}

/// Tells whether the cell goes on after a command that reaches its CPU.
fn is_survived(mode: u32, shorthand: u32, level: u32) -> bool {
    match mode {
        SMI | RESERVED_MODE | EXTINT => false,
        INIT => shorthand != 0 || level == LEVEL,
        // An NMI to others reaches none in a cell of one CPU.
        NMI | 0 | 1 | 6.. => true,
    }
}

/// Destinations with the CPU's own logical ID, alone and among others'.
fn logical_x2apic(id: u32) -> [Destination; 2] {
    let cluster = id >> 4 << 16;
    [cluster | 1 << (id & 15), cluster | 0xffff].map(|value| Destination {
        value,
        logical: LOGICAL,
    })
}

/// Takes the logical IDs of all CPUs. The APIC keeps none: else it drew others' interrupts.
fn logical_xapic(apic: Apic) -> Result<[Destination; 2], Failure> {
    apic.write(LDR, 0xff << 24);
    apic.write(DFR, u32::MAX);
    report!("name=logical-id ldr={:#x}", apic.read(LDR));
    expect("ldr", apic.read(LDR).into(), 0)?;
    Ok([0x01, 0xfe].map(|value| Destination {
        value,
        logical: LOGICAL,
    }))
}

fn x2apic_only(id: u32) -> Result<(), Failure> {
    let to_self = u64::from(id) << 32 | 0x31;
    for bit in RESERVED_BITS {
        let raised = write_msr(X2APIC_ICR, to_self | 1 << bit);
        expect("reserved", i64::from(raised == GENERAL_PROTECTION), 1)?;
    }
    let before = trap::count(0, 0x32);
    // Reserved bits fault on processors; the emulator ignores them. Either way the CPU itself is all that is reached.
    for value in [0x32, 0x132, 1 << 32, u64::MAX, 0x0f] {
        report!(
            "name=self-ipi value={value:#x} raised={}",
            write_msr(SELF_IPI, value)
        );
    }
    let received = trap::count(0, 0x32) - before;
    expect("self-ipi", i64::from((1..=2).contains(&received)), 1)
}
