// SPDX-License-Identifier: MIT OR Apache-2.0
//! Many forwarded calls, each checked: `stress [calls=N]`. At the end a line on the cell's own console,
//! `stress: calls=N errors=N sent=N received=N`, with the notifications that this kernel sent and received meanwhile.
#![no_std]
#![no_main]

use freestanding as _;
use nimbos_apps::abi::counter;
use nimbos_apps::file::{CREATE, File, READ_ONLY, READ_WRITE, TRUNCATE};
use nimbos_apps::system::{self, Error};
use nimbos_apps::{Arguments, entry, eprint};

entry!(main);

const DEFAULT_CALLS: u64 = 1_000;
/// Every so many calls one writes a number; the others do nothing in the server.
const WRITE_EACH: u64 = 4;

fn main(arguments: Arguments) -> i32 {
    let calls = (1..arguments.count())
        .find_map(|number| arguments.get(number)?.strip_prefix("calls="))
        .map_or(Ok(DEFAULT_CALLS), str::parse);
    let Ok(calls) = calls else {
        eprint!("stress: calls= is no number\n");
        return 2;
    };
    match run(calls) {
        Ok(0) => 0,
        Ok(errors) => {
            eprint!("stress: FAIL {errors} wrong results\n");
            1
        }
        Err(Error(code)) => {
            eprint!("stress: FAIL error {code}\n");
            1
        }
    }
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
}

/// Makes the calls; returns how many had a wrong result.
fn run(calls: u64) -> Result<u64, Error> {
    let file = File::open(c"/tmp/stress.dat", CREATE | READ_WRITE | TRUNCATE, 0o644)?;
    let before = Notifications::read()?;
    let mut errors = 0;
    for number in 0..calls {
        let is_right = if number.is_multiple_of(WRITE_EACH) {
            file.write(&number.to_le_bytes()) == Ok(8)
        } else {
            system::forward_null().is_ok()
        };
        errors += u64::from(!is_right);
    }
    let after = Notifications::read()?;
    file.close()?;
    errors += wrong_numbers(calls)?;
    eprint!(
        "stress: calls={calls} errors={errors} sent={} received={}\n",
        after.sent - before.sent,
        after.received - before.received
    );
    Ok(errors)
}

/// Reads the file back; returns how many numbers are wrong or missing.
fn wrong_numbers(calls: u64) -> Result<u64, Error> {
    let file = File::open(c"/tmp/stress.dat", READ_ONLY, 0)?;
    let mut wrong = 0;
    for number in (0..calls).step_by(WRITE_EACH as usize) {
        let mut bytes = [0; 8];
        let len = file.read(&mut bytes)?;
        wrong += u64::from(len != 8 || u64::from_le_bytes(bytes) != number);
    }
    file.close()?;
    Ok(wrong)
}
