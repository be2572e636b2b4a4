// SPDX-License-Identifier: MIT OR Apache-2.0
//! Linux's calls: whose files they mean, and who makes them.
//!
//! What concerns descriptors only is done here. Calls on files in memory are made at once. All others go to workers: even
//! to open a file, or to make a socket, may wait for a disk.

use forward_ring::Message;
use forward_ring::syscall::{Arg, POLLFD_LEN, Signature};

use super::under_way::{Step, Then};
use super::{Machine, Service};
use crate::area::Area;
use crate::files::{Closing, Id, Kind, Place};
use crate::number;
use crate::syscall::error;
use crate::work::{self, Call, Job, Poll, PollFd};

impl<M: Machine> Service<M> {
    pub(super) fn linux_call(
        &mut self,
        ring: usize,
        token: u32,
        message: &Message,
        signature: &'static Signature,
        area: Area,
        closing: &mut Closing,
    ) -> Step {
        let checked = signature.check(&message.args, area.len());
        let prepared = checked
            .map_err(|error| error.errno())
            .and_then(|()| self.process(ring, message));
        let place = match prepared {
            Ok(place) => place,
            Err(errno) => return Step::Done(errno),
        };
        if let Some(result) = self.descriptor_call(place, message, closing) {
            return Step::Done(result.unwrap_or_else(|errno| errno));
        }
        let mut call = Call {
            number: message.opcode,
            signature,
            args: message.args,
            area,
            base: None,
            poll: None,
        };
        match self.name_files(ring, token, place, &mut call) {
            Ok(Some(Kind::Memory)) if work::is_quick(call.number) => {
                let result = work::direct(&call);
                // It was held for a worker.
                self.let_go(ring, token, closing);
                Step::Done(result)
            }
            Ok(_) => self.give(ring, token, place, call, closing),
            Err(errno) => {
                self.let_go(ring, token, closing);
                Step::Done(errno)
            }
        }
    }

    /// Makes a call that is about descriptors alone; `None` if it is another.
    fn descriptor_call(
        &mut self,
        place: Place,
        message: &Message,
        closing: &mut Closing,
    ) -> Option<Result<i64, i64>> {
        let args = &message.args;
        let [first, second] = [args[0] as i32, args[1] as i32];
        let files = &mut self.files;
        let result = match message.opcode {
            number::CLOSE => files.close(place, first, closing).map(|()| 0),
            number::DUP => files.duplicate(place, first, 0, false),
            number::DUP2 => files.duplicate_to(place, first, second, false, closing),
            number::DUP3 if first == second || args[2] as i32 & !libc::O_CLOEXEC != 0 => {
                Err(error(libc::EINVAL))
            }
            number::DUP3 => files.duplicate_to(place, first, second, args[2] != 0, closing),
            number::FCNTL => return self.control(place, first, second, args[2]),
            _ => return None,
        };
        Some(result.map(i64::from))
    }

    /// `fcntl`, as far as descriptors go; `None` if the kernel has to do with it.
    fn control(
        &mut self,
        place: Place,
        fd: i32,
        command: i32,
        value: u64,
    ) -> Option<Result<i64, i64>> {
        let files = &mut self.files;
        let result = match command {
            libc::F_DUPFD => files.duplicate(place, fd, value, false).map(i64::from),
            libc::F_DUPFD_CLOEXEC => files.duplicate(place, fd, value, true).map(i64::from),
            libc::F_GETFD => files.closes_on_exec(place, fd).map(i64::from),
            libc::F_SETFD => {
                let closes = value & libc::FD_CLOEXEC as u64 != 0;
                files.set_closes_on_exec(place, fd, closes).map(|()| 0)
            }
            libc::F_GETFL | libc::F_SETFL => {
                let id = match files.find(place, fd) {
                    Ok(id) => id,
                    Err(errno) => return Some(Err(errno)),
                };
                Ok(self.status_flags(id, command, value))
            }
            _ => files.find(place, fd).and_then(|_| Err(error(libc::EINVAL))),
        };
        Some(result)
    }

    /// F_GETFL and F_SETFL, which do not wait.
    fn status_flags(&mut self, id: Id, command: i32, value: u64) -> i64 {
        let (fd, kind) = self.files.file(id);
        if command == libc::F_SETFL {
            // The standard files are shared with whoever started this process.
            if kind == Kind::Own {
                return error(libc::EPERM);
            }
            if value as i32 & (libc::O_ASYNC | libc::O_DIRECT) != 0 {
                return error(libc::EINVAL);
            }
        }
        crate::syscall::control_file(fd, command, value)
    }

    /// Puts this process's descriptors for the client's, and has the call keep their files. Returns the kind of the one
    /// that it works on.
    fn name_files(
        &mut self,
        ring: usize,
        token: u32,
        place: Place,
        call: &mut Call,
    ) -> Result<Option<Kind>, i64> {
        let mut kind = None;
        let directory = self.files.directory(place);
        for (index, arg) in call.signature.args.iter().enumerate() {
            let number = call.args[index] as i32;
            match *arg {
                Arg::Fd => {
                    let id = self.files.find(place, number)?;
                    self.hold(ring, token, id);
                    let (fd, found) = self.files.file(id);
                    call.args[index] = fd as u64;
                    kind = Some(found);
                }
                Arg::DirFd if number != libc::AT_FDCWD => {
                    // An absolute path does not need it, so that there is none is no error yet.
                    if let Ok(id) = self.files.find(place, number)
                        && self.files.file(id).1 != Kind::Own
                    {
                        self.hold(ring, token, id);
                        call.base = Some(self.files.file(id).0);
                    }
                }
                Arg::DirFd => self.begin_at(ring, token, directory, call),
                Arg::Path if index == 0 => self.begin_at(ring, token, directory, call),
                Arg::PollFds(n) => {
                    let count = call.args[usize::from(n)] as usize;
                    call.poll = Some(self.name_poll(ring, token, place, call, index, count)?);
                }
                _ => {}
            }
        }
        if call.number == number::GETCWD {
            self.begin_at(ring, token, directory, call);
        }
        Ok(kind)
    }

    fn begin_at(&mut self, ring: usize, token: u32, directory: Id, call: &mut Call) {
        self.hold(ring, token, directory);
        call.base = Some(self.files.file(directory).0);
    }

    fn name_poll(
        &mut self,
        ring: usize,
        token: u32,
        place: Place,
        call: &Call,
        index: usize,
        count: usize,
    ) -> Result<Poll, i64> {
        let mut poll = Poll {
            files: arrayvec::ArrayVec::new(),
            invalid: 0,
        };
        for i in 0..count {
            let mut bytes = [0; POLLFD_LEN];
            let offset = call.args[index] as usize + i * POLLFD_LEN;
            call.area
                .read(offset, &mut bytes)
                .ok_or(error(libc::EINVAL))?;
            let [a, b, c, d, e, f, ..] = bytes;
            let number = i32::from_ne_bytes([a, b, c, d]);
            let mut file = PollFd {
                fd: -1,
                events: i16::from_ne_bytes([e, f]),
                revents: 0,
            };
            match self.files.find(place, number) {
                Ok(id) => {
                    self.hold(ring, token, id);
                    file.fd = self.files.file(id).0;
                }
                Err(_) if number >= 0 => poll.invalid |= 1 << i,
                Err(_) => {}
            }
            poll.files.push(file);
        }
        Ok(poll)
    }

    /// Gives a call to its worker, with the numbers taken that its files will get.
    fn give(
        &mut self,
        ring: usize,
        token: u32,
        place: Place,
        call: Call,
        closing: &mut Closing,
    ) -> Step {
        let then = match self.reserve(place, &call, closing) {
            Ok(then) => then,
            Err(errno) => {
                self.let_go(ring, token, closing);
                return Step::Done(errno);
            }
        };
        self.files.enter(place);
        self.workers.give(ring, token, Job::Call(call));
        Step::Working { place, then }
    }

    fn reserve(&mut self, place: Place, call: &Call, closing: &mut Closing) -> Result<Then, i64> {
        // O_CLOEXEC and SOCK_CLOEXEC are one number.
        let closes = |flags: u64| flags as i32 & libc::O_CLOEXEC != 0;
        let args = &call.args;
        let files = &mut self.files;
        let flags = match call.number {
            number::OPEN | number::SOCKET | number::PIPE2 => args[1],
            number::OPENAT => args[2],
            number::ACCEPT4 => args[3],
            number::ACCEPT | number::PIPE => 0,
            number::CHDIR => return Ok(Then::Directory(files.reserve_unnumbered()?)),
            _ => return Ok(Then::Return),
        };
        let first = files.reserve(place, closes(flags))?;
        if ![number::PIPE, number::PIPE2].contains(&call.number) {
            return Ok(Then::Number(first));
        }
        match files.reserve(place, closes(flags)) {
            Ok(second) => Ok(Then::Numbers {
                ends: [first, second],
                offset: args[0] as usize,
            }),
            Err(errno) => {
                files.abandon(place, first, None, closing);
                Err(errno)
            }
        }
    }
}

const _: () = assert!(libc::O_CLOEXEC == libc::SOCK_CLOEXEC);
