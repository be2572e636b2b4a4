// SPDX-License-Identifier: MIT OR Apache-2.0
//! The client's files: which processes it has, which descriptors each of them, and which open files those share.
//!
//! Descriptors of this process stay private to it: a client's number is a place in its process's table and nothing
//! else. All tables have fixed sizes, so that the handler need not allocate.

mod descriptions;
mod process;

use std::os::fd::{AsRawFd, BorrowedFd};

pub use descriptions::{Closing, Id, Kind};
pub use process::NUMBERS;
use process::{Entry, Life, Process, Table};

use crate::syscall::error;

/// Most processes of a client, with those whose calls are yet to end.
pub const PROCESSES: usize = 128;

/// A process's place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(usize);

/// A number that a call under way will give to the file that it opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reserved {
    /// The number in the process's table.
    pub number: i32,
    id: Id,
}

/// The files of all processes.
#[derive(Debug)]
pub struct Files {
    descriptions: descriptions::Descriptions,
    processes: Box<[Process]>,
}

impl Files {
    /// Starts without processes; `root` is every process's first working directory.
    pub fn new(root: BorrowedFd<'_>) -> Self {
        Self {
            descriptions: descriptions::Descriptions::new(root.as_raw_fd()),
            processes: vec![Process::NONE; PROCESSES].into(),
        }
    }

    /// Returns the process with this number. One that is not known yet begins with this process's standard files;
    /// EAGAIN if there are too many.
    pub fn process(&mut self, number: u32) -> Result<Place, i64> {
        // Small numbers, as processes have them, are found at once.
        let first = number as usize % PROCESSES;
        let found = (0..PROCESSES)
            .map(|i| (first + i) % PROCESSES)
            .find(|&place| self.is_alive(place, number));
        match found {
            Some(place) => Ok(Place(place)),
            None => self.begin(number),
        }
    }

    /// Returns the process with this number, if it is known.
    pub fn known(&self, number: u32) -> Option<Place> {
        (0..PROCESSES)
            .find(|&place| self.is_alive(place, number))
            .map(Place)
    }

    fn is_alive(&self, place: usize, number: u32) -> bool {
        let process = &self.processes[place];
        process.number == number && process.life == Life::Alive
    }

    fn begin(&mut self, number: u32) -> Result<Place, i64> {
        let first = number as usize % PROCESSES;
        let place = (0..PROCESSES)
            .map(|i| (first + i) % PROCESSES)
            .find(|&place| self.processes[place].life == Life::None)
            .ok_or(error(libc::EAGAIN))?;
        let process = &mut self.processes[place];
        *process = Process::NONE;
        (process.number, process.life) = (number, Life::Alive);
        for standard in 0..3 {
            let id = Id::standard(standard);
            self.descriptions.share(id);
            *process
                .table
                .place(standard.into())
                .expect("0 to 2 are numbers of every table") = Some(Entry {
                id,
                closes_on_exec: false,
                is_reserved: false,
            });
        }
        self.descriptions.share(process.directory);
        Ok(Place(place))
    }

    /// Makes process `child`, which does not exist, with the files of `parent`.
    pub fn fork(&mut self, parent: u32, child: u32, closing: &mut Closing) -> Result<(), i64> {
        let from = self.process(parent)?;
        let to = self.begin(child)?;
        let Process {
            table, directory, ..
        } = &self.processes[from.0];
        let (table, directory) = (table.forked(), *directory);
        for id in table.files().chain([directory]) {
            self.descriptions.share(id);
        }
        let process = &mut self.processes[to.0];
        let first = std::mem::replace(&mut process.table, table);
        let first_directory = std::mem::replace(&mut process.directory, directory);
        for id in first.files().chain([first_directory]) {
            self.descriptions.end_use(id, closing);
        }
        Ok(())
    }

    /// Closes what an exec closes.
    pub fn exec(&mut self, process: u32, closing: &mut Closing) -> Result<(), i64> {
        let place = self.process(process)?;
        for entry in self.processes[place.0]
            .table
            .take(|entry| entry.closes_on_exec)
        {
            self.descriptions.end_use(entry.id, closing);
        }
        Ok(())
    }

    /// Ends a process and its files. If calls of it are under way, returns its place, which stays taken until the last of
    /// them has been given to [`Self::leave`].
    pub fn end(&mut self, number: u32, closing: &mut Closing) -> Option<Place> {
        let place = self.known(number)?;
        let process = &mut self.processes[place.0];
        for entry in process.table.take(|_| true) {
            self.descriptions.end_use(entry.id, closing);
        }
        self.descriptions.end_use(process.directory, closing);
        process.life = match process.calls {
            0 => Life::None,
            _ => Life::Ended,
        };
        (process.calls != 0).then_some(place)
    }

    /// Ends all processes. No calls are under way.
    pub fn end_all(&mut self, closing: &mut Closing) {
        for place in 0..PROCESSES {
            if self.processes[place].life == Life::Alive {
                self.end(self.processes[place].number, closing);
            }
        }
    }

    /// Counts a call of the process that goes to a worker.
    pub fn enter(&mut self, place: Place) {
        self.processes[place.0].calls += 1;
    }

    /// Counts a call that has come back; returns whether it was the last of a process that has ended.
    pub fn leave(&mut self, place: Place) -> bool {
        let process = &mut self.processes[place.0];
        process.calls -= 1;
        let is_over = process.calls == 0 && process.life == Life::Ended;
        if is_over {
            process.life = Life::None;
        }
        is_over
    }

    /// Tells whether the process has not ended.
    pub fn lives(&self, place: Place) -> bool {
        self.processes[place.0].life == Life::Alive
    }

    /// Returns the open file of a descriptor; EBADF.
    pub fn find(&self, place: Place, number: i32) -> Result<Id, i64> {
        Ok(self.processes[place.0].table.file(number)?.id)
    }

    /// Returns the working directory.
    pub fn directory(&self, place: Place) -> Id {
        self.processes[place.0].directory
    }

    /// Makes `id` the working directory.
    pub fn set_directory(&mut self, place: Place, id: Id, closing: &mut Closing) {
        let before = std::mem::replace(&mut self.processes[place.0].directory, id);
        self.descriptions.end_use(before, closing);
    }

    /// Returns a description for a file that is not to have a number.
    pub fn reserve_unnumbered(&mut self) -> Result<Id, i64> {
        self.descriptions.reserve()
    }

    /// Takes the lowest free number for a file that is about to be opened.
    pub fn reserve(&mut self, place: Place, closes_on_exec: bool) -> Result<Reserved, i64> {
        let table = &mut self.processes[place.0].table;
        let number = table.lowest_free(0)?;
        let id = self.descriptions.reserve()?;
        *table.place(number).expect("the table has this number") = Some(Entry {
            id,
            closes_on_exec,
            is_reserved: true,
        });
        Ok(Reserved { number, id })
    }

    /// Gives a reserved number its file.
    pub fn settle(&mut self, place: Place, reserved: Reserved, fd: i32, kind: Kind) {
        self.descriptions.fill(reserved.id, fd, kind);
        if let Some(Some(entry)) = self.processes[place.0].table.place(reserved.number) {
            entry.is_reserved = false;
        }
    }

    /// Gives a reserved number up. `fd` is a file that was opened nevertheless, for a process that has ended.
    pub fn abandon(
        &mut self,
        place: Place,
        reserved: Reserved,
        fd: Option<i32>,
        closing: &mut Closing,
    ) {
        if let Some(fd) = fd {
            self.descriptions.fill(reserved.id, fd, Kind::Other);
        }
        if let Some(entry) = self.processes[place.0].table.place(reserved.number) {
            *entry = None;
        }
        self.descriptions.end_use(reserved.id, closing);
    }

    /// Closes a descriptor.
    pub fn close(&mut self, place: Place, number: i32, closing: &mut Closing) -> Result<(), i64> {
        let table = &mut self.processes[place.0].table;
        let id = table.file(number)?.id;
        *table
            .place(number)
            .expect("a number with a file is in the table") = None;
        self.descriptions.end_use(id, closing);
        Ok(())
    }

    /// Gives the open file of `number` another number, the lowest free one from `from` up.
    pub fn duplicate(
        &mut self,
        place: Place,
        number: i32,
        from: u64,
        closes_on_exec: bool,
    ) -> Result<i32, i64> {
        let table = &mut self.processes[place.0].table;
        let id = table.file(number)?.id;
        let from = usize::try_from(from)
            .ok()
            .filter(|&from| from < NUMBERS)
            .ok_or(error(libc::EINVAL))?;
        let free = table.lowest_free(from)?;
        self.put(place, free, id, closes_on_exec);
        Ok(free)
    }

    /// Makes `to` the open file of `number`, and closes what it was; EBUSY where a call is about to open it.
    pub fn duplicate_to(
        &mut self,
        place: Place,
        number: i32,
        to: i32,
        closes_on_exec: bool,
        closing: &mut Closing,
    ) -> Result<i32, i64> {
        let table = &mut self.processes[place.0].table;
        let id = table.file(number)?.id;
        if number == to {
            return Ok(to);
        }
        let before = *table.place(to).ok_or(error(libc::EBADF))?;
        if before.is_some_and(|entry| entry.is_reserved) {
            return Err(error(libc::EBUSY));
        }
        self.put(place, to, id, closes_on_exec);
        if let Some(entry) = before {
            self.descriptions.end_use(entry.id, closing);
        }
        Ok(to)
    }

    fn put(&mut self, place: Place, number: i32, id: Id, closes_on_exec: bool) {
        self.descriptions.share(id);
        let entry = self.processes[place.0].table.place(number);
        *entry.expect("the caller has checked the number") = Some(Entry {
            id,
            closes_on_exec,
            is_reserved: false,
        });
    }

    /// Tells whether an exec closes the descriptor.
    pub fn closes_on_exec(&self, place: Place, number: i32) -> Result<bool, i64> {
        Ok(self.processes[place.0].table.file(number)?.closes_on_exec)
    }

    /// Says whether an exec closes the descriptor.
    pub fn set_closes_on_exec(
        &mut self,
        place: Place,
        number: i32,
        closes: bool,
    ) -> Result<(), i64> {
        let table = &mut self.processes[place.0].table;
        table.file(number)?;
        if let Some(Some(entry)) = table.place(number) {
            entry.closes_on_exec = closes;
        }
        Ok(())
    }

    /// Returns the descriptor of this process, and the kind.
    pub fn file(&self, id: Id) -> (i32, Kind) {
        self.descriptions.file(id)
    }

    /// Gives a description that was reserved its file.
    pub fn fill(&mut self, id: Id, fd: i32, kind: Kind) {
        self.descriptions.fill(id, fd, kind);
    }

    /// Counts a call that uses an open file.
    pub fn hold(&mut self, id: Id) {
        self.descriptions.share(id);
    }

    /// Ends [`Self::hold`].
    pub fn let_go(&mut self, id: Id, closing: &mut Closing) {
        self.descriptions.end_use(id, closing);
    }

    /// Takes the next file that is to be closed.
    pub fn next_to_close(&mut self, closing: &mut Closing) -> Option<i32> {
        self.descriptions.next_to_close(closing)
    }

    /// Returns the number of open files.
    pub fn open_count(&self) -> u64 {
        self.descriptions.open()
    }

    /// Returns the number of processes.
    pub fn process_count(&self) -> u64 {
        let is_there = |process: &&Process| process.life != Life::None;
        self.processes.iter().filter(is_there).count() as u64
    }
}

const _: () = assert!(size_of::<Table>() <= 4096);
