// SPDX-License-Identifier: MIT OR Apache-2.0
//! A process of the client, as far as files go: its descriptors and its working directory.

use super::descriptions::Id;
use crate::syscall;

/// Descriptors that a process can have, from 0 up.
pub const NUMBERS: usize = 256;

/// A descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The open file.
    pub id: Id,
    /// Whether an exec closes it (FD_CLOEXEC).
    pub closes_on_exec: bool,
    /// The call that opens it is under way: the number is taken, but there is no file yet.
    pub is_reserved: bool,
}

/// Descriptors of a process.
#[derive(Clone, Debug)]
pub struct Table([Option<Entry>; NUMBERS]);

impl Table {
    /// No descriptors.
    pub const EMPTY: Self = Self([None; NUMBERS]);

    /// Returns the open file of a descriptor; EBADF.
    pub fn file(&self, number: i32) -> Result<Entry, i64> {
        self.get(number)
            .filter(|entry| !entry.is_reserved)
            .ok_or(syscall::error(libc::EBADF))
    }

    /// Returns the entry of a number, reserved or not.
    pub fn get(&self, number: i32) -> Option<Entry> {
        let place = usize::try_from(number).ok()?;
        *self.0.get(place)?
    }

    /// Returns the place of a number that can be a descriptor.
    pub fn place(&mut self, number: i32) -> Option<&mut Option<Entry>> {
        let place = usize::try_from(number).ok()?;
        self.0.get_mut(place)
    }

    /// Returns the lowest free number from `from` up; EMFILE.
    pub fn lowest_free(&self, from: usize) -> Result<i32, i64> {
        let rest = self.0.get(from..).unwrap_or_default();
        match rest.iter().position(Option::is_none) {
            Some(place) => Ok((from + place) as i32),
            None => Err(syscall::error(libc::EMFILE)),
        }
    }

    /// Takes descriptors out for which `goes` says so.
    pub fn take(&mut self, goes: impl Fn(&Entry) -> bool) -> impl Iterator<Item = Entry> {
        self.0
            .iter_mut()
            .filter_map(move |place| place.take_if(|entry| !entry.is_reserved && goes(entry)))
    }

    /// Returns the descriptors that a new process gets of a fork.
    pub fn forked(&self) -> Self {
        Self(self.0.map(|entry| entry.filter(|entry| !entry.is_reserved)))
    }

    /// Returns all open files.
    pub fn files(&self) -> impl Iterator<Item = Id> {
        self.0
            .iter()
            .flatten()
            .filter(|entry| !entry.is_reserved)
            .map(|entry| entry.id)
    }
}

/// Whether a process is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// The place is free.
    None,
    /// It runs.
    Alive,
    /// It has ended, and calls of it are yet to leave their workers.
    Ended,
}

/// A process.
#[derive(Clone, Debug)]
pub struct Process {
    /// The client's number for it.
    pub number: u32,
    /// Whether it is there.
    pub life: Life,
    /// Calls under way in workers.
    pub calls: u32,
    /// Working directory.
    pub directory: Id,
    /// Descriptors.
    pub table: Table,
}

impl Process {
    /// A free place.
    pub const NONE: Self = Self {
        number: 0,
        life: Life::None,
        calls: 0,
        directory: Id::ROOT,
        table: Table::EMPTY,
    };
}
