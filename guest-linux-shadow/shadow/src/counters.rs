// SPDX-License-Identifier: MIT OR Apache-2.0
//! What happened, for the client (opcode 102) and for the summary at the end.

use std::fmt;

use forward_ring::opcode;

/// Calls that are counted by name.
const NAMED: [(u32, &str); 9] = [
    (opcode::READ, "read"),
    (opcode::WRITE, "write"),
    (opcode::OPEN, "open"),
    (opcode::CLOSE, "close"),
    (opcode::EXIT, "exit"),
    (opcode::END, "end"),
    (opcode::UINTR_INIT, "uintr-init"),
    (opcode::NULL, "null"),
    (opcode::COUNTERS, "counters"),
];

/// Who took a request from the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// The user-interrupt handler.
    Handler,
    /// The main thread, which looked into the ring with user interrupts masked.
    MainThread,
}

/// Counters of one run.
#[derive(Debug, Default)]
pub struct Counters {
    calls: [u64; NAMED.len()],
    unknown: u64,
    /// Requests served by the handler.
    pub by_handler: u64,
    /// Requests served by the main thread.
    pub by_main_thread: u64,
    /// User interrupts received.
    pub received: u64,
    /// SENDUIPI executed.
    pub sent: u64,
    /// Requests or completions that broke the protocol and were dropped.
    pub dropped: u64,
    /// VM exits of the cell when the client had been connected.
    pub exits_at_start: Option<u64>,
    /// VM exits of the cell when the client ended.
    pub exits_at_end: Option<u64>,
    /// Times the exit counter was read since `exits_at_start`.
    pub exit_reads: u64,
}

impl Counters {
    /// Counts a request.
    pub fn count(&mut self, opcode: u32, server: Server) {
        match NAMED.iter().position(|(number, _)| *number == opcode) {
            Some(i) => self.calls[i] += 1,
            None => self.unknown += 1,
        }
        match server {
            Server::Handler => self.by_handler += 1,
            Server::MainThread => self.by_main_thread += 1,
        }
    }

    /// Returns the VM exits between start and end, if both were read.
    pub fn steady_exits(&self) -> Option<u64> {
        Some(self.exits_at_end?.wrapping_sub(self.exits_at_start?))
    }
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("requests:")?;
        for ((_, name), count) in NAMED.iter().zip(self.calls) {
            write!(f, " {name}={count}")?;
        }
        write!(f, " unknown={}", self.unknown)
    }
}
