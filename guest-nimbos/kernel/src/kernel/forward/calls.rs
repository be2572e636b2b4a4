// SPDX-License-Identifier: MIT OR Apache-2.0
//! Linux's calls, as programs make them. What concerns a descriptor that is the console of this cell is done here, as far as
//! the server can have nothing to do with it.
//!
//! The server has a file of its own behind such a descriptor (standard error is its own), so that the numbers that it gives away
//! are right. A process's entry says which descriptors are the console instead; that follows dup, dup2 and close.

use forward_ring::syscall::{Arg, Signature, signature};
use nimbos::abi::{Errno, number};
use nimbos::layout::PAGE_LEN;
use nimbos::reply::clipped;
use nimbos::user_memory::Access;

use super::vector::{Direction, Vector};
use super::{After, Request};
use crate::console;
use crate::kernel::{Kernel, Outcome};
use crate::thread::ThreadNo;
use crate::user_space::UserSpace;

/// Bytes that are printed together.
const CONSOLE_PIECE: usize = 128;
/// Commands of fcntl that give a descriptor: Linux's F_DUPFD and F_DUPFD_CLOEXEC.
const COMMANDS_THAT_DUPLICATE: [u64; 2] = [0, 1030];

impl Kernel {
    /// Makes one of Linux's calls for a thread that runs.
    pub fn linux_call(&mut self, thread: ThreadNo, call: u64) -> Result<Outcome, Errno> {
        let args: [u64; 6] = self.threads[thread].context().arguments();
        let [fd, second, third, ..] = args;
        let is_console = self.process_of(thread).is_console(fd & FD_MASK);
        match call {
            number::READ if is_console => return self.read_console(thread, second, third),
            number::READV if is_console => return Err(Errno::BadFile),
            number::READV => return self.vector(thread, Direction::Read, [fd, second, third]),
            number::WRITEV if is_console => {
                let vector = Vector::new(Direction::Write, [fd, second, third])?;
                let space = self.process_of(thread).space();
                let write = |address, len| write_console(space, address, len);
                return vector.for_each(space, write).map(Outcome::Return);
            }
            number::WRITEV => return self.vector(thread, Direction::Write, [fd, second, third]),
            _ => {}
        }
        let number = u32::try_from(call).map_err(|_| Errno::NoSystemCall)?;
        let signature = signature(number).ok_or(Errno::NoSystemCall)?;
        let mut after = After::Nothing;
        if is_console && signature.args.first() == Some(&Arg::Fd) || is_duplicate(call) {
            match self.console_call(thread, call, args, is_console)? {
                Step::Done(result) => return Ok(Outcome::Return(result)),
                Step::Forward(then) => after = then,
            }
        }
        Ok(self.forward_linux(thread, number, signature, args, after))
    }

    fn forward_linux(
        &mut self,
        thread: ThreadNo,
        number: u32,
        signature: &'static Signature,
        args: [u64; 6],
        after: After,
    ) -> Outcome {
        self.forward(
            thread,
            Request::Linux {
                number,
                signature,
                args,
                after,
            },
        )
    }

    fn vector(
        &mut self,
        thread: ThreadNo,
        direction: Direction,
        args: [u64; 3],
    ) -> Result<Outcome, Errno> {
        let vector = Vector::new(direction, args)?;
        Ok(self.forward(thread, Request::Vector(vector)))
    }

    /// Does a call on a descriptor that is the console, or one that gives a descriptor another number, as far as it can be done
    /// here.
    fn console_call(
        &mut self,
        thread: ThreadNo,
        call: u64,
        [fd, second, third, ..]: [u64; 6],
        is_console: bool,
    ) -> Result<Step, Errno> {
        let process = self.threads[thread].process;
        let process = &mut self.processes[process];
        Ok(match call {
            number::WRITE => Step::Done(write_console(process.space(), second, third)?),
            number::CLOSE => {
                process.set_console(fd & FD_MASK, false);
                Step::Forward(After::Nothing)
            }
            number::FCNTL if !COMMANDS_THAT_DUPLICATE.contains(&second) => {
                Step::Forward(After::Nothing)
            }
            _ if is_duplicate(call) => Step::Forward(After::IsConsole(is_console)),
            _ => Step::Forward(After::Nothing),
        })
    }
}

/// What becomes of a call on the console.
enum Step {
    /// It is done.
    Done(i64),
    /// The server does it.
    Forward(After),
}

/// A descriptor is a C int: the upper half of its register does not matter.
const FD_MASK: u64 = 0xffff_ffff;

/// Tells whether the result of a call can be another number for the file of its first argument.
fn is_duplicate(call: u64) -> bool {
    matches!(
        call,
        number::DUP | number::DUP2 | number::DUP3 | number::FCNTL
    )
}

fn write_console(space: &UserSpace, address: u64, len: u64) -> Result<i64, Errno> {
    let len = clipped(len, PAGE_LEN as usize);
    space.check(address, len, Access::Read)?;
    let mut piece = [0; CONSOLE_PIECE];
    let mut done = 0;
    while done < len {
        let piece = &mut piece[..CONSOLE_PIECE.min(len - done)];
        space.read(address + done as u64, piece)?;
        console::write(piece);
        done += piece.len();
    }
    Ok(len as i64)
}
