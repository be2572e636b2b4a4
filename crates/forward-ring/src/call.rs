// SPDX-License-Identifier: MIT OR Apache-2.0
//! The client's own calls, which are not Linux's: their numbers and arguments. `docs/interfaces.md`, "Ring", is the table.

use core::fmt;

use crate::Message;

/// Numbers of the calls that are not Linux's. Those up to 100 are NimbOS's forwarding protocol, second version, and stand
/// where Linux has calls that are never forwarded. Read, write, open and close have the same numbers in both.
pub mod opcode {
    /// Read from a file: Linux's number.
    pub const READ: u32 = 0;
    /// Write to a file: Linux's number.
    pub const WRITE: u32 = 1;
    /// Open a file: Linux's number.
    pub const OPEN: u32 = 2;
    /// Close a file: Linux's number.
    pub const CLOSE: u32 = 3;
    /// What a file is: Linux's number.
    pub const FSTAT: u32 = 5;
    /// A process has forked.
    pub const FORK: u32 = 57;
    /// A process runs another program.
    pub const EXEC: u32 = 59;
    /// A process has ended.
    pub const EXIT: u32 = 60;
    /// Exchange of UPID slots.
    pub const UINTR_INIT: u32 = 100;
    /// Nothing: the cost of the way itself.
    pub const NULL: u32 = 101;
    /// One of the server's counters.
    pub const COUNTERS: u32 = 102;
    /// A process gets a ring of its own.
    pub const RING_OPEN: u32 = 103;
    /// A process's ring is not used any more.
    pub const RING_CLOSE: u32 = 104;
    /// The client ends.
    pub const END: u32 = 105;
}

/// Results of calls that were refused, Linux's numbers.
pub mod errno {
    /// The other side is gone, or has answered what is no answer.
    pub const EIO: i64 = -5;
    /// Invalid argument.
    pub const EINVAL: i64 = -22;
    /// A path that is too long.
    pub const ENAMETOOLONG: i64 = -36;
    /// Unknown opcode.
    pub const ENOSYS: i64 = -38;
}

/// A call of the client's own. [`Message::process`] is the process that it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// The process has forked: `child` shares its open files.
    Fork {
        /// The new process; a process of this number is over.
        child: u32,
    },
    /// The process runs another program: files with the close-on-exec flag are closed.
    Exec,
    /// The process has ended: its files are closed.
    Exit {
        /// Exit status.
        status: i32,
    },
    /// Tells one of the client's UPID slots that completions may be posted to; the result is a [`UintrReply`].
    UintrInit {
        /// The client's UPID slot.
        slot: u32,
        /// The user vector to post there.
        vector: u32,
    },
    /// Does nothing.
    Null,
    /// Returns a counter of the server.
    Counters {
        /// 0 VM exits of the server's cell, 1 notifications received, 2 notifications sent, 3 open files of all
        /// processes, 4 processes, 5 calls under way in workers, 6 targets of notifications.
        index: u64,
    },
    /// The process gets ring `ring`, which both sides have emptied or empty now. From then on user vector `ring` of the
    /// server announces its requests.
    RingOpen {
        /// The ring's number, from 1.
        ring: u32,
        /// The client's UPID slot for completions of this ring.
        slot: u32,
        /// The user vector to post there.
        vector: u32,
    },
    /// The ring is not used any more. What is under way in it gets no completion.
    RingClose {
        /// The ring's number.
        ring: u32,
    },
    /// The client ends; so does the server after its reply.
    End {
        /// Exit status of the client's first process.
        status: i32,
    },
}

/// Why a request is not a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallError {
    /// No such opcode.
    UnknownOpcode {
        /// The opcode.
        opcode: u32,
    },
    /// An argument that is out of range.
    InvalidArgument {
        /// Its position.
        index: u8,
        /// Its value.
        value: u64,
    },
}

impl Call {
    /// Returns the call as a request, about no process.
    // On the way of calls that are known where they are made: nothing is left to choose there.
    #[inline(always)]
    pub fn encode(&self) -> Message {
        // Sign-extended, as a register holds it.
        let int = |value: i32| i64::from(value) as u64;
        match *self {
            Self::Fork { child } => Message::new(opcode::FORK, &[child.into()]),
            Self::Exec => Message::new(opcode::EXEC, &[]),
            Self::Exit { status } => Message::new(opcode::EXIT, &[int(status)]),
            Self::UintrInit { slot, vector } => {
                Message::new(opcode::UINTR_INIT, &[slot.into(), vector.into()])
            }
            Self::Null => Message::new(opcode::NULL, &[]),
            Self::Counters { index } => Message::new(opcode::COUNTERS, &[index]),
            Self::RingOpen { ring, slot, vector } => Message::new(
                opcode::RING_OPEN,
                &[ring.into(), slot.into(), vector.into()],
            ),
            Self::RingClose { ring } => Message::new(opcode::RING_CLOSE, &[ring.into()]),
            Self::End { status } => Message::new(opcode::END, &[int(status)]),
        }
    }

    /// Returns the call, with numbers that fit their types. Arguments that the call does not have are ignored.
    pub fn decode(message: &Message) -> Result<Self, CallError> {
        let arguments = Arguments { args: message.args };
        Ok(match message.opcode {
            opcode::FORK => Self::Fork {
                child: arguments.unsigned(0)?,
            },
            opcode::EXEC => Self::Exec,
            opcode::EXIT => Self::Exit {
                status: arguments.int(0)?,
            },
            opcode::UINTR_INIT => Self::UintrInit {
                slot: arguments.unsigned(0)?,
                vector: arguments.unsigned(1)?,
            },
            opcode::NULL => Self::Null,
            opcode::COUNTERS => Self::Counters {
                index: message.args[0],
            },
            opcode::RING_OPEN => Self::RingOpen {
                ring: arguments.unsigned(0)?,
                slot: arguments.unsigned(1)?,
                vector: arguments.unsigned(2)?,
            },
            opcode::RING_CLOSE => Self::RingClose {
                ring: arguments.unsigned(0)?,
            },
            opcode::END => Self::End {
                status: arguments.int(0)?,
            },
            opcode => return Err(CallError::UnknownOpcode { opcode }),
        })
    }
}

/// Arguments as the other side gave them.
struct Arguments {
    args: [u64; 6],
}

impl Arguments {
    fn int(&self, index: u8) -> Result<i32, CallError> {
        let value = self.args[usize::from(index)];
        // A client may hand on a 32-bit register, sign-extended or not.
        let narrow = value as i32;
        if value == u64::from(narrow as u32) || value == i64::from(narrow) as u64 {
            Ok(narrow)
        } else {
            Err(CallError::InvalidArgument { index, value })
        }
    }

    fn unsigned(&self, index: u8) -> Result<u32, CallError> {
        let value = self.args[usize::from(index)];
        u32::try_from(value).map_err(|_| CallError::InvalidArgument { index, value })
    }
}

impl CallError {
    /// Returns the result that the client gets.
    pub fn errno(&self) -> i64 {
        match self {
            Self::UnknownOpcode { .. } => errno::ENOSYS,
            Self::InvalidArgument { .. } => errno::EINVAL,
        }
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownOpcode { opcode } => write!(f, "no call has the number {opcode}"),
            Self::InvalidArgument { index, value } => {
                write!(f, "argument {index} is out of range: {value:#x}")
            }
        }
    }
}

impl core::error::Error for CallError {}

/// Result of [`Call::UintrInit`]: where the client posts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UintrReply {
    /// The server's UPID slot.
    pub slot: u8,
    /// The user vector to post there.
    pub vector: u8,
}

impl UintrReply {
    /// Returns the result that goes into the completion.
    pub fn encode(self) -> i64 {
        i64::from(self.vector) << 8 | i64::from(self.slot)
    }

    /// Returns slot and vector of a result, or `None` if it is an error or not of this form. Whether the slot exists
    /// is for the caller to check.
    pub fn decode(result: i64) -> Option<Self> {
        let [slot, vector] = u16::try_from(result).ok()?.to_le_bytes();
        Some(Self { slot, vector })
    }
}
