// SPDX-License-Identifier: MIT OR Apache-2.0
//! One measured phase: the same call many times.

use nimbos_apps::abi::counter;
use nimbos_apps::channel;
use nimbos_apps::eprint;
use nimbos_apps::statistics::Summary;
use nimbos_apps::system;

use crate::Reason;

/// Measured calls of a phase.
pub const CALLS: usize = 10_000;
/// Calls before them, so that what happens only the first time stays out.
pub const WARM_UP_CALLS: usize = 300;

/// Which way the calls take: whose notifications count.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The kernel's.
    Kernel,
    /// This process's own ring.
    Ring,
}

/// What VM exits in the measured part mean.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Exits {
    /// The phase fails: interrupts and notifications of the way itself need none.
    MustBeNone,
    /// They are printed only, where the machine has exits that are not of the way: in xAPIC mode each EOI is one, and
    /// with several CPUs Linux sends itself interrupts, which are checked.
    AreReported,
}

/// One sample for each measured call.
pub type Samples = [u32; CALLS];

/// The counters at one moment, or differences between two.
#[derive(Clone, Copy)]
struct Counters {
    exits_nimbos: i64,
    exits_linux: i64,
    received: i64,
    sent: i64,
}

impl Counters {
    fn read(way: Way) -> Result<Self, Reason> {
        let counter = |index| system::counter(index).map(|count| count as i64);
        let exits_linux = counter(counter::SERVER_VM_EXITS).map_err(|_| "counters-linux")?;
        let exits_nimbos = counter(counter::VM_EXITS).map_err(|_| "counters-nimbos")?;
        let (received, sent) = match way {
            Way::Kernel => (
                counter(counter::RECEIVED).map_err(|_| "counters-received")?,
                counter(counter::SENT).map_err(|_| "counters-sent")?,
            ),
            Way::Ring => (channel::received() as i64, channel::sent() as i64),
        };
        Ok(Self {
            exits_nimbos,
            exits_linux,
            received,
            sent,
        })
    }

    fn since(self, earlier: Self) -> Self {
        Self {
            exits_nimbos: self.exits_nimbos - earlier.exits_nimbos,
            exits_linux: self.exits_linux - earlier.exits_linux,
            received: self.received - earlier.received,
            sent: self.sent - earlier.sent,
        }
    }
}

/// Makes the call [`WARM_UP_CALLS`] times, then [`CALLS`] times measured, and prints the figures. `call` tells whether
/// it was right. `exits` says what VM exits in the measured part mean.
///
/// Reading the counters shows up in them: one hypercall in this cell, as many in Linux's as that has CPUs, one forwarded
/// call with its notifications. So they are read twice before the phase; the difference is the price of reading, which is
/// taken off the difference over the phase.
#[inline(never)]
pub fn run(
    name: &str,
    way: Way,
    samples: &mut Samples,
    exits: Exits,
    mut call: impl FnMut() -> bool,
) -> Result<(), Reason> {
    if !(0..WARM_UP_CALLS).all(|_| call()) {
        return Err("warm-up-call");
    }
    let first = Counters::read(way)?;
    let second = Counters::read(way)?;
    for sample in samples.iter_mut() {
        let start = system::tsc();
        let is_right = call();
        let ticks = system::tsc().wrapping_sub(start);
        *sample = u32::try_from(ticks).unwrap_or(u32::MAX);
        if !is_right {
            return Err("measured-call");
        }
    }
    let third = Counters::read(way)?;
    report(
        name,
        samples,
        exits,
        third.since(second).since(second.since(first)),
    )
}

fn report(
    name: &str,
    samples: &mut Samples,
    exits: Exits,
    counted: Counters,
) -> Result<(), Reason> {
    let summary = Summary::of(samples).expect("there are samples");
    let Counters {
        exits_nimbos,
        exits_linux,
        received,
        sent,
    } = counted;
    let Summary {
        min,
        median,
        p99,
        max,
    } = summary;
    eprint!(
        "demo: phase={name} calls={CALLS} min={min} median={median} p99={p99} max={max} \
         sent={sent} received={received} exits_nimbos={exits_nimbos} exits_linux={exits_linux}\n"
    );
    if (exits_nimbos, exits_linux) == (0, 0) || exits == Exits::AreReported {
        Ok(())
    } else {
        Err("vm-exits")
    }
}
