// SPDX-License-Identifier: MIT OR Apache-2.0
//! `exec`: another program in the same process.
//!
//! A name without a slash is a program of the archive, which is loaded at once. A path is a file of the Linux cell: opened,
//! looked at and read by forwarded calls, one after the other; the file is collected in memory of the kernel, then loaded like
//! the others. Until the new program is in memory, the old one can go on with an error. Then the process's other threads end, the
//! channel's server closes what is to be closed, the file just read among it, and the calling thread goes on at the new program's
//! beginning.

use forward_ring::{Buffer, Message, opcode};
use nimbos::abi::Errno;
use nimbos::archive;

use super::alarms::Alarm;
use super::forward::Request;
use super::{Kernel, Outcome};
use crate::load::{Image, LoadError};
use crate::memory::{PageBox, Pages};
use crate::process::program_name;
use crate::thread::{State, ThreadNo, Wait};
use crate::user_space::UserSpace;

/// Bytes of path and arguments together, with their NULs.
const MAX_TEXT: usize = 8192;
/// Most arguments.
const MAX_ARGUMENTS: usize = 256;
/// Size of the largest file.
const MAX_FILE: usize = 4 << 20;
/// Memory for a file to begin with; doubled when it is full.
const FIRST_FILE: usize = 256 << 10;
/// Linux's O_RDONLY | O_CLOEXEC.
const OPEN_FLAGS: u64 = 0o2_000_000;
/// Where `st_mode` stands in Linux's `struct stat`, and what it says: the kind of the file, and who may execute it.
const MODE_OFFSET: usize = 24;
const MODE_KIND: u32 = 0o170_000;
const MODE_REGULAR: u32 = 0o100_000;
const MODE_EXECUTE: u32 = 0o111;
const PAGE: usize = nimbos::layout::PAGE_LEN as usize;

/// The program that a thread is about to become.
#[derive(Debug)]
pub struct Exec {
    /// The path and then the arguments, each with its NUL.
    text: Pages,
    len: usize,
    path_len: usize,
    stage: Stage,
    file: Option<Pages>,
    file_len: usize,
    /// Its `st_mode`.
    mode: u32,
    image: Option<Image>,
}

/// How far a program from Linux is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Opening,
    /// Whether it may be executed.
    Checking {
        fd: u64,
    },
    Reading {
        fd: u64,
    },
    /// After something has failed.
    Closing {
        fd: u64,
        failure: i64,
    },
}

impl Exec {
    fn new() -> Option<Self> {
        Some(Self {
            text: Pages::allocate(MAX_TEXT / PAGE)?,
            len: 0,
            path_len: 0,
            stage: Stage::Opening,
            file: None,
            file_len: 0,
            mode: 0,
            image: None,
        })
    }

    /// Reads path and arguments of the program that calls.
    fn read_text(&mut self, space: &UserSpace, path: u64, argv: u64) -> Result<(), Errno> {
        self.read_string(space, path).map_err(|errno| match errno {
            Errno::TooBig => Errno::NameTooLong,
            errno => errno,
        })?;
        self.path_len = self.len - 1;
        if self.path_len == 0 {
            return Err(Errno::NoEntry);
        }
        if argv == 0 {
            let (path, rest) = self.text.bytes_mut().split_at_mut(self.len);
            let copy = rest.get_mut(..path.len()).ok_or(Errno::TooBig)?;
            copy.copy_from_slice(path);
            self.len *= 2;
            return Ok(());
        }
        for number in 0..MAX_ARGUMENTS as u64 {
            let mut pointer = [0; 8];
            let place = argv.checked_add(8 * number).ok_or(Errno::Fault)?;
            space.read(place, &mut pointer)?;
            match u64::from_le_bytes(pointer) {
                0 => return Ok(()),
                address => self.read_string(space, address)?,
            }
        }
        Err(Errno::TooBig)
    }

    /// Adds a string and its NUL.
    fn read_string(&mut self, space: &UserSpace, address: u64) -> Result<(), Errno> {
        let room = &mut self.text.bytes_mut()[self.len..];
        let limit = room.len();
        let len = space
            .read_string(address, limit, |offset, piece| {
                room[offset..][..piece.len()].copy_from_slice(piece);
            })
            .map_err(|errno| match errno {
                Errno::NameTooLong => Errno::TooBig,
                errno => errno,
            })?;
        self.len += len + 1;
        Ok(())
    }

    /// Returns the path.
    pub fn path(&self) -> &[u8] {
        &self.text.bytes()[..self.path_len]
    }

    fn arguments(&self) -> impl Iterator<Item = &[u8]> + Clone {
        let text = &self.text.bytes()[..self.len];
        // What is behind the last NUL is no argument.
        let strings = text.strip_suffix(&[0]).unwrap_or(text);
        strings.split(|&byte| byte == 0).skip(1)
    }

    /// Puts what the next step needs into its buffer, and returns the message and the largest result. Offset 0 of the buffer is
    /// the only address in it.
    pub fn step(&self, buffer: &Buffer<'_>) -> Result<(Message, i64), i64> {
        Ok(match self.stage {
            Stage::Opening => {
                let path = &self.text.bytes()[..=self.path_len];
                let written = buffer.write(0, path);
                written.map_err(|_| Errno::NameTooLong as i64)?;
                let message = Message::new(opcode::OPEN, &[0, OPEN_FLAGS]);
                (message, i32::MAX.into())
            }
            Stage::Checking { fd } => (Message::new(opcode::FSTAT, &[fd, 0]), 0),
            Stage::Reading { fd } => {
                let len = buffer.len();
                let message = Message::new(opcode::READ, &[fd, 0, len as u64]);
                (message, len as i64)
            }
            Stage::Closing { fd, .. } => (Message::new(opcode::CLOSE, &[fd]), 0),
        })
    }

    /// Takes what a step with this result has put into the buffer. Steps that have failed have put nothing there.
    pub fn take_answer(&mut self, result: i64, buffer: Buffer<'_>) -> Result<(), Errno> {
        let Ok(count) = usize::try_from(result) else {
            return Ok(());
        };
        match self.stage {
            Stage::Checking { .. } => {
                let mut mode = [0; 4];
                let read = buffer.read(MODE_OFFSET, &mut mode);
                self.mode = u32::from_le_bytes(mode);
                read.map_err(|_| Errno::Io)
            }
            Stage::Reading { .. } => self.take_bytes(count, buffer),
            Stage::Opening | Stage::Closing { .. } => Ok(()),
        }
    }

    /// Takes `count` bytes of the file.
    fn take_bytes(&mut self, count: usize, buffer: Buffer<'_>) -> Result<(), Errno> {
        let len = self.file_len + count;
        if len > MAX_FILE {
            return Err(Errno::TooBig);
        }
        let has_room = self.file.as_ref().is_some_and(|file| len <= file.len());
        if !has_room {
            let bytes = len.next_power_of_two().max(FIRST_FILE);
            let mut larger = Pages::allocate(bytes / PAGE).ok_or(Errno::NoMemory)?;
            if let Some(old) = &self.file {
                larger.bytes_mut()[..self.file_len].copy_from_slice(&old.bytes()[..self.file_len]);
            }
            self.file = Some(larger);
        }
        if let Some(file) = &mut self.file {
            let place = &mut file.bytes_mut()[self.file_len..len];
            buffer.read(0, place).map_err(|_| Errno::Io)?;
        }
        self.file_len = len;
        Ok(())
    }

    /// Tells, once it is known, whether Linux would execute the file for its superuser.
    fn is_executable(&self) -> bool {
        self.mode & MODE_KIND == MODE_REGULAR && self.mode & MODE_EXECUTE != 0
    }

    /// Loads the file that was collected, and gives back its memory. `result` is that of the last read.
    fn finish_reading(&mut self, result: i64) -> Result<Image, i64> {
        if result != 0 {
            return Err(result);
        }
        let file = self.file.take();
        let bytes = file.as_ref().map_or(&[][..], Pages::bytes);
        let image = Image::load(&bytes[..self.file_len], self.arguments());
        image.map_err(|error| error.errno() as i64)
    }
}

impl Kernel {
    /// Begins to turn the process of a thread that runs into another program.
    pub fn exec(&mut self, thread: ThreadNo, [path, argv]: [u64; 2]) -> Outcome {
        match self.begin_exec(thread, path, argv) {
            Ok(outcome) => outcome,
            Err(errno) => {
                self.threads[thread].exec = None;
                Outcome::Return(errno as i64)
            }
        }
    }

    fn begin_exec(&mut self, thread: ThreadNo, path: u64, argv: u64) -> Result<Outcome, Errno> {
        let process = self.threads[thread].process;
        let mut exec = Exec::new().and_then(PageBox::new).ok_or(Errno::NoMemory)?;
        exec.read_text(self.processes[process].space(), path, argv)?;
        if exec.path().contains(&b'/') {
            self.threads[thread].exec = Some(exec);
            return Ok(self.forward(thread, Request::ExecStep));
        }
        let name = core::str::from_utf8(exec.path()).map_err(|_| Errno::NoEntry)?;
        let archive = self.archive.ok_or(Errno::NoEntry)?;
        let file = archive::find(archive, name).map_err(|error| LoadError::from(error).errno())?;
        let image = Image::load(file, exec.arguments()).map_err(|error| error.errno())?;
        exec.image = Some(image.with_file(file));
        self.threads[thread].exec = Some(exec);
        self.replace_program(thread);
        Ok(Outcome::Wait)
    }

    /// Goes on after the answer to one of the calls.
    pub fn go_on_with_exec(&mut self, thread: ThreadNo, result: i64) {
        let is_connected = self.is_connected();
        let Some(exec) = &mut self.threads[thread].exec else {
            return self.finish_call(thread, result);
        };
        let next = match exec.stage {
            Stage::Opening if result < 0 => return self.fail_exec(thread, result),
            Stage::Opening => Stage::Checking { fd: result as u64 },
            // The file has gone with the server.
            Stage::Checking { .. } | Stage::Reading { .. } if !is_connected => {
                return self.fail_exec(thread, result);
            }
            Stage::Checking { fd } if result == 0 && exec.is_executable() => Stage::Reading { fd },
            Stage::Checking { fd } => Stage::Closing {
                fd,
                failure: if result < 0 {
                    result
                } else {
                    Errno::Access as i64
                },
            },
            Stage::Reading { fd } if result > 0 => Stage::Reading { fd },
            Stage::Reading { fd } => match exec.finish_reading(result) {
                Ok(image) => {
                    exec.image = Some(image);
                    return self.replace_program(thread);
                }
                Err(failure) => Stage::Closing { fd, failure },
            },
            Stage::Closing { failure, .. } => return self.fail_exec(thread, failure),
        };
        exec.stage = next;
        self.forward_for_waiting(thread, Request::ExecStep);
    }

    fn fail_exec(&mut self, thread: ThreadNo, result: i64) {
        self.threads[thread].exec = None;
        self.finish_call(thread, result);
    }

    /// Ends the process's other threads and goes on in the new program as soon as they have ended.
    fn replace_program(&mut self, thread: ThreadNo) {
        self.threads[thread].state = State::Waiting(Wait::Alone);
        let process = self.threads[thread].process;
        self.kill_threads(process, Some(thread));
        self.replace_if_alone(thread);
    }

    /// Goes on in the new program, if the thread is the only one of its process.
    pub fn replace_if_alone(&mut self, thread: ThreadNo) {
        let process = self.threads[thread].process;
        if self.processes[process].threads != 1 {
            return;
        }
        let Some(mut exec) = self.threads[thread].exec.take() else {
            return;
        };
        let Some(Image {
            space,
            entry,
            stack_pointer,
        }) = exec.image.take()
        else {
            return;
        };
        self.leave_space(process);
        self.end_receiver(thread);
        self.end_senders(process);
        let owner = &mut self.processes[process];
        owner.name = program_name(exec.path());
        owner.space = Some(space);
        owner.alarm = Alarm::OFF;
        let id = owner.id;
        let thread_entry = &mut self.threads[thread];
        thread_entry.id = id;
        thread_entry.context().restart(entry, stack_pointer);
        if self.is_known(process) {
            self.forward_for_waiting(thread, Request::Exec);
        } else {
            self.threads.make_ready(thread);
        }
    }
}
