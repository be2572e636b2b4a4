// SPDX-License-Identifier: MIT OR Apache-2.0
//! The channel to the cell that serves calls: its life, and how one call travels.
//!
//! ```text
//! Waiting --first call: server ready, UintrInit answered--> Connected --server gone, ring broken, end--> Closed
//! ```
//!
//! A call is put into the ring, SENDUIPI notifies the server, and the kernel idles until the completion is there; the
//! server's SENDUIPI raises [`crate::interrupts::NOTIFICATION`] and ends the idling. Nothing on the way is a VM exit. What
//! comes out of shared memory is checked here or in `forward_ring`.

mod region;

use core::fmt;

use forward_ring::{Buffer, Call, Client, Geometry, Token, UintrReply, WaitError};
use hv_abi::channel::UPID_SLOTS;
use hv_abi::{ChannelInfo, text};
use nimbos::abi::Errno;
use nimbos::reply::{self, BadResult};
use uintr::USER_VECTORS;

use crate::arch::cpu::Features;
use crate::arch::sender::Sender;
use crate::interrupts::{Interrupts, TICKS_PER_SECOND};
use region::Region;

/// Our UPID slot.
const OWN_SLOT: usize = 0;
/// User vector that the server posts in our UPID. Any would do: this kernel looks at the ring.
const OWN_USER_VECTOR: u32 = 0;
/// Ticks between two lines that tell of waiting.
const PROGRESS_TICKS: u64 = 5 * TICKS_PER_SECOND as u64;

/// The client's end of a channel.
pub struct Channel {
    name: &'static str,
    region: Region,
    client: Client,
    features: Features,
    state: State,
}

enum State {
    /// The server has not been heard of.
    Waiting,
    /// Notifications work both ways.
    Connected(Sender),
    /// For ever; keeps the number of notifications sent.
    Closed { sent: u64 },
}

/// Why a channel is closed.
#[derive(Clone, Copy, Debug)]
enum Failure {
    NoUintr,
    NoCompletion(WaitError),
    BadResult(BadResult),
    BadPartner { result: i64 },
    PostRefused,
}

impl Channel {
    /// Makes our side ready. The server is not needed before the first call.
    pub fn open(
        info: &'static ChannelInfo,
        features: Features,
        interrupts: &mut Interrupts,
    ) -> Option<Self> {
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
        interrupts.set_inbox(region.own_upid(OWN_SLOT));
        region.set_ready(true);
        Some(Self {
            name,
            region,
            client,
            features,
            state: State::Waiting,
        })
    }

    /// Tells whether calls can be made without waiting for the server to start.
    pub fn is_connected(&self) -> bool {
        matches!(self.state, State::Connected(_))
    }

    /// Returns the number of notifications sent.
    pub fn sent(&self) -> u64 {
        match &self.state {
            State::Waiting => 0,
            State::Connected(sender) => sender.sent(),
            State::Closed { sent } => *sent,
        }
    }

    /// Returns the length of a call's buffer.
    pub fn buffer_len(&self) -> usize {
        self.client.geometry().buffer_len()
    }

    /// Makes a call without data; see [`Self::call_with`].
    pub fn call(
        &mut self,
        interrupts: &mut Interrupts,
        call: Call,
        most: i64,
    ) -> Result<i64, Errno> {
        self.call_with(interrupts, call, most, |_| (), |_, _| ())
    }

    /// Makes a call. `put` fills its buffer before; `take` gets the buffer and the result, which is an error number or
    /// in `0..=most`. Waits for the server if this is the first call.
    pub fn call_with(
        &mut self,
        interrupts: &mut Interrupts,
        call: Call,
        most: i64,
        put: impl FnOnce(Buffer<'_>),
        take: impl FnOnce(Buffer<'_>, i64),
    ) -> Result<i64, Errno> {
        if matches!(self.state, State::Waiting) {
            self.connect(interrupts)?;
        }
        if !self.is_connected() {
            return Err(Errno::Io);
        }
        // One call at a time, and a closed channel makes none: there is always a token.
        let token = self.client.reserve().map_err(|_| Errno::Io)?;
        put(self.client.buffer(&token));
        let (token, result) = self.travel(interrupts, token, call)?;
        let checked = reply::checked(result, most);
        if checked.is_ok() {
            take(self.client.buffer(&token), result);
        }
        self.client.release(token);
        checked.map_err(|error| self.fail(Failure::BadResult(error)))
    }

    /// Leaves the channel: the server sees that nobody calls any more.
    pub fn close(&mut self) {
        self.state = State::Closed { sent: self.sent() };
        self.region.set_ready(false);
    }

    /// Waits for the server and exchanges UPID slots with it. Until that is done, both sides poll.
    fn connect(&mut self, interrupts: &mut Interrupts) -> Result<(), Errno> {
        if !self.features.has_uintr {
            return Err(self.fail(Failure::NoUintr));
        }
        self.wait_for_server(interrupts);
        let call = Call::UintrInit {
            slot: OWN_SLOT as u32,
            vector: OWN_USER_VECTOR,
        };
        let token = self.client.reserve().map_err(|_| Errno::Io)?;
        let (token, result) = self.travel(interrupts, token, call)?;
        self.client.release(token);
        let partner = UintrReply::decode(result).filter(|partner| {
            usize::from(partner.slot) < UPID_SLOTS && partner.vector < USER_VECTORS
        });
        let sender = partner.and_then(|UintrReply { slot, vector }| {
            Sender::new(self.features, self.region.server_upid(slot.into()), vector).ok()
        });
        let Some(sender) = sender else {
            return Err(self.fail(Failure::BadPartner { result }));
        };
        self.state = State::Connected(sender);
        say!("channel '{}' is connected", self.name);
        Ok(())
    }

    fn wait_for_server(&self, interrupts: &mut Interrupts) {
        let start = interrupts.ticks();
        let mut next_line = start + PROGRESS_TICKS;
        while !self.region.is_server_ready() {
            interrupts.wait();
            if interrupts.ticks() >= next_line {
                let seconds = (next_line - start) / u64::from(TICKS_PER_SECOND);
                say!("channel '{}': no server for {seconds} s", self.name);
                next_line += PROGRESS_TICKS;
            }
        }
    }

    /// Submits a call, notifies, and waits for its completion.
    fn travel(
        &mut self,
        interrupts: &mut Interrupts,
        token: Token,
        call: Call,
    ) -> Result<(Token, i64), Errno> {
        let (opcode, arguments) = call.encode();
        // Before the request is published: a server that has not gone to sleep takes it without being notified, and a
        // slow console would let it come twice before this kernel looks once.
        if interrupts.logs_path() {
            say!("path: call {opcode}, sent before {}", self.sent());
        }
        let submitted = self.client.submit(token, opcode, arguments);
        if let State::Connected(sender) = &mut self.state
            && submitted.notify
            && !sender.send()
        {
            return Err(self.fail(Failure::PostRefused));
        }
        self.client
            .wait(|| self.region.is_server_ready(), || interrupts.wait())
            .map_err(|error| self.fail(Failure::NoCompletion(error)))
    }

    fn fail(&mut self, failure: Failure) -> Errno {
        say!("channel '{}' is closed: {failure}", self.name);
        self.close();
        Errno::Io
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
