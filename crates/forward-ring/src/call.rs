// SPDX-License-Identifier: MIT OR Apache-2.0
//! The calls: their numbers and arguments. `docs/interfaces.md`, "Ring", is the table.

use core::fmt;

/// Numbers of the calls. Those up to 100 are NimbOS's forwarding protocol, second version.
pub mod opcode {
    /// Read from a file.
    pub const READ: u32 = 0;
    /// Write to a file.
    pub const WRITE: u32 = 1;
    /// Open a file.
    pub const OPEN: u32 = 2;
    /// Close a file.
    pub const CLOSE: u32 = 3;
    /// End of the client's program.
    pub const EXIT: u32 = 60;
    /// Exchange of UPID slots.
    pub const UINTR_INIT: u32 = 100;
    /// Nothing: the cost of the way itself.
    pub const NULL: u32 = 101;
    /// One of the server's counters.
    pub const COUNTERS: u32 = 102;
}

/// Results of calls that were refused, Linux's numbers.
pub mod errno {
    /// Invalid argument.
    pub const EINVAL: i64 = -22;
    /// Unknown opcode.
    pub const ENOSYS: i64 = -38;
}

/// A call with its arguments. Data lies in the call's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Reads at most `len` bytes of `fd` into the buffer.
    Read {
        /// File descriptor.
        fd: i32,
        /// Bytes, at most the buffer's length.
        len: u32,
    },
    /// Writes `len` bytes of the buffer to `fd`.
    Write {
        /// File descriptor.
        fd: i32,
        /// Bytes, at most the buffer's length.
        len: u32,
    },
    /// Opens the file whose path is in the buffer, without NUL.
    Open {
        /// Bytes of the path, at most the buffer's length.
        path_len: u32,
        /// Linux's flags.
        flags: i32,
        /// Permissions of a file that is created.
        mode: u32,
    },
    /// Closes `fd`.
    Close {
        /// File descriptor.
        fd: i32,
    },
    /// The client's program has ended; so does the server after its reply.
    Exit {
        /// Exit status.
        status: i32,
    },
    /// Tells the client's UPID slot; the result is a [`UintrReply`].
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
        /// 0 VM exits of the server's cell, 1 notifications received, 2 notifications sent.
        index: u64,
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
    /// Returns opcode and arguments as they go into the ring.
    #[inline]
    pub fn encode(&self) -> (u32, [u64; 4]) {
        // Sign-extended, as a register holds it.
        let int = |value: i32| i64::from(value) as u64;
        match *self {
            Self::Read { fd, len } => (opcode::READ, [int(fd), len.into(), 0, 0]),
            Self::Write { fd, len } => (opcode::WRITE, [int(fd), len.into(), 0, 0]),
            Self::Open {
                path_len,
                flags,
                mode,
            } => (opcode::OPEN, [path_len.into(), int(flags), mode.into(), 0]),
            Self::Close { fd } => (opcode::CLOSE, [int(fd), 0, 0, 0]),
            Self::Exit { status } => (opcode::EXIT, [int(status), 0, 0, 0]),
            Self::UintrInit { slot, vector } => {
                (opcode::UINTR_INIT, [slot.into(), vector.into(), 0, 0])
            }
            Self::Null => (opcode::NULL, [0; 4]),
            Self::Counters { index } => (opcode::COUNTERS, [index, 0, 0, 0]),
        }
    }

    /// Returns the call, with lengths of at most `buffer_len` and numbers that fit their types. Arguments that the
    /// call does not have are ignored.
    pub fn decode(number: u32, args: [u64; 4], buffer_len: usize) -> Result<Self, CallError> {
        let arguments = Arguments { args, buffer_len };
        Ok(match number {
            opcode::READ => Self::Read {
                fd: arguments.int(0)?,
                len: arguments.len(1)?,
            },
            opcode::WRITE => Self::Write {
                fd: arguments.int(0)?,
                len: arguments.len(1)?,
            },
            opcode::OPEN => Self::Open {
                path_len: arguments.len(0)?,
                flags: arguments.int(1)?,
                mode: arguments.unsigned(2)?,
            },
            opcode::CLOSE => Self::Close {
                fd: arguments.int(0)?,
            },
            opcode::EXIT => Self::Exit {
                status: arguments.int(0)?,
            },
            opcode::UINTR_INIT => Self::UintrInit {
                slot: arguments.unsigned(0)?,
                vector: arguments.unsigned(1)?,
            },
            opcode::NULL => Self::Null,
            opcode::COUNTERS => Self::Counters { index: args[0] },
            opcode => return Err(CallError::UnknownOpcode { opcode }),
        })
    }
}

/// Arguments as the other side gave them.
struct Arguments {
    args: [u64; 4],
    buffer_len: usize,
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

    fn len(&self, index: u8) -> Result<u32, CallError> {
        let len = self.unsigned(index)?;
        if len as usize <= self.buffer_len {
            Ok(len)
        } else {
            Err(CallError::InvalidArgument {
                index,
                value: len.into(),
            })
        }
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
