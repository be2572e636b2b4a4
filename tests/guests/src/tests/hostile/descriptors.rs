// SPDX-License-Identifier: MIT OR Apache-2.0
//! Forged user posted-interrupt descriptors: any vector, any destination, reserved bits, storms; and those of the channel
//! damaged while the neighbour posts to them.
//!
//! In a channel with a direct doorbell the neighbour can be interrupted; how often it is, it says itself.

use core::sync::atomic::Ordering;

use hv_abi::channel::UPID_SLOTS;
use hv_abi::hypercall::{CPU_GET_INFO, CPU_STAT_BASE, stat};
use uintr::{UittEntry, Upid, ndst};

use super::super::{Failure, expect};
use crate::arch::probe::{GENERAL_PROTECTION, Raised, raised_with};
use crate::arch::task::CALL_VECTOR;
use crate::arch::uintr::{self as user_interrupts, RawUpid};
use crate::arch::user::LEAVE_VECTOR;
use crate::arch::{cpu, hypercall};
use crate::boot::Boot;
use crate::channel::{Channel, Side};

const ON: u64 = 1;
const SN: u64 = 2;
/// Bits 15:2 and 31:24.
const RESERVED: u64 = 0xff00_fffc;
/// Vectors whose gates only count, in the neighbour: no exceptions, no gates of its own (80H, 81H), not the spurious one.
const COUNTED: core::ops::Range<u64> = 0x20..0xff;
const OWN_GATES: [u64; 2] = [LEAVE_VECTOR as u64, CALL_VECTOR as u64];
const VECTOR: u64 = 0x52;
const STORM: u32 = 10_000;
const REWRITES: u32 = 200_000;
const SETTLE_MS: u64 = 5;

static OWN: Upid = Upid::new();
static FORGED: RawUpid = RawUpid::new();

/// Runs the attacks; the neighbour's APIC ID is in the option `apic`.
pub fn run(boot: &Boot) -> Result<(), Failure> {
    let channel = Channel::first(boot).ok_or(Failure::NoChannel)?;
    let victim = ndst(boot.options().number("apic")? as u32, boot.is_x2apic());
    let target = |address| UittEntry::new(address, 1).unwrap_or(UittEntry::INVALID);
    let peer = channel.raw_upid(Side::Peer, 0).address();
    user_interrupts::start(
        &OWN,
        ndst(boot.first_cpu(), boot.is_x2apic()),
        [target(FORGED.address()), target(peer), UittEntry::INVALID],
    );
    let counted = |name: &str, sent: u32| {
        let of = |class| {
            hypercall::call(
                CPU_GET_INFO,
                u64::from(boot.first_cpu()),
                CPU_STAT_BASE + class,
            )
        };
        report!(
            "name=forged what={name} sends={sent} exits={} sent={} dropped={}",
            of(stat::DOORBELL),
            of(stat::NOTIFICATIONS_SENT),
            of(stat::NOTIFICATIONS_DROPPED)
        );
        cpu::delay(boot.ticks(SETTLE_MS));
    };
    let vectors = COUNTED.filter(|vector| !OWN_GATES.contains(vector));
    counted(
        "vectors",
        send_all(vectors.map(|vector| control(vector, victim)))?,
    );
    let broadcast = ndst(u32::MAX, boot.is_x2apic());
    counted(
        "broadcast",
        send_all([control(VECTOR, broadcast)].into_iter())?,
    );
    counted(
        "illegal-vectors",
        send_all((0..16).map(|vector| control(vector, victim)))?,
    );
    let nobody = ndst(200, boot.is_x2apic());
    counted("no-cpu", send_all([control(VECTOR, nobody)].into_iter())?);
    counted(
        "storm",
        send_all((0..STORM).map(|_| control(VECTOR, victim)))?,
    );
    reserved_bits(victim)?;
    counted("proxies", proxies(boot)?);
    rewrite(&channel, victim);
    counted("rewritten", REWRITES);
    damage(&channel);
    Ok(())
}

fn control(vector: u64, ndst: u32) -> u64 {
    u64::from(ndst) << 32 | vector << 16
}

fn post(index: u64) -> Raised {
    raised_with(user_interrupts::send_to, index)
}

/// Posts with each of these control words; returns how many.
fn send_all(controls: impl Iterator<Item = u64>) -> Result<u32, Failure> {
    let mut sent = 0;
    for control in controls {
        FORGED.control.store(control, Ordering::SeqCst);
        expect("forged", i64::from(post(0) == Raised::Nothing), 1)?;
        sent += 1;
    }
    Ok(sent)
}

/// Reserved bits fault in the sender, which is the forger.
fn reserved_bits(victim: u32) -> Result<(), Failure> {
    for bit in (0..32)
        .map(|bit| 1_u64 << bit)
        .filter(|bit| bit & RESERVED != 0)
    {
        FORGED
            .control
            .store(control(VECTOR, victim) | bit, Ordering::SeqCst);
        expect("reserved", i64::from(post(0) == GENERAL_PROTECTION), 1)?;
    }
    Ok(())
}

/// Looks like the hypervisor's own proxies, with each number in their fields.
fn proxies(boot: &Boot) -> Result<u32, Failure> {
    const PROXY: u32 = 0xd00b_0000;
    let numbers = (0..0x1_0000)
        .step_by(37)
        .chain([0, 1, 0x1f, 0x20, 0x100, 0x120, 0xffff]);
    // In xAPIC mode without a filter they are APIC IDs, that of the neighbour and the broadcast among them.
    if boot.is_x2apic() {
        send_all(numbers.map(|number| control(0xff, PROXY | number)))
    } else {
        Ok(0)
    }
}

/// Changes the descriptor in which the neighbour posts, while it posts.
fn rewrite(channel: &Channel, victim: u32) {
    let own = channel.raw_upid(Side::Own, 0);
    for round in 0..REWRITES {
        let word = match round % 5 {
            0 => control(VECTOR, victim),
            1 => control(VECTOR, victim) | RESERVED,
            2 => ON | SN,
            3 => u64::MAX,
            _ => control(VECTOR, u32::MAX),
        };
        own.control.store(word, Ordering::SeqCst);
        // The slot that this cell posts to is the neighbour's, or the proxy for it.
        post(1);
    }
    own.control.store(SN, Ordering::SeqCst);
}

/// Fills all slots that this cell reaches with ones.
fn damage(channel: &Channel) {
    for slot in 0..UPID_SLOTS {
        for side in [Side::Own, Side::Peer] {
            let upid = channel.raw_upid(side, slot);
            upid.control.store(u64::MAX, Ordering::SeqCst);
            upid.requests.store(u64::MAX, Ordering::SeqCst);
        }
    }
    // Faults here for the reserved bits.
    post(1);
}
