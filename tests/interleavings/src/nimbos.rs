// SPDX-License-Identifier: MIT OR Apache-2.0
//! The co-kernel: guest-nimbos/kernel/src, interrupts.rs, kernel/schedule.rs and kernel/forward.

use std::sync::Arc;

use forward_ring::{Client, WaitError};

use crate::channel::{Channel, End};
use crate::processor::{NOTIFICATION, TIMER};

/// The co-kernel with its end of a channel. It runs on the current thread.
#[derive(Debug)]
pub struct Nimbos {
    pub client: End<Client>,
    /// How many calls have completed.
    completed: u32,
    /// How many of them a thread of the co-kernel has seen.
    seen: u32,
}

impl Nimbos {
    /// Starts on the current thread.
    pub fn start(channel: &Arc<Channel>) -> Self {
        Self {
            client: channel.client(),
            completed: 0,
            seen: 0,
        }
    }

    /// The only thread waits for the completion of its oldest call: the co-kernel idles.
    pub fn wait_for_completion(&mut self) -> Result<(), WaitError> {
        while self.completed == self.seen {
            self.idle()?;
        }
        self.seen += 1;
        Ok(())
    }

    /// `idle` of kernel/schedule.rs: interrupts are disabled but for HLT.
    fn idle(&mut self) -> Result<(), WaitError> {
        let channel = Arc::clone(&self.client.channel);
        // let event = cpu.interrupts.wait();
        let event = channel.machine.nimbos.halt();
        handle(&channel, event);
        // kernel.on_event(cpu, event, None);
        match event {
            NOTIFICATION => self.drain(),
            _ => self.tick_channel()?,
        }
        Ok(())
    }

    /// `Kernel::drain`.
    fn drain(&mut self) {
        // channel.take_completion()
        while let Some(completion) = self.client.poll().unwrap() {
            assert_eq!(self.client.completed(completion), self.completed);
            self.completed += 1;
        }
    }

    /// `Kernel::tick_channel`.
    fn tick_channel(&mut self) -> Result<(), WaitError> {
        // !channel.is_server_there()
        if !self.client.channel.is_server_ready() || self.client.is_server_new() {
            // self.drain();
            self.drain();
            // self.lose_calls();
            if self.client.in_flight() != 0 {
                return Err(WaitError::ServerGone);
            }
        }
        Ok(())
    }
}

/// `Interrupts::handle`.
fn handle(channel: &Channel, vector: u8) {
    match vector {
        NOTIFICATION => {
            // self.take_notification();
            let _ = channel.client_upid.take_requests();
        }
        TIMER => {}
        _ => panic!("unexpected interrupt {vector}"),
    }
}
