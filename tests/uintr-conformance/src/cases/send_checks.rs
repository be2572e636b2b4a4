// SPDX-License-Identifier: MIT OR Apache-2.0
//! SENDUIPI: what it checks, and in which order.

use core::sync::atomic::Ordering;

use uintr::msr;

use crate::bench::Bench;
use crate::case::{Case, Failure, Outcome};
use crate::machine::paging::Page;
use crate::machine::trap::{GENERAL_PROTECTION, UNDEFINED};
use crate::machine::uintr::{
    HIGHEST_INDEX, NOTIFICATION, RawUpid, SN, USER_VECTOR, read_msr, set_uitt, write_msr,
};

const SECTION: &str = "SDM 2, SENDUIPI";
/// V of a target-table entry.
const VALID: u64 = 1;
/// Reserved bits of a UPID's control word.
const UPID_RESERVED: [core::ops::Range<u32>; 2] = [2..16, 24..32];

/// SENDUIPI must be enabled before anything else counts.
pub const T18: Case = Case::new("T18", "SENDUIPI not enabled", SECTION, t18);

fn t18(bench: &mut Bench) -> Outcome {
    let upid = bench.set_up(0)?;
    let enabled = read_msr(msr::IA32_UINTR_TT);
    write_msr(msr::IA32_UINTR_TT, enabled & !1);
    for index in [0, u64::from(HIGHEST_INDEX) + 1] {
        let trap = bench.send(index);
        bench.expect("SENDUIPI with TT[0]=0", &trap, UNDEFINED, 0)?;
    }
    unposted(upid)?;
    as_manual!("#UD, also for an index that is too high")
}

/// The index is compared in full.
pub const T19: Case = Case::new("T19", "index against UITTSZ", SECTION, t19);

fn t19(bench: &mut Bench) -> Outcome {
    const HIGHEST: u32 = 3;
    let upid = bench.set_up(0)?;
    for index in 0..8 {
        crate::machine::uintr::set_target(index, upid, USER_VECTOR);
    }
    write_msr(msr::IA32_UINTR_MISC, msr::misc(0, HIGHEST));
    upid.control().fetch_or(SN, Ordering::SeqCst);
    for index in [4, 1 << 32, 1 << 32 | 1, 1 << 63] {
        let trap = bench.send(index);
        ensure!(
            trap.is(GENERAL_PROTECTION, 0),
            "index {index:#x} with UITTSZ 3: expected #GP(0), saw {trap}"
        );
        unposted(upid)?;
    }
    bench.send_well(u64::from(HIGHEST))?;
    ensure!(
        upid.get().1 == 1 << USER_VECTOR,
        "index 3: nothing was posted"
    );
    as_manual!("3 is accepted; 4, 2^32, 2^32+1 and 2^63 raise #GP(0)")
}

/// The index is checked before the table is read.
pub const T20: Case = Case::new("T20", "index before the table", SECTION, t20);

fn t20(bench: &mut Bench) -> Outcome {
    bench.set_up(0)?;
    Page::UITT.map(0);
    let trap = bench.send(u64::from(HIGHEST_INDEX) + 1);
    bench.expect(
        "index too high, table not mapped",
        &trap,
        GENERAL_PROTECTION,
        0,
    )?;
    as_manual!("#GP(0), no #PF")
}

/// The entry is checked before the descriptor is read.
pub const T21: Case = Case::new("T21", "entry before the descriptor", SECTION, t21);

fn t21(bench: &mut Bench) -> Outcome {
    let upid = bench.set_up(0)?;
    set_uitt(0, u64::from(USER_VECTOR) << 8, upid.linear());
    Page::UPIDS.map(0);
    let trap = bench.send(0);
    bench.expect("V=0, descriptor not mapped", &trap, GENERAL_PROTECTION, 0)?;
    as_manual!("#GP(0), no #PF")
}

/// Each bit of an entry is checked.
pub const T22: Case = Case::new("T22", "target-table entries", SECTION, t22);

fn t22(bench: &mut Bench) -> Outcome {
    let upid = bench.set_up(0)?;
    upid.control().fetch_or(SN, Ordering::SeqCst);
    let good = u64::from(USER_VECTOR) << 8 | VALID;
    let refused = |low: u64, high: u64| -> Result<(), Failure> {
        set_uitt(0, low, high);
        let trap = bench.send(0);
        ensure!(
            trap.is(GENERAL_PROTECTION, 0),
            "entry {low:#x} {high:#x}: expected #GP(0), saw {trap}"
        );
        unposted(upid)
    };
    for bit in (1..8).chain(16..64) {
        refused(good | 1 << bit, upid.linear())?;
    }
    for vector in [64, 128, 192, 255] {
        refused(vector << 8 | VALID, upid.linear())?;
    }
    for bit in 0..6 {
        refused(good, upid.linear() | 1 << bit)?;
    }
    for vector in [63, 0] {
        upid.pir().store(0, Ordering::SeqCst);
        set_uitt(0, vector << 8 | VALID, upid.linear());
        bench.send_well(0)?;
        ensure!(
            upid.get().1 == 1 << vector,
            "user vector {vector}: expected PIR {:#x}, saw {:#x}",
            1u64 << vector,
            upid.get().1
        );
    }
    as_manual!(
        "#GP(0) for 55 reserved bits, vectors above 63 and misaligned descriptors; 0 and 63 are posted"
    )
}

/// Reserved bits of a descriptor are checked, and nothing is written.
pub const T23: Case = Case::new("T23", "reserved bits of the descriptor", SECTION, t23).cpus(2);

fn t23(bench: &mut Bench) -> Outcome {
    const RECEIVER: usize = 1;
    let upid = bench.set_up(RECEIVER)?;
    let control = upid.get().0;
    for bit in UPID_RESERVED.into_iter().flatten() {
        let bad = control | 1 << bit;
        upid.control().store(bad, Ordering::SeqCst);
        let trap = bench.send(0);
        ensure!(
            trap.is(GENERAL_PROTECTION, 0),
            "UPID bit {bit}: expected #GP(0), saw {trap}"
        );
        let seen = upid.get();
        ensure!(
            seen == (bad, 0),
            "UPID bit {bit} after #GP: expected {bad:#x} 0, saw {:#x} {:#x}",
            seen.0,
            seen.1
        );
    }
    ensure!(
        !bench.is_requested(RECEIVER, NOTIFICATION)?,
        "a notification was sent although SENDUIPI faulted"
    );
    as_manual!("#GP(0) for 22 reserved bits, descriptor unchanged, nothing sent")
}

/// Expects that nothing was posted.
fn unposted(upid: RawUpid) -> Result<(), Failure> {
    let (control, pir) = upid.get();
    ensure!(
        pir == 0 && control & 1 == 0,
        "a SENDUIPI that faulted changed the descriptor: {control:#x} {pir:#x}"
    );
    Ok(())
}
