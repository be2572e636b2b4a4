// SPDX-License-Identifier: MIT OR Apache-2.0
//! The channel to the cell that serves calls: its life, and the ring between the two.
//!
//! ```text
//! Waiting --a call is wanted, server ready--> Connecting --UintrInit answered--> Connected
//!                                                     any --server gone, ring broken, end--> Closed
//! ```
//!
//! A call is put into the ring and SENDUIPI notifies the server; nobody waits here. The server's SENDUIPI raises
//! [`crate::interrupts::NOTIFICATION`], and the completions are taken. Nothing on the way is a VM exit. Only while it connects the
//! channel is looked at by the timer, because the server does not know yet whom to notify. What comes out of shared memory is
//! checked here or in `forward_ring`.

mod region;

use core::fmt;

use forward_ring::{Buffer, Call, Client, Geometry, SLOTS, Token, UintrReply, WaitError};
use hv_abi::channel::UPID_SLOTS;
use hv_abi::{ChannelInfo, text};
use nimbos::abi::Errno;
use nimbos::reply::BadResult;
use uintr::{USER_VECTORS, Upid};

use crate::arch::cpu::Features;
use crate::arch::sender::Sender;
use crate::interrupts::TICKS_PER_SECOND;
use region::Region;

/// The UPID slot in which the server posts: the boot CPU's.
const REPLY_SLOT: u32 = 0;
/// User vector that the server posts there. Any would do: this kernel looks at the ring.
const REPLY_VECTOR: u32 = 0;
/// Ticks between two lines that tell of waiting.
const PROGRESS_TICKS: u64 = 5 * TICKS_PER_SECOND as u64;

/// The client's end of a channel.
pub struct Channel {
    name: &'static str,
    region: Region,
    client: Client,
    has_uintr: bool,
    logs_path: bool,
    state: State,
}

enum State {
    /// The server has not been heard of, for so many ticks since a call was wanted.
    Waiting { ticks: u64 },
    /// UintrInit is under way.
    Connecting,
    /// Notifications work both ways.
    Connected(Sender),
    /// For ever; keeps the number of notifications sent.
    Closed { sent: u64 },
}

/// Why a channel is closed.
#[derive(Clone, Copy, Debug)]
pub enum Failure {
    /// The processor cannot notify.
    NoUintr,
    /// There will be no completion.
    NoCompletion(WaitError),
    /// A result that its call cannot have.
    BadResult(BadResult),
    /// An answer to UintrInit that names no UPID slot.
    BadPartner {
        /// The answer.
        result: i64,
    },
    /// SENDUIPI faulted.
    PostRefused,
}

impl Channel {
    /// Makes our side ready. The server is not needed before the first call. `logs_path`: a line for each notification.
    pub fn open(info: &'static ChannelInfo, features: Features, logs_path: bool) -> Option<Self> {
        let name = text(&info.name).unwrap_or("?");
        let geometry = match Geometry::for_channel(info.size) {
            Ok(geometry) => geometry,
            Err(error) => {
                say!("channel '{name}': {error}");
                return None;
            }
        };
        let region = Region::new(info);
        let client = Client::new(region.ring(geometry));
        Some(Self {
            name,
            region,
            client,
            has_uintr: features.has_uintr,
            logs_path,
            state: State::Waiting { ticks: 0 },
        })
    }

    /// Tells the server that we are there: all UPID slots in use are ready.
    pub fn announce(&self) {
        self.region.set_ready(true);
    }

    /// Returns the UPID slot of the CPU `cpu`.
    pub fn inbox(&self, cpu: usize) -> &'static Upid {
        self.region.own_upid(cpu)
    }

    /// Tells whether calls can be made.
    #[inline(always)]
    pub fn is_connected(&self) -> bool {
        matches!(self.state, State::Connected(_))
    }

    /// Tells whether no call can be made any more.
    #[inline(always)]
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }

    /// Returns the number of notifications sent.
    pub fn sent(&self) -> u64 {
        match &self.state {
            State::Waiting { .. } | State::Connecting => 0,
            State::Connected(sender) => sender.sent(),
            State::Closed { sent } => *sent,
        }
    }

    /// Returns the length of a call's buffer.
    pub fn buffer_len(&self) -> usize {
        self.client.geometry().buffer_len()
    }

    /// Takes a token for a call, or returns `None` if there is none now: all are in use, or the channel is not connected yet. A
    /// closed channel gives -EIO.
    #[inline(always)]
    pub fn reserve(&mut self) -> Result<Option<Token>, Errno> {
        match self.state {
            State::Connected(_) => Ok(self.client.reserve().ok()),
            State::Waiting { .. } | State::Connecting => Ok(None),
            State::Closed { .. } => Err(Errno::Io),
        }
    }

    /// Tells whether a call can be made at once.
    pub fn has_token(&self) -> bool {
        self.is_connected() && self.client.in_flight() < SLOTS
    }

    /// Returns a call's buffer.
    pub fn buffer(&self, token: &Token) -> Buffer<'_> {
        self.client.buffer(token)
    }

    /// Gives a token back.
    #[inline(always)]
    pub fn release(&mut self, token: Token) {
        self.client.release(token);
    }

    /// Puts a call into the ring and notifies the server, unless it has yet to look at an earlier one. The channel is
    /// connected.
    #[inline(always)]
    pub fn submit(&mut self, token: Token, call: Call) -> Result<(), Errno> {
        let (opcode, arguments) = call.encode();
        let State::Connected(sender) = &mut self.state else {
            return Err(Errno::Io);
        };
        // Before the server can see the call, and answer it.
        if self.logs_path {
            say!("path: call {opcode}, sent before {}", sender.sent());
        }
        let submitted = self.client.submit(token, opcode, arguments);
        if !submitted.notify || sender.send() {
            Ok(())
        } else {
            Err(self.fail(Failure::PostRefused))
        }
    }

    /// Takes the next completion. A server that breaks the ring closes the channel.
    #[inline(always)]
    pub fn take_completion(&mut self) -> Option<(Token, i64)> {
        match self.client.poll() {
            Ok(completion) => completion,
            Err(error) => {
                self.fail(Failure::NoCompletion(WaitError::Ring(error)));
                None
            }
        }
    }

    /// Tells whether a server serves. Looked at before the ring: a server that completes and goes is not one that has gone
    /// without.
    pub fn is_server_there(&self) -> bool {
        self.region.is_server_ready()
    }

    /// Tells whether the server has a call.
    pub fn has_calls(&self) -> bool {
        self.client.in_flight() != 0
    }

    /// Goes on with connecting, because a call is wanted: asks a server that is ready for its UPID slot, or takes its answer.
    /// Until it has answered, both sides poll.
    pub fn connect(&mut self) {
        match self.state {
            State::Waiting { .. } if !self.has_uintr => {
                self.fail(Failure::NoUintr);
            }
            State::Waiting { .. } if self.is_server_there() => self.ask_server(),
            State::Waiting { .. } => {}
            State::Connecting => self.take_answer(),
            State::Connected(_) | State::Closed { .. } => {}
        }
    }

    /// Counts a tick of the timer for which a call has waited for a server.
    pub fn count_waiting(&mut self) {
        if let State::Waiting { ticks } = &mut self.state {
            *ticks += 1;
            if ticks.is_multiple_of(PROGRESS_TICKS) {
                let seconds = *ticks / u64::from(TICKS_PER_SECOND);
                say!("channel '{}': no server for {seconds} s", self.name);
            }
        }
    }

    /// Makes the last call, and waits for its completion by calling `idle` again and again, which waits for an interrupt and
    /// makes the inbox ready. What else completes meanwhile is thrown away. Whatever the server answers, this is the end.
    pub fn finish(&mut self, call: Call, mut idle: impl FnMut()) {
        let mut token = self.client.reserve().ok();
        let mut last = None;
        loop {
            if let Some(token) = token.take() {
                last = Some(token.number());
                if self.submit(token, call).is_err() {
                    return;
                }
            }
            let region = &self.region;
            match self.client.wait(|| region.is_server_ready(), &mut idle) {
                Ok((done, _)) if last == Some(done.number()) => return,
                // The first one makes room for the last call, where there was none.
                Ok((done, _)) if last.is_none() => token = Some(done),
                Ok(_) => {}
                Err(_) => return,
            }
        }
    }

    /// Leaves the channel: the server sees that nobody calls any more.
    pub fn close(&mut self) {
        self.state = State::Closed { sent: self.sent() };
        self.region.set_ready(false);
    }

    /// Closes the channel for a reason, and returns what all calls get from now on.
    #[cold]
    pub fn fail(&mut self, failure: Failure) -> Errno {
        say!("channel '{}' is closed: {failure}", self.name);
        self.close();
        Errno::Io
    }

    fn ask_server(&mut self) {
        let call = Call::UintrInit {
            slot: REPLY_SLOT,
            vector: REPLY_VECTOR,
        };
        // No call has been made, so there is a token.
        if let Ok(token) = self.client.reserve() {
            let (opcode, arguments) = call.encode();
            // Nobody knows yet whom to notify.
            let _ = self.client.submit(token, opcode, arguments);
            self.state = State::Connecting;
        }
    }

    fn take_answer(&mut self) {
        let is_server_there = self.is_server_there();
        match self.take_completion() {
            Some((token, result)) => {
                self.client.release(token);
                self.use_partner(result);
            }
            None if !is_server_there && !self.is_closed() => {
                self.fail(Failure::NoCompletion(WaitError::ServerGone));
            }
            None => {}
        }
    }

    fn use_partner(&mut self, result: i64) {
        let partner = UintrReply::decode(result).filter(|partner| {
            usize::from(partner.slot) < UPID_SLOTS && partner.vector < USER_VECTORS
        });
        let sender = partner.and_then(|UintrReply { slot, vector }| {
            Sender::new(self.region.server_upid(slot.into()), vector).ok()
        });
        match sender {
            Some(sender) => {
                self.state = State::Connected(sender);
                say!("channel '{}' is connected", self.name);
            }
            None => {
                self.fail(Failure::BadPartner { result });
            }
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoUintr => f.write_str("the processor has no user interrupts"),
            Self::NoCompletion(error) => write!(f, "{error}"),
            Self::BadResult(BadResult { result }) => {
                write!(f, "the server returned {result:#x}")
            }
            Self::BadPartner { result } => {
                write!(f, "the server answered UintrInit with {result:#x}")
            }
            Self::PostRefused => f.write_str("the server's UPID is damaged"),
        }
    }
}
