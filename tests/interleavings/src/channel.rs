// SPDX-License-Identifier: MIT OR Apache-2.0
//! The memory that both sides share, and calls whose parts tell whether they belong together.
#![expect(unsafe_code, reason = "maps the model's memory")]

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use forward_ring::{Client, Message, ModelMemory, Request, Server, Token};
use loom::sync::atomic::{AtomicU32, Ordering};
use uintr::Upid;

use crate::processor::{Machine, NOTIFICATION, UINV};

/// User vector of calls and completions.
pub const USER_VECTOR: u8 = 0;

/// A channel and the machine that it is in.
#[derive(Debug)]
pub struct Channel {
    pub machine: Machine,
    pub client_upid: Upid,
    /// What a filtered server cell sees in place of `client_upid`.
    pub client_proxy: Upid,
    pub server_upid: Upid,
    server_state: AtomicU32,
    ring: ModelMemory,
}

/// One end of a channel's ring.
#[derive(Debug)]
pub struct End<T> {
    end: T,
    // Keeps the ring's memory.
    pub channel: Arc<Channel>,
}

impl Channel {
    /// Makes a channel of which both sides are ready: the state after UintrInit.
    pub fn new() -> Arc<Self> {
        let channel = Self {
            machine: Machine::new(),
            client_upid: Upid::default(),
            client_proxy: Upid::default(),
            server_upid: Upid::default(),
            server_state: AtomicU32::new(1),
            ring: ModelMemory::smallest(),
        };
        channel.client_upid.init(NOTIFICATION, 0);
        channel.server_upid.init(UINV, 0);
        Arc::new(channel)
    }

    /// Returns the client's end; called once, or again when the client of before is no more.
    pub fn client(self: &Arc<Self>) -> End<Client> {
        // SAFETY: the end keeps the channel.
        let end = Client::new(unsafe { self.ring.map() });
        End {
            end,
            channel: Arc::clone(self),
        }
    }

    /// Returns the server's end; called once, or again when the server of before is no more.
    pub fn server(self: &Arc<Self>) -> End<Server> {
        // SAFETY: the end keeps the channel.
        let end = Server::new(unsafe { self.ring.map() });
        End {
            end,
            channel: Arc::clone(self),
        }
    }

    /// `isthmus_set_state(channel, false)` of driver/channel.c.
    pub fn leave_as_server(&self) {
        self.server_state.store(0, Ordering::Release);
    }

    /// `isthmus_set_state(channel, true)`: another process serves.
    pub fn come_as_server(&self) {
        self.server_state.store(1, Ordering::Release);
    }

    /// `Region::is_server_ready` of the co-kernel.
    pub fn is_server_ready(&self) -> bool {
        self.server_state.load(Ordering::Acquire) == 1
    }
}

impl<T> Deref for End<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.end
    }
}

impl<T> DerefMut for End<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.end
    }
}

/// Returns the request of call `number`.
fn request(number: u32) -> Message {
    Message {
        opcode: number,
        process: number + 100,
        reply_slot: number + 200,
        args: [1, 2, 3, 4, 5, 6].map(|i| u64::from(number) * 10 + i),
    }
}

/// Returns the data of call `number`, at submission.
fn data(number: u32) -> [u8; 8] {
    (u64::from(number) + 1000).to_le_bytes()
}

/// Returns the data of call `number`, at completion.
fn reply(number: u32) -> [u8; 8] {
    (u64::from(number) + 2000).to_le_bytes()
}

impl End<Client> {
    /// Puts call `number` into the ring, which has room; returns whether the server wants to be notified.
    pub fn call(&mut self, number: u32) -> bool {
        let token = self.reserve().unwrap();
        self.buffer(&token).write(0, &data(number)).unwrap();
        self.submit(token, &request(number)).notify
    }

    /// Puts call `number` into the ring and notifies the server if it wants to be.
    pub fn call_and_notify(&mut self, number: u32) {
        if self.call(number) {
            let channel = &self.channel;
            channel.machine.senduipi(&channel.server_upid, USER_VECTOR);
        }
    }

    /// Checks that a completion is whole, and returns the number of its call.
    pub fn completed(&mut self, (token, result): (Token, i64)) -> u32 {
        let number = u32::try_from(result).unwrap();
        let mut bytes = [0; 8];
        self.buffer(&token).read(0, &mut bytes).unwrap();
        assert_eq!(bytes, reply(number), "the completion's data are torn");
        self.release(token);
        number
    }
}

impl End<Server> {
    /// Checks that a request is whole and completes it; returns the number of its call, and whether the client wants to be
    /// notified.
    pub fn serve(&mut self, request: Request) -> (u32, bool) {
        let number = request.message.opcode;
        assert_eq!(
            request.message,
            self::request(number),
            "the request is torn"
        );
        let mut bytes = [0; 8];
        self.buffer(&request.token).read(0, &mut bytes).unwrap();
        assert_eq!(bytes, data(number), "the request's data are torn");
        self.buffer(&request.token)
            .write(0, &reply(number))
            .unwrap();
        let notify = self.complete(request.token, number.into()).unwrap();
        (number, notify)
    }

    /// Serves a request and notifies the client if it wants to be; returns the number of the call.
    pub fn serve_and_notify(&mut self, request: Request) -> u32 {
        let (number, notify) = self.serve(request);
        if notify {
            let channel = &self.channel;
            channel.machine.senduipi(&channel.client_upid, USER_VECTOR);
        }
        number
    }
}
