// SPDX-License-Identifier: MIT OR Apache-2.0
//! The co-kernel: guest-nimbos/kernel/src/interrupts.rs and channel/mod.rs.

use std::sync::Arc;

use forward_ring::{Client, WaitError};

use crate::channel::{Channel, End};
use crate::processor::{NOTIFICATION, TIMER};

/// The co-kernel with its end of a channel. It runs on the current thread.
#[derive(Debug)]
pub struct Nimbos {
    pub client: End<Client>,
    /// Number of the next call whose completion is waited for.
    pub completed: u32,
}

impl Nimbos {
    /// Starts on the current thread.
    pub fn start(channel: &Arc<Channel>) -> Self {
        Self {
            client: channel.client(),
            completed: 0,
        }
    }

    /// The rest of `Channel::travel`: waits for the completion of the oldest call.
    pub fn wait_for_completion(&mut self) -> Result<(), WaitError> {
        let channel = Arc::clone(&self.client.channel);
        let completion = self
            .client
            .wait(|| channel.is_server_ready(), || wait(&channel))?;
        assert_eq!(self.client.completed(completion), self.completed);
        self.completed += 1;
        Ok(())
    }
}

/// `Interrupts::wait`: interrupts are disabled but for HLT.
fn wait(channel: &Channel) {
    // if let Some(vector) = cpu::wait_for_interrupt()
    // self.handle(vector);
    handle(channel, channel.machine.nimbos.halt());
}

/// `Interrupts::handle`.
fn handle(channel: &Channel, vector: u8) {
    match vector {
        NOTIFICATION => {
            // NOTIFICATION => self.take_notification()
            let _ = channel.client_upid.take_requests();
        }
        TIMER => {}
        _ => panic!("unexpected interrupt {vector}"),
    }
}
