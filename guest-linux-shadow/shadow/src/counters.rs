// SPDX-License-Identifier: MIT OR Apache-2.0
//! What happened, for the client (`COUNTERS`) and for the summary at the end.

use std::fmt;

use forward_ring::{opcode, syscall};

/// Numbers of calls that are counted one by one.
const NUMBERS: usize = 512;

/// The client's own calls.
const OWN: [(u32, &str); 9] = [
    (opcode::FORK, "fork"),
    (opcode::EXEC, "exec"),
    (opcode::EXIT, "exit"),
    (opcode::UINTR_INIT, "uintr-init"),
    (opcode::NULL, "null"),
    (opcode::COUNTERS, "counters"),
    (opcode::RING_OPEN, "ring-open"),
    (opcode::RING_CLOSE, "ring-close"),
    (opcode::END, "end"),
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
#[derive(Debug)]
pub struct Counters {
    calls: Box<[u64; NUMBERS]>,
    /// Calls with greater numbers.
    others: u64,
    /// Requests served by the handler.
    pub by_handler: u64,
    /// Requests served by the main thread.
    pub by_main_thread: u64,
    /// Notifications of requests received.
    pub received: u64,
    /// SENDUIPI executed.
    pub sent: u64,
    /// Requests or completions that broke the protocol and were dropped.
    pub dropped: u64,
    /// Clients that were served.
    pub sessions: u64,
    /// Clients that broke the ring.
    pub broken: u64,
    /// VM exits of the cell when the client had been connected.
    pub exits_at_start: Option<u64>,
    /// VM exits of the cell when the client ended.
    pub exits_at_end: Option<u64>,
    /// Times the exit counter was read since `exits_at_start`.
    pub exit_reads: u64,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            calls: Box::new([0; NUMBERS]),
            others: 0,
            by_handler: 0,
            by_main_thread: 0,
            received: 0,
            sent: 0,
            dropped: 0,
            sessions: 0,
            broken: 0,
            exits_at_start: None,
            exits_at_end: None,
            exit_reads: 0,
        }
    }
}

impl Counters {
    /// Counts a request.
    pub fn count(&mut self, opcode: u32, server: Server) {
        match self.calls.get_mut(opcode as usize) {
            Some(count) => *count += 1,
            None => self.others += 1,
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

/// Returns the name of a call.
fn name(number: u32) -> Option<&'static str> {
    let own = OWN.iter().find(|(own, _)| *own == number);
    match own {
        Some((_, name)) => Some(name),
        None => syscall::signature(number).map(|signature| signature.name),
    }
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("requests:")?;
        let mut unknown = self.others;
        for (number, &count) in self.calls.iter().enumerate() {
            match name(number as u32) {
                _ if count == 0 => {}
                Some(name) => write!(f, " {name}={count}")?,
                None => unknown += count,
            }
        }
        write!(f, " unknown={unknown}")
    }
}
