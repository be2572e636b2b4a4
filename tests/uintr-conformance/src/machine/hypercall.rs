// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the hypervisor counts of this CPU, in a cell. (docs/interfaces.md, "Hypercalls")

use core::arch::asm;

use hv_abi::hypercall::{CPU_GET_INFO, CPU_REASON_BASE, CPU_STAT_BASE, stat};

use super::apic;

/// The exit that reads a counter of all exits counts too.
pub const OWN_EXIT: u64 = 1;

/// Counters of a CPU. Two of them, taken before and after something, tell what it cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// VM exits.
    pub total: u64,
    /// VM exits "APIC write".
    pub apic_writes: u64,
    /// VM exits of filtered SENDUIPIs.
    pub doorbells: u64,
    /// Notifications that the hypervisor sent for them.
    pub sent: u64,
    /// Posts and notifications that it refused.
    pub dropped: u64,
}

impl Counters {
    /// Reads this CPU's counters, all exits last.
    pub fn before() -> Self {
        let mut counters = Self::without_total();
        counters.total = read(CPU_STAT_BASE + stat::TOTAL);
        counters
    }

    /// Reads this CPU's counters, all exits first, and returns how many came since `before`, but for those that reading
    /// takes.
    pub fn since(before: &Self) -> Self {
        let total = read(CPU_STAT_BASE + stat::TOTAL);
        let after = Self::without_total();
        Self {
            total: total.wrapping_sub(before.total).wrapping_sub(OWN_EXIT),
            apic_writes: after.apic_writes.wrapping_sub(before.apic_writes),
            doorbells: after.doorbells.wrapping_sub(before.doorbells),
            sent: after.sent.wrapping_sub(before.sent),
            dropped: after.dropped.wrapping_sub(before.dropped),
        }
    }

    fn without_total() -> Self {
        const APIC_WRITE: u64 = 56;
        Self {
            total: 0,
            apic_writes: read(CPU_REASON_BASE + APIC_WRITE),
            doorbells: read(CPU_STAT_BASE + stat::DOORBELL),
            sent: read(CPU_STAT_BASE + stat::NOTIFICATIONS_SENT),
            dropped: read(CPU_STAT_BASE + stat::NOTIFICATIONS_DROPPED),
        }
    }
}

/// Returns a number that the hypervisor has of this CPU.
///
/// # Panics
/// If the hypervisor has no such number.
fn read(kind: u64) -> u64 {
    let result: i64;
    // SAFETY: in a cell VMCALL returns a number and changes nothing else.
    unsafe {
        asm!("vmcall", inout("rax") CPU_GET_INFO => result, in("rdi") u64::from(apic::id()),
            in("rsi") kind, options(nostack));
    }
    u64::try_from(result).expect("the hypervisor counts this for the cell's own CPUs")
}
