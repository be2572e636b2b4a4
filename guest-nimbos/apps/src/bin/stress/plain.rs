// SPDX-License-Identifier: MIT OR Apache-2.0
//! One thread, one call after the other: null calls and writes of numbers, which are read back at the end.

use nimbos_apps::eprintln;
use nimbos_apps::file::{CREATE, File, READ_ONLY, READ_WRITE, TRUNCATE};
use nimbos_apps::system::{self, Error};

use crate::Notifications;

/// Every so many calls one writes a number; the others do nothing in the server.
const WRITE_EACH: u64 = 4;

/// Makes the calls; returns how many had a wrong result.
pub fn run(calls: u64) -> Result<u64, Error> {
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
    let Notifications { sent, received } = Notifications::read()?.since(&before);
    file.close()?;
    errors += wrong_numbers(calls)?;
    eprintln!("stress: calls={calls} errors={errors} sent={sent} received={received}");
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
