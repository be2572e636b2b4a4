// SPDX-License-Identifier: MIT OR Apache-2.0
//! The second cell of the cases that need two: the same image, which does what the first one asks for.
//!
//! The two talk through the first page of the ring in their channel (docs/interfaces.md, "Channel"), which no ring uses
//! here: one word for the request, one for the reply. The other cell's words are checked like anything from outside.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::machine::place::Place;
use crate::machine::shared;

/// Requests, in the low byte of the request word; above it a number that differs from the request before.
pub mod request {
    /// Are you there?
    pub const HELLO: u64 = 1;
    /// End.
    pub const END: u64 = 2;
}

/// Replies, in the low byte of the reply word; above it the request's number.
pub mod reply {
    /// Here I am; or: done.
    pub const OK: u64 = 1;
    /// That is no request.
    pub const UNKNOWN: u64 = 2;
}

const OPERATION: u64 = 0xff;

/// The two words.
pub struct Line {
    request: &'static AtomicU64,
    reply: &'static AtomicU64,
}

impl Line {
    /// Opens the line of the cell's first channel; none where there is no channel.
    pub fn open(place: Place) -> Option<Self> {
        let words = shared::words(place)?;
        Some(Self {
            request: &words[0],
            // On another cache line.
            reply: &words[8],
        })
    }

    /// Asks for an operation and returns the reply's low byte, or none if `ticks` go by without one.
    pub fn ask(&self, operation: u64, ticks: u64) -> Option<u64> {
        let number = (self.request.load(Ordering::SeqCst) & !OPERATION).wrapping_add(OPERATION + 1);
        self.request
            .store(number | operation & OPERATION, Ordering::SeqCst);
        let answer = || self.reply.load(Ordering::SeqCst);
        crate::machine::cpu::wait_until(ticks, || answer() & !OPERATION == number)
            .then(|| answer() & OPERATION)
    }
}

/// Serves the other cell's requests until it asks for the end.
pub fn serve(place: Place) {
    let Some(line) = Line::open(place) else {
        report!("error detail=\"role=peer needs a channel\"");
        return;
    };
    let mut served = 0;
    loop {
        let request = line.request.load(Ordering::SeqCst);
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
            _ => reply::UNKNOWN,
        };
        line.reply
            .store(request & !OPERATION | answer, Ordering::SeqCst);
        if operation == request::END {
            report!("peer request=end");
            return;
        }
    }
}
