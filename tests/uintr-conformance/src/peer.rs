// SPDX-License-Identifier: MIT OR Apache-2.0
//! The second cell of the cases that need two: the same image, which does what the first one asks for.
//!
//! The two talk through the first page of the ring in their channel (docs/interfaces.md, "Channel"), which no ring uses
//! here: one word for the request, one for the reply. The other cell's words are checked like anything from outside.

use core::sync::atomic::{AtomicU64, Ordering};

use ::uintr::msr;
use uintr_conformance::ApicMode;

use crate::bench::{ARRIVAL, Bench};
use crate::case::Failure;
use crate::machine::apic;
use crate::machine::event::{self, Kind};
use crate::machine::hypercall::Counters;
use crate::machine::place::Place;
use crate::machine::run::{Code, Level, Run};
use crate::machine::shared::{self, SharedPage};
use crate::machine::uintr::{self, NOTIFICATION, RawUpid, USER_VECTOR, read_msr, write_msr};

/// Requests, in the low byte of the request word; above it a number that differs from the request before.
pub mod request {
    /// Are you there?
    pub const HELLO: u64 = 1;
    /// End.
    pub const END: u64 = 2;
    /// Become the receiver of the first descriptor of your side of the channel.
    pub const PREPARE: u64 = 3;
    /// Run at CPL 3 for a while, interrupts enabled, and say what came.
    pub const WATCH: u64 = 4;
    /// Set a reserved bit in that descriptor.
    pub const DAMAGE: u64 = 5;
}

/// Replies, in the low byte of the reply word; above it the request's number.
pub mod reply {
    /// Here I am; or: done.
    pub const OK: u64 = 1;
    /// That is no request.
    pub const UNKNOWN: u64 = 2;
    /// It went wrong.
    pub const FAILED: u64 = 3;
}

/// A reserved bit of descriptors.
pub const RESERVED: u64 = 1 << 7;

/// What the other cell says of itself, in the words from [`SEEN`] on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// APIC ID of its CPU.
    pub apic_id: u32,
    /// Runs of its user-interrupt handler for [`USER_VECTOR`], since the start of the last [`request::WATCH`].
    pub delivered: u64,
    /// All interrupts, user or not, since then.
    pub events: u64,
    /// Vector of the first.
    pub vector: u64,
    /// VM exits of its CPU since then.
    pub exits: u64,
    /// UIRR.
    pub pending: u64,
    /// Its descriptor.
    pub upid: (u64, u64),
}

/// Word of the page at which [`Seen`] begins.
const SEEN: usize = 16;
/// Times of PAUSE for which the peer watches.
const WATCHED: u32 = 10 * ARRIVAL;

const OPERATION: u64 = 0xff;

/// The page that the cells talk through.
pub struct Line {
    page: SharedPage,
}

impl Line {
    /// Opens the line of the cell's first channel; none where there is no channel.
    pub fn open(place: Place) -> Option<Self> {
        shared::words(place).map(|page| Self { page })
    }

    fn request(&self) -> &AtomicU64 {
        &self.page[0]
    }

    /// On another cache line.
    fn reply(&self) -> &AtomicU64 {
        &self.page[8]
    }

    /// Asks for an operation and returns the reply's low byte, or none if `ticks` go by without one.
    pub fn ask(&self, operation: u64, ticks: u64) -> Option<u64> {
        self.begin(operation);
        self.finish(ticks)
    }

    /// Asks for an operation.
    pub fn begin(&self, operation: u64) {
        let last = self.request().load(Ordering::SeqCst);
        let number = (last & !OPERATION).wrapping_add(OPERATION + 1);
        self.request()
            .store(number | operation & OPERATION, Ordering::SeqCst);
    }

    /// Waits for the reply to the last request, as [`Line::ask`] does.
    pub fn finish(&self, ticks: u64) -> Option<u64> {
        let number = self.request().load(Ordering::SeqCst) & !OPERATION;
        let answer = || self.reply().load(Ordering::SeqCst);
        crate::machine::cpu::wait_until(ticks, || answer() & !OPERATION == number)
            .then(|| answer() & OPERATION)
    }

    /// Returns what the other cell has said of itself with its last reply.
    pub fn seen(&self) -> Seen {
        let word = |at: usize| self.page[SEEN + at].load(Ordering::SeqCst);
        Seen {
            apic_id: word(0) as u32,
            delivered: word(1),
            events: word(2),
            vector: word(3),
            exits: word(4),
            pending: word(5),
            upid: (word(6), word(7)),
        }
    }

    fn say(&self, seen: &Seen) {
        let words = [
            u64::from(seen.apic_id),
            seen.delivered,
            seen.events,
            seen.vector,
            seen.exits,
            seen.pending,
            seen.upid.0,
            seen.upid.1,
        ];
        for (slot, word) in self.page[SEEN..].iter().zip(words) {
            slot.store(word, Ordering::SeqCst);
        }
    }
}

/// Serves the other cell's requests until it asks for the end.
pub fn serve(bench: &Bench) {
    let (Some(line), Some(upids)) = (Line::open(bench.place), shared::own_upids(bench.place))
    else {
        report!("error detail=\"role=peer needs a channel\"");
        return;
    };
    let mut served = 0;
    loop {
        let request = line.request().load(Ordering::SeqCst);
        if request == served {
            core::hint::spin_loop();
            continue;
        }
        served = request;
        let operation = request & OPERATION;
        let answer = match operation {
            request::HELLO => {
                report!("peer request=hello");
                reply::OK
            }
            request::END => reply::OK,
            request::PREPARE => say(prepare(bench, upids)),
            request::WATCH => {
                let seen = watch(upids);
                line.say(&seen);
                reply::OK
            }
            request::DAMAGE => {
                upids[0].fetch_or(RESERVED, Ordering::SeqCst);
                reply::OK
            }
            _ => reply::UNKNOWN,
        };
        line.reply()
            .store(request & !OPERATION | answer, Ordering::SeqCst);
        if operation == request::END {
            report!("peer request=end");
            return;
        }
    }
}

fn say(result: Result<(), Failure>) -> u64 {
    match result {
        Ok(()) => reply::OK,
        Err(Failure(text)) => {
            report!("peer failed=\"{text}\"");
            reply::FAILED
        }
    }
}

/// Makes this CPU the receiver of its first descriptor in the channel, which is cleared.
fn prepare(bench: &Bench, upids: SharedPage) -> Result<(), Failure> {
    bench.reset()?;
    let ndst = ::uintr::ndst(apic::id(), apic::mode() == ApicMode::X2apic);
    upids[1].store(0, Ordering::SeqCst);
    upids[0].store(
        u64::from(ndst) << 32 | u64::from(NOTIFICATION) << 16,
        Ordering::SeqCst,
    );
    uintr::become_receiver(RawUpid::new(0));
    write_msr(msr::IA32_UINTR_PD, shared::linear(upids));
    Ok(())
}

/// Waits at CPL 3 for what comes.
fn watch(upids: SharedPage) -> Seen {
    event::clear();
    let run = Run::new(Level::User, &Code::default().then_pause(WATCHED));
    let before = Counters::before();
    run.go();
    let exits = Counters::since(&before).total;
    Seen {
        apic_id: apic::id(),
        delivered: event::count_of(Kind::UserInterrupt, 0, USER_VECTOR) as u64,
        events: event::count() as u64,
        vector: event::get(0).map_or(0, |event| event.vector),
        exits,
        pending: read_msr(msr::IA32_UINTR_RR),
        upid: (
            upids[0].load(Ordering::SeqCst),
            upids[1].load(Ordering::SeqCst),
        ),
    }
}
