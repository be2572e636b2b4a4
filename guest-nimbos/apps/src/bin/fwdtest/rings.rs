// SPDX-License-Identifier: MIT OR Apache-2.0
//! The server is killed while a process makes its calls by a ring of its own, again and again: the second half of `fwdtest kills rounds=N`.
//!
//! In every second round the call under way is one that waits, a read of an empty pipe; in the others calls that do nothing
//! follow each other until one fails. It fails with -EIO, the calls take the kernel path from then on, and with the next server the
//! process gets a ring again. Afterwards kernel and server have as much as before.

use nimbos_apps::system::{self, Error};
use nimbos_apps::{channel, eprint};

use crate::check::{Check, Failure, holds, is, until};
use crate::files::pipe;
use crate::storm::{leave_file, play_rounds, settle};

/// Calls before the server is killed, and after the next one has come.
const CALLS: usize = 100;

/// Plays `rounds` rounds; returns the exit status.
pub fn run(rounds: u32) -> i32 {
    let told = |round| {
        eprint!("rings: round={round}\n");
        Ok(1)
    };
    match play_rounds(rounds, strike, told) {
        Ok(count) => {
            eprint!("rings: rounds={count} result=PASS\n");
            0
        }
        Err(Failure { what, value }) => {
            eprint!("rings: FAIL {what}: {value}\n");
            1
        }
    }
}

fn strike(round: u32) -> Check {
    open()?;
    let [from, _to] = pipe()?;
    leave_file(c"/tmp/struck", round)?;
    let result = if round.is_multiple_of(2) {
        system::read(from as i32, &mut [0]).map(drop)
    } else {
        loop {
            if let Err(error) = system::forward_null() {
                break Err(error);
            }
        }
    };
    let Error(code) = result.err().unwrap_or(Error(0));
    is("the call under way", code, Error::IO.0)?;
    holds("the ring is lost", !channel::is_open())?;
    settle()?;
    open()
}

/// Opens a ring, and makes calls by it.
fn open() -> Check {
    channel::open()?;
    let before = channel::received();
    for _ in 0..CALLS {
        system::forward_null()?;
    }
    let answered = || channel::received() != before;
    until("a user interrupt of the server", answered)
}
