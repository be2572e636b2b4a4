// SPDX-License-Identifier: MIT OR Apache-2.0
//! Two cells: this one sends, the other one receives. ([`crate::peer`])

use core::sync::atomic::Ordering;

use hv_abi::Doorbell;
use uintr_conformance::ApicMode;

use super::counters::expect_cost;
use crate::bench::Bench;
use crate::case::{Case, Failure, Outcome, Where};
use crate::machine::BUDGET;
use crate::machine::hypercall::Counters;
use crate::machine::shared::{self, SharedPage};
use crate::machine::trap::GENERAL_PROTECTION;
use crate::machine::uintr::{self, ON, RawUpid, USER_VECTOR};
use crate::peer::{Line, RESERVED, Seen, reply, request};

const NO_COST: Counters = Counters {
    total: 0,
    apic_writes: 0,
    doorbells: 0,
    sent: 0,
    dropped: 0,
};
const ONE_EXIT: Counters = Counters {
    total: 1,
    apic_writes: 1,
    doorbells: 1,
    ..NO_COST
};

/// The other cell, ready to receive, and this one, ready to send to its first descriptor by SENDUIPI 0.
struct Pair {
    line: Line,
    /// The other cell's descriptors, or what stands for them.
    upids: SharedPage,
}

impl Pair {
    fn new(bench: &Bench) -> Result<Self, Failure> {
        let (Some(line), Some(upids)) = (Line::open(bench.place), shared::other_upids(bench.place))
        else {
            wrong!("expected a channel, saw none");
        };
        let this = Self { line, upids };
        this.ask(request::PREPARE)?;
        uintr::become_sender();
        uintr::set_uitt(0, u64::from(USER_VECTOR) << 8 | 1, shared::linear(upids));
        Ok(this)
    }

    fn ask(&self, operation: u64) -> Result<(), Failure> {
        self.line.begin(operation);
        self.finish(operation)
    }

    fn finish(&self, operation: u64) -> Result<(), Failure> {
        let answer = self.line.finish(BUDGET);
        ensure!(
            answer == Some(reply::OK),
            "request {operation} of the other cell: expected its reply, saw {answer:?}"
        );
        Ok(())
    }

    /// Lets the other cell watch while `send` does something, and returns what it has seen.
    fn watched(&self, send: impl FnOnce() -> Result<(), Failure>) -> Result<Seen, Failure> {
        self.line.begin(request::WATCH);
        let sent = send();
        self.finish(request::WATCH)?;
        sent?;
        Ok(self.line.seen())
    }
}

/// The whole point of Isthmus.
pub const V04: Case = Case::new(
    "V04",
    "SENDUIPI from cell to cell without exits",
    "SDM 3A, User-Interrupt Notification Processing",
    v04,
)
.place(Where::TwoCells);

fn v04(bench: &mut Bench) -> Outcome {
    let cost = match bench.place.doorbell() {
        Some(Doorbell::Filtered) => Counters {
            sent: 1,
            ..ONE_EXIT
        },
        _ => NO_COST,
    };
    let pair = Pair::new(bench)?;
    let seen = pair.watched(|| expect_cost(bench, "SENDUIPI", cost))?;
    ensure!(
        (seen.delivered, seen.events, seen.pending) == (1, 1, 0),
        "the other cell: expected one run of the handler, saw {seen:x?}"
    );
    ensure!(
        seen.upid.0 & ON == 0 && seen.upid.1 == 0,
        "the other cell's descriptor: expected ON=0 and PIR=0, saw {:x?}",
        seen.upid
    );
    ensure!(
        seen.exits == 0,
        "the receiver: expected no exits, saw {}",
        seen.exits
    );
    as_manual!(
        "delivered; {} exits of the sender, none of the receiver",
        cost.total
    )
}

/// What a hostile cell would do.
pub const V24: Case = Case::new(
    "V24",
    "a forged notification is denied",
    "SDM 3C, Virtualizing SENDUIPI",
    v24,
)
.place(Where::TwoCells);

fn v24(bench: &mut Bench) -> Outcome {
    /// A vector of the other cell's kernel.
    const VICTIM: u8 = 0x61;
    let pair = Pair::new(bench)?;
    // Where the other cell is.
    let victim = pair.watched(|| Ok(()))?;
    ensure!(
        victim.events == 0,
        "the other cell: expected nothing before anything is sent, saw {victim:x?}"
    );
    let forged = RawUpid::new(1);
    let ndst = ::uintr::ndst(victim.apic_id, bench.mode == ApicMode::X2apic);
    forged.control().store(
        u64::from(ndst) << 32 | u64::from(VICTIM) << 16,
        Ordering::SeqCst,
    );
    uintr::set_target(0, forged, USER_VECTOR);
    if bench.place.doorbell() == Some(Doorbell::Direct) {
        let seen = pair.watched(|| expect_cost(bench, "direct", NO_COST))?;
        ensure!(
            (seen.events, seen.vector) == (1, u64::from(VICTIM)),
            "direct: expected vector {VICTIM:#x} at the other cell, saw {seen:x?}"
        );
        return recorded!(
            "direct: the victim takes vector {VICTIM:#x} of its own kernel; such cells trust each other"
        );
    }
    let dropped = Counters {
        dropped: 1,
        ..ONE_EXIT
    };
    let seen = pair.watched(|| {
        expect_cost(bench, "first SENDUIPI", dropped)?;
        expect_cost(bench, "second SENDUIPI", NO_COST)
    })?;
    ensure!(
        (seen.events, seen.exits) == (0, 0),
        "the victim: expected nothing, saw {seen:x?}"
    );
    ensure!(
        forged.control().load(Ordering::SeqCst) & ON != 0,
        "the forged descriptor: expected ON=1, saw 0"
    );
    as_manual!(
        "the victim sees nothing; the first SENDUIPI exits and is dropped, the second does not exit (ON=1)"
    )
}

/// Damage in a descriptor is its senders' affair.
pub const V26: Case = Case::new(
    "V26",
    "reserved bits in a shared descriptor",
    "SDM 2, SENDUIPI",
    v26,
)
.place(Where::TwoCells);

fn v26(bench: &mut Bench) -> Outcome {
    let pair = Pair::new(bench)?;
    pair.ask(request::DAMAGE)?;
    if bench.place.doorbell() == Some(Doorbell::Direct) {
        let before = [0, 1].map(|word| pair.upids[word].load(Ordering::SeqCst));
        let seen = pair.watched(|| {
            let trap = bench.send(0);
            bench.expect("SENDUIPI", &trap, GENERAL_PROTECTION, 0)
        })?;
        let after = [0, 1].map(|word| pair.upids[word].load(Ordering::SeqCst));
        ensure!(
            before == after && before[0] & RESERVED != 0,
            "the descriptor: expected {before:x?} before and after, saw {after:x?}"
        );
        ensure!(
            (seen.events, seen.exits) == (0, 0),
            "the receiver: expected nothing, saw {seen:x?}"
        );
        return as_manual!("#GP at the sender, nothing at the receiver");
    }
    let seen = pair.watched(|| bench.send_well(0))?;
    ensure!(
        seen.upid.0 & RESERVED != 0 && seen.events == seen.delivered && seen.exits == 0,
        "the receiver: expected its descriptor damaged and nothing but the handler, saw {seen:x?}"
    );
    ensure!(
        pair.upids[0].load(Ordering::SeqCst) & RESERVED == 0,
        "the sender's proxy: expected no reserved bits, saw {:#x}",
        pair.upids[0].load(Ordering::SeqCst)
    );
    as_manual!(
        "filtered: no fault at the sender, whose proxy is sound; {} runs of the receiver's handler",
        seen.delivered
    )
}
