// SPDX-License-Identifier: MIT OR Apache-2.0
//! Cases about SENDUIPI's exits as a cell sees them: by what the hypervisor counts.

use core::sync::atomic::Ordering;

use hv_abi::Doorbell;

use super::expect_upid;
use crate::bench::Bench;
use crate::case::{Failure, Outcome};
use crate::machine::hypercall::Counters;
use crate::machine::run::{Code, Level, Run};
use crate::machine::uintr::{NOTIFICATION, ON, RawUpid, SN, USER_VECTOR};
use crate::machine::{apic, smp};

const RECEIVER: usize = 1;
const POSTED: u64 = 1 << USER_VECTOR;
const NOTHING: Counters = Counters {
    total: 0,
    apic_writes: 0,
    doorbells: 0,
    sent: 0,
    dropped: 0,
};

/// V11 in a cell.
pub fn v11(bench: &mut Bench, doorbell: Doorbell) -> Outcome {
    if doorbell == Doorbell::Filtered {
        return skipped!("the TPR shadow of a filtered cell: V12");
    }
    let upid = bench.set_up(RECEIVER)?;
    let (control, _) = upid.get();
    expect_cost(bench, "SENDUIPI", NOTHING)?;
    expect_notification(bench, upid, (control | ON, POSTED))?;
    // The way that is watched.
    let before = Counters::before();
    apic::send(
        smp::apic_id(RECEIVER),
        apic::FIXED | u32::from(NOTIFICATION),
    );
    let seen = Counters::since(&before);
    ensure!(
        seen.total != 0,
        "the cell's own write of the ICR: expected an exit, saw {seen:?}"
    );
    as_manual!("no exit and a physical interrupt, although the cell's own ICR writes exit")
}

/// V12 in a cell.
pub fn v12(bench: &mut Bench, doorbell: Doorbell) -> Outcome {
    const TIMES: u64 = 3;
    if doorbell == Doorbell::Direct {
        return skipped!("a direct cell has no TPR shadow: V11");
    }
    let one = Counters {
        total: 1,
        apic_writes: 1,
        doorbells: 1,
        sent: 1,
        dropped: 0,
    };
    for _ in 0..TIMES {
        let upid = bench.set_up(RECEIVER)?;
        let (control, _) = upid.get();
        expect_cost(bench, "SENDUIPI", one)?;
        expect_notification(bench, upid, (control | ON, POSTED))?;
        bench.on(RECEIVER, discard, 0)?;
    }
    expect_real_task_priority()?;
    as_manual!(
        "{TIMES} notifications, one exit 56 each, each sent by the hypervisor; CR8 is the physical TPR"
    )
}

/// Takes what is requested of a CPU that is no receiver any more.
fn discard(_: u64) -> u64 {
    crate::machine::uintr::clear();
    crate::machine::cpu::take_interrupts();
    0
}

/// The page with VTPR is not the cell's: MOV to CR8 and the APIC's register are the same.
fn expect_real_task_priority() -> Result<(), Failure> {
    const CLASS: u64 = 3;
    // MOV CR8, RAX
    let trap = Run::new(Level::Kernel, &Code::new(&[0x44, 0x0f, 0x22, 0xc0]))
        .with_rax(CLASS)
        .go();
    let priority = apic::task_priority();
    apic::set_task_priority(0);
    ensure!(
        trap.is_end() && u64::from(priority) == CLASS << 4,
        "MOV to CR8: expected TPR {:#x}, saw {priority:#x} and {trap}",
        CLASS << 4
    );
    Ok(())
}

/// V14 in a cell.
pub fn v14(bench: &mut Bench, doorbell: Doorbell) -> Outcome {
    if doorbell == Doorbell::Direct {
        return skipped!("a direct cell has no TPR shadow: no SENDUIPI of it exits");
    }
    for bits in [ON, SN, ON | SN] {
        let upid = bench.set_up(RECEIVER)?;
        let control = upid.control().fetch_or(bits, Ordering::SeqCst) | bits;
        expect_cost(bench, "SENDUIPI", NOTHING)?;
        expect_upid("SENDUIPI", upid, (control, POSTED))?;
        ensure!(
            bench.on(RECEIVER, is_any_requested, 0)? == 0,
            "ON, SN {bits:#x}: expected no interrupt at the receiver"
        );
    }
    as_manual!("posted without an exit with ON, with SN, and with both")
}

fn is_any_requested(_: u64) -> u64 {
    u64::from(apic::is_any_requested())
}

/// Executes SENDUIPI 0 at CPL 3 and expects that it costs so much.
pub fn expect_cost(bench: &Bench, when: &str, wanted: Counters) -> Result<(), Failure> {
    let before = Counters::before();
    bench.send_well(0)?;
    let seen = Counters::since(&before);
    ensure!(seen == wanted, "{when}: expected {wanted:?}, saw {seen:?}");
    Ok(())
}

fn expect_notification(bench: &Bench, upid: RawUpid, wanted: (u64, u64)) -> Result<(), Failure> {
    expect_upid("SENDUIPI", upid, wanted)?;
    ensure!(
        bench.is_requested(RECEIVER, NOTIFICATION)?,
        "expected the notification at CPU {RECEIVER}"
    );
    Ok(())
}
