// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a request says, whatever call it is.

/// A request's content. Who receives it checks everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// What is asked; see [`crate::opcode`].
    pub opcode: u32,
    /// The client's process that asks: whose files the call means. The server ignores it in a ring that belongs to one
    /// process.
    pub process: u32,
    /// UPID slot of the client's side that the completion is posted to. The server ignores it in a ring that belongs to
    /// one process.
    pub reply_slot: u32,
    /// Arguments; see [`crate::syscall::Signature`].
    pub args: [u64; 6],
}

impl Message {
    /// Returns a request of the client itself, without process.
    #[inline]
    pub fn new(opcode: u32, args: &[u64]) -> Self {
        let mut message = Self {
            opcode,
            ..Self::default()
        };
        for (to, from) in message.args.iter_mut().zip(args) {
            *to = *from;
        }
        message
    }
}
