// SPDX-License-Identifier: MIT OR Apache-2.0
//! The channel to the cell that serves calls: its sessions, and the ring between the two.
//!
//! ```text
//! Waiting --a call is wanted, server ready--> Greeted --accepted--> Registering --UintrInit answered--> Connected
//!    ^                                           |                        |                                |
//!    +------- server gone, another server, ring broken: what is under way gets -EIO ----------------------+
//! Spoilt: the server cannot be worked with; until there is another.     Closed: for ever.
//! ```
//!
//! A call is put into the ring and SENDUIPI notifies the server; nobody waits here. The server's SENDUIPI raises
//! [`crate::interrupts::NOTIFICATION`], and the completions are taken. Nothing on the way is a VM exit. Only while it connects the
//! channel is looked at by the timer, because the server does not know yet whom to notify. What comes out of shared memory is
//! checked here or in `forward_ring`.

mod region;

pub use region::abandon;

use core::fmt;

use forward_ring::{Buffer, Call, Client, Geometry, Message, RingError, SLOTS, Token, UintrReply};
use hv_abi::channel::UPID_SLOTS;
use hv_abi::{ChannelInfo, text};
use nimbos::abi::Errno;
use uintr::{USER_VECTORS, Upid};

use crate::arch::cpu::Features;
use crate::arch::sender::Sender;
use crate::interrupts::TICKS_PER_SECOND;
use region::Region;

/// User vector that the server posts in all our UPID slots. Any would do: this kernel looks at the ring.
const REPLY_VECTOR: u32 = 0;
/// Ticks between two lines that tell of waiting.
const PROGRESS_TICKS: u64 = 5 * TICKS_PER_SECOND as u64;
/// How many ticks a call waits for another server when one was lost.
const PATIENCE_TICKS: u64 = 5 * TICKS_PER_SECOND as u64;
/// Tokens that only the kernel's own messages get: were all with calls that block, the end of the processes that made them could
/// not be told, and the calls would never end.
const KERNEL_TOKENS: usize = 1;

/// The client's end of a channel.
pub struct Channel {
    name: &'static str,
    region: Region,
    client: Client,
    /// Tokens that are neither in the ring nor with anybody.
    free: usize,
    sender: Sender,
    has_uintr: bool,
    logs_path: bool,
    state: State,
    /// Number of the session, 0 before the first. No two sessions in a row have the same.
    session: u32,
    /// Ticks for which calls have been waiting for a session.
    waited: u64,
    /// Whether a session is over whose calls have not got their error yet.
    has_lost_session: bool,
    /// Whether a session is over: from then on calls wait for the next one for a limited time.
    had_server: bool,
    size: u64,
    /// The server's UPID, once it has named it.
    server: Option<&'static Upid>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// There is no session.
    Waiting,
    /// The server was greeted.
    Greeted,
    /// UintrInit for the boot CPU's slot is under way.
    Registering,
    /// Notifications work both ways.
    Connected,
    /// The server has broken the rules in a way that greeting it again would not cure.
    Spoilt,
    /// For ever.
    Closed,
}

/// Why a session is over, or the channel closed.
#[derive(Clone, Copy, Debug)]
pub enum Failure {
    /// The processor cannot notify.
    NoUintr,
    /// The server has gone, or another one has come.
    ServerGone,
    /// What the server has published is no ring.
    Ring(RingError),
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
            free: SLOTS,
            sender: Sender::take()?,
            has_uintr: features.has_uintr,
            logs_path,
            state: State::Waiting,
            session: 0,
            waited: 0,
            has_lost_session: false,
            had_server: false,
            size: info.size,
            server: None,
        })
    }

    /// Tells the server that we are there: all UPID slots in use are ready. If it serves a kernel that was here before, it is to
    /// give that one's calls up now, and not only when this one makes its first.
    pub fn announce(&mut self) {
        self.client.announce();
        self.region.set_ready(true);
    }

    /// Returns the UPID slot of the CPU `cpu`.
    pub fn inbox(&self, cpu: usize) -> &'static Upid {
        self.region.own_upid(cpu)
    }

    /// Returns the UPID of the session's server.
    pub fn server(&self) -> Option<&'static Upid> {
        self.server.filter(|_| self.is_connected())
    }

    /// Returns the channel's size in bytes, from which the layout of all rings follows.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns the number of rings; the first one is the kernel's.
    pub fn ring_count(&self) -> usize {
        self.client.geometry().ring_count()
    }

    /// Returns the memory of a ring that is not the first: address and length.
    pub fn ring_memory(&self, ring: usize) -> Option<(u64, u64)> {
        self.region.ring_memory(ring, self.client.geometry())
    }

    /// Empties a ring, which is not the first and nobody uses.
    pub fn clear_ring(&self, ring: usize) {
        self.region.clear_ring(ring, self.client.geometry());
    }

    /// Tells whether calls can be made.
    #[inline(always)]
    pub fn is_connected(&self) -> bool {
        self.state == State::Connected
    }

    /// Tells whether no call can be made any more.
    #[inline(always)]
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Returns the number of the session, 0 before the first.
    #[inline(always)]
    pub fn session(&self) -> u32 {
        self.session
    }

    /// Tells whether a session is over whose calls have not got their error yet.
    #[inline(always)]
    pub fn has_lost_session(&self) -> bool {
        self.has_lost_session
    }

    /// The calls of the session that is over get their error now.
    pub fn acknowledge_loss(&mut self) {
        self.has_lost_session = false;
    }

    /// Returns the number of notifications sent.
    pub fn sent(&self) -> u64 {
        self.sender.sent()
    }

    /// Takes a token for a program's call, or returns `None` if there is none now: all are in use, or there is no session. A
    /// closed channel gives -EIO.
    #[inline(always)]
    pub fn reserve(&mut self) -> Result<Option<Token>, Errno> {
        if self.has_token() {
            return Ok(self.take_token());
        }
        match self.state {
            State::Closed => Err(Errno::Io),
            _ => Ok(None),
        }
    }

    /// Takes a token for a message of the kernel's own.
    pub fn reserve_for_kernel(&mut self) -> Option<Token> {
        self.is_connected().then(|| self.take_token())?
    }

    /// Tells whether a program's call can be made at once.
    #[inline(always)]
    pub fn has_token(&self) -> bool {
        self.is_connected() && self.free > KERNEL_TOKENS
    }

    #[inline(always)]
    fn take_token(&mut self) -> Option<Token> {
        let token = self.client.reserve().ok()?;
        self.free -= 1;
        Some(token)
    }

    /// Returns a call's buffer.
    pub fn buffer(&self, token: &Token) -> Buffer<'_> {
        self.client.buffer(token)
    }

    /// Gives a token back.
    #[inline(always)]
    pub fn release(&mut self, token: Token) {
        self.free += 1;
        self.client.release(token);
    }

    /// Puts a call into the ring and notifies the server, unless it has yet to look at an earlier one. If that fails, the session
    /// is over.
    #[inline(always)]
    pub fn submit(&mut self, token: Token, message: &Message) -> Result<(), Errno> {
        // Before the server can see the call, and answer it.
        if self.logs_path {
            self.log_call(message);
        }
        let submitted = self.client.submit(token, message);
        if !submitted.notify || self.sender.send() {
            Ok(())
        } else {
            Err(self.drop_session(Failure::PostRefused))
        }
    }

    #[cold]
    fn log_call(&self, message: &Message) {
        say!("path: call {}, sent before {}", message.opcode, self.sent());
    }

    /// Takes the next completion. If the server breaks the ring, the session is over.
    #[inline(always)]
    pub fn take_completion(&mut self) -> Option<(Token, i64)> {
        match self.client.poll() {
            Ok(completion) => completion,
            Err(error) => {
                self.drop_session(Failure::Ring(error));
                None
            }
        }
    }

    /// Tells whether the server of the session still serves. Looked at before the ring: a server that completes and goes is not
    /// one that has gone without.
    pub fn is_server_there(&self) -> bool {
        self.region.is_server_ready() && !self.client.is_server_new()
    }

    /// Tells whether there was a session and a server is there for another one, which is yet to begin.
    pub fn is_about_to_connect(&self) -> bool {
        let is_on_the_way = !matches!(self.state, State::Connected | State::Spoilt | State::Closed);
        is_on_the_way && self.had_server && self.region.is_server_ready()
    }

    /// What the timer has to do while there is no session: goes on with connecting if a call is wanted, or once there was a
    /// session. Returns whether the calls that wait have waited long enough.
    pub fn tick(&mut self, is_wanted: bool) -> bool {
        if is_wanted || self.had_server {
            self.connect();
        }
        if !is_wanted || self.is_connected() || self.is_closed() {
            self.waited = 0;
            return false;
        }
        self.waited += 1;
        if !self.had_server && self.waited.is_multiple_of(PROGRESS_TICKS) {
            let seconds = self.waited / u64::from(TICKS_PER_SECOND);
            say!("channel '{}': no server for {seconds} s", self.name);
        }
        self.had_server && self.waited >= PATIENCE_TICKS
    }

    /// Goes on with connecting. Until the server has answered UintrInit, both sides poll.
    pub fn connect(&mut self) {
        match self.state {
            State::Waiting if !self.has_uintr => self.close_for(Failure::NoUintr),
            State::Waiting => {
                if self.region.is_server_ready() && self.client.greet() {
                    self.free = SLOTS;
                    self.state = State::Greeted;
                }
            }
            State::Greeted | State::Registering | State::Spoilt if !self.is_server_there() => {
                self.state = State::Waiting;
            }
            State::Greeted if self.client.is_accepted() => self.ask_server(),
            State::Registering => self.take_answer(),
            State::Greeted | State::Spoilt | State::Connected | State::Closed => {}
        }
    }

    /// Makes the last call, and waits for its completion by calling `idle` again and again, which waits for an interrupt and
    /// makes the inbox ready. What else completes meanwhile is thrown away. Whatever the server answers, this is the end.
    pub fn finish(&mut self, call: Call, mut idle: impl FnMut()) {
        let mut token = self.take_token();
        let mut last = None;
        loop {
            if let Some(token) = token.take() {
                last = Some(token.number());
                if self.submit(token, &call.encode()).is_err() {
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
        self.state = State::Closed;
        self.region.set_ready(false);
    }

    /// Closes the channel for a reason.
    fn close_for(&mut self, failure: Failure) {
        say!("channel '{}' is closed: {failure}", self.name);
        self.close();
    }

    /// Ends the session, and returns what its calls get.
    #[cold]
    pub fn drop_session(&mut self, failure: Failure) -> Errno {
        if self.is_connected() || self.state == State::Registering {
            say!("channel '{}': session over: {failure}", self.name);
            (self.has_lost_session, self.had_server) = (true, true);
            self.state = match failure {
                Failure::ServerGone => State::Waiting,
                // A server that does so in the middle may do better from the beginning.
                Failure::Ring(_) if self.is_connected() => State::Waiting,
                _ => State::Spoilt,
            };
            self.waited = 0;
        }
        Errno::Io
    }

    /// Returns the call that tells the server to post for a CPU.
    pub fn uintr_init(cpu: usize) -> Call {
        Call::UintrInit {
            slot: cpu as u32,
            vector: REPLY_VECTOR,
        }
    }

    fn ask_server(&mut self) {
        // No call has been made in this session, so there is a token.
        if let Some(token) = self.take_token() {
            // Nobody knows yet whom to notify.
            let _ = self.client.submit(token, &Self::uintr_init(0).encode());
            self.state = State::Registering;
        }
    }

    fn take_answer(&mut self) {
        if let Some((token, result)) = self.take_completion() {
            self.release(token);
            self.use_partner(result);
        }
    }

    fn use_partner(&mut self, result: i64) {
        let partner = UintrReply::decode(result).filter(|partner| {
            usize::from(partner.slot) < UPID_SLOTS && partner.vector < USER_VECTORS
        });
        let is_set = partner.is_some_and(|UintrReply { slot, vector }| {
            let upid = self.region.server_upid(slot.into());
            self.server = Some(upid);
            self.sender.set_target(upid, vector).is_ok()
        });
        if !is_set {
            self.drop_session(Failure::BadPartner { result });
            return;
        }
        self.state = State::Connected;
        self.session = self.session.wrapping_add(1).max(1);
        self.waited = 0;
        say!("channel '{}' is connected", self.name);
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoUintr => f.write_str("the processor has no user interrupts"),
            Self::ServerGone => f.write_str("the server is gone"),
            Self::Ring(error) => write!(f, "{error}"),
            Self::BadPartner { result } => {
                write!(f, "the server answered UintrInit with {result:#x}")
            }
            Self::PostRefused => f.write_str("the server's UPID is damaged"),
        }
    }
}
