// SPDX-License-Identifier: MIT OR Apache-2.0
//! `exec`: another program in the same process.
//!
//! A name without a slash is a program of the archive, which is loaded at once. A path is a file of the Linux cell: opened, read
//! and closed by forwarded calls, one after the other; the file is collected in memory of the kernel, then loaded like the
//! others. Until the new program is in memory, the old one can go on with an error. Then the process's other threads end, and
//! the calling one goes on at the new program's beginning.

use forward_ring::{Buffer, Call};
use nimbos::abi::Errno;
use nimbos::archive;

use super::forward::{Forwarded, Input, Leftover, Output, Receipt};
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
    image: Option<Image>,
}

/// How far a program from Linux is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Opening,
    Reading {
        fd: i32,
    },
    /// What has failed before, or 0.
    Closing {
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

    /// Returns what an end of the thread leaves in the server while this call is under way.
    pub fn leftover(&self) -> Leftover {
        match self.stage {
            Stage::Opening => Leftover::Result,
            Stage::Reading { fd } => Leftover::File(fd),
            Stage::Closing { .. } => Leftover::Nothing,
        }
    }

    /// Takes the `count` bytes of the file that a read has put into the buffer. (Other calls have none.)
    pub fn take_bytes(&mut self, count: i64, buffer: Buffer<'_>) -> Result<(), Errno> {
        if !matches!(self.stage, Stage::Reading { .. }) {
            return Ok(());
        }
        let count = usize::try_from(count).map_err(|_| Errno::Io)?;
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

    /// Loads the file that was collected, and gives back its memory.
    fn load_collected(&mut self) -> Result<Image, LoadError> {
        let file = self.file.take();
        let bytes = file.as_ref().map_or(&[][..], Pages::bytes);
        Image::load(&bytes[..self.file_len], self.arguments())
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
            return Ok(self.forward(thread, open_program()));
        }
        let name = core::str::from_utf8(exec.path()).map_err(|_| Errno::NoEntry)?;
        let archive = self.archive.ok_or(Errno::NoEntry)?;
        let file = archive::find(archive, name).map_err(|error| LoadError::from(error).errno())?;
        let image = Image::load(file, exec.arguments()).map_err(|error| error.errno())?;
        exec.image = Some(image);
        self.threads[thread].exec = Some(exec);
        self.replace_program(thread);
        Ok(Outcome::Wait)
    }

    /// Goes on after the answer to one of the calls.
    pub fn go_on_with_exec(&mut self, thread: ThreadNo, result: i64) {
        let buffer_len = self.buffer_len() as u32;
        let Some(exec) = &mut self.threads[thread].exec else {
            return self.finish_call(thread, result);
        };
        let next = match exec.stage {
            Stage::Opening if result < 0 => return self.fail_exec(thread, result),
            Stage::Opening => read_program(exec, result as i32, buffer_len),
            Stage::Reading { fd } if result > 0 => read_program(exec, fd, buffer_len),
            Stage::Reading { fd } => {
                exec.stage = Stage::Closing { failure: result };
                exec_call(Call::Close { fd }, Input::Nothing, 0)
            }
            Stage::Closing { failure } => return self.finish_exec(thread, failure),
        };
        self.forward_for_waiting(thread, next);
    }

    /// The file is closed: loads it.
    fn finish_exec(&mut self, thread: ThreadNo, failure: i64) {
        let Some(exec) = &mut self.threads[thread].exec else {
            return;
        };
        if failure != 0 {
            return self.fail_exec(thread, failure);
        }
        match exec.load_collected() {
            Ok(image) => {
                exec.image = Some(image);
                self.replace_program(thread);
            }
            Err(error) => self.fail_exec(thread, error.errno() as i64),
        }
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
        let owner = &mut self.processes[process];
        owner.name = program_name(exec.path());
        owner.space = Some(space);
        let id = owner.id;
        let thread_entry = &mut self.threads[thread];
        thread_entry.id = id;
        thread_entry.context().restart(entry, stack_pointer);
        self.threads.make_ready(thread);
    }
}

fn exec_call(call: Call, input: Input, most: i64) -> Forwarded {
    let output = Output::Exec;
    Forwarded {
        call,
        input,
        receipt: Receipt { most, output },
    }
}

fn open_program() -> Forwarded {
    let call = Call::Open {
        path_len: 0,
        flags: 0,
        mode: 0,
    };
    exec_call(call, Input::ExecPath, i32::MAX.into())
}

fn read_program(exec: &mut Exec, fd: i32, buffer_len: u32) -> Forwarded {
    exec.stage = Stage::Reading { fd };
    let call = Call::Read {
        fd,
        len: buffer_len,
    };
    exec_call(call, Input::Nothing, buffer_len.into())
}
