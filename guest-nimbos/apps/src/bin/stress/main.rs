// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls of all kinds, each result checked. At the end a line on the cell's own console.
//!
//! * `stress [calls=N]`: so many calls of one thread, null calls and writes. `stress: calls=N errors=N sent=N received=N`,
//!   with the notifications that this kernel sent and received meanwhile.
//! * `stress threads=N [seconds=N] [seed=N]`: threads that make calls of all kinds at random, until so many seconds of the
//!   kernel's clock are over. The line goes on with `lost=N` (calls that never returned), and the calls of each kind.
#![no_std]
#![no_main]

mod kinds;
mod mixed;
mod plain;
mod worker;

use core::num::ParseIntError;

use freestanding as _;
use nimbos_apps::abi::counter;
use nimbos_apps::system::{self, Error};
use nimbos_apps::{Arguments, entry, eprintln};

entry!(main);

const USAGE: i32 = 2;
const DEFAULT_CALLS: u64 = 1_000;
const DEFAULT_SECONDS: u64 = 10;
const DEFAULT_SEED: u64 = 1;

fn main(arguments: Arguments) -> i32 {
    let result = match options(arguments) {
        Ok(Options::Plain { calls }) => plain::run(calls),
        Ok(Options::Mixed(plan)) if mixed::is_possible(plan) => mixed::run(plan),
        Ok(Options::Mixed(_)) => {
            eprintln!("stress: 1 to {} threads", mixed::MAX_THREADS);
            return USAGE;
        }
        Err(error) => {
            eprintln!("stress: {error}");
            return USAGE;
        }
    };
    match result {
        Ok(0) => 0,
        Ok(errors) => {
            eprintln!("stress: FAIL {errors} wrong results");
            1
        }
        Err(error) => {
            eprintln!("stress: FAIL {error}");
            1
        }
    }
}

enum Options {
    Plain { calls: u64 },
    Mixed(mixed::Plan),
}

fn options(arguments: Arguments) -> Result<Options, ParseIntError> {
    Ok(match arguments.value("threads=") {
        None => Options::Plain {
            calls: arguments.number("calls=", DEFAULT_CALLS)?,
        },
        Some(threads) => Options::Mixed(mixed::Plan {
            threads: threads.parse()?,
            seconds: arguments.number("seconds=", DEFAULT_SECONDS)?,
            seed: arguments.number("seed=", DEFAULT_SEED)?,
        }),
    })
}

/// Counters of this kernel.
struct Notifications {
    sent: u64,
    received: u64,
}

impl Notifications {
    fn read() -> Result<Self, Error> {
        Ok(Self {
            sent: system::counter(counter::SENT)?,
            received: system::counter(counter::RECEIVED)?,
        })
    }

    fn since(&self, earlier: &Self) -> Self {
        Self {
            sent: self.sent - earlier.sent,
            received: self.received - earlier.received,
        }
    }
}
