// SPDX-License-Identifier: MIT OR Apache-2.0
//! Processes: the table.

use core::ops::{Index, IndexMut};

use nimbos::abi::{ProcessInfo, STDERR};

use crate::kernel::alarms::Alarm;
use crate::kernel::forward::Note;
use crate::memory::PageBox;
use crate::user_space::UserSpace;

/// Most processes, those that have ended and were not waited for included.
pub const MAX_PROCESSES: usize = 64;
/// Number of the first process for programs.
pub const INIT_ID: u32 = 1;
/// The descriptors that are the console of this cell when init starts: standard error, unless all three are.
const FIRST_CONSOLES: u64 = 1 << STDERR;

/// The number of a process in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessNo(u8);

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// The entry is free.
    Free,
    /// It has threads.
    Alive,
    /// It has ended with a status that its parent has not asked for.
    Zombie {
        /// The status.
        status: i32,
    },
    /// Nobody needs to know of it any more but the channel's server, which is yet to be told.
    Departed,
}

/// A process.
#[derive(Debug)]
pub struct Process {
    /// Its number for programs.
    pub id: u32,
    /// Its parent's number for programs, 0 for init.
    pub parent: u32,
    /// What it does.
    pub life: Life,
    /// How many threads it has.
    pub threads: u32,
    /// It ends with this status as soon as it has no threads.
    pub ending: Option<i32>,
    /// Name of its program, padded with zeroes.
    pub name: [u8; ProcessInfo::NAME_LEN],
    /// Ticks of the timer that found it running.
    pub cpu_ticks: u64,
    /// Its memory, as long as it is alive.
    pub space: Option<PageBox<UserSpace>>,
    /// The session in which the channel's server knows it, 0 for none.
    pub session: u32,
    /// What that server is yet to be told.
    pub note: Note,
    /// A bit for each of its first descriptors: whether it is the console of this cell.
    consoles: u64,
    /// Its alarm.
    pub alarm: Alarm,
}

/// All processes.
#[derive(Debug)]
pub struct Processes {
    entries: [Process; MAX_PROCESSES],
}

impl Processes {
    /// Returns a table without processes.
    pub const fn new() -> Self {
        Self {
            entries: [const { Process::free() }; MAX_PROCESSES],
        }
    }

    /// Finds a free entry.
    pub fn find_free(&self) -> Option<ProcessNo> {
        self.find(|process| process.life == Life::Free)
    }

    /// Finds a process, alive or not, by its number for programs.
    pub fn find_id(&self, id: u32) -> Option<ProcessNo> {
        self.find(|process| process.life != Life::Free && process.id == id)
    }

    /// Finds an entry.
    pub fn find(&self, is_it: impl FnMut(&Process) -> bool) -> Option<ProcessNo> {
        let number = self.entries.iter().position(is_it)?;
        Some(ProcessNo(number as u8))
    }

    /// Returns all processes, alive or not, with their numbers.
    pub fn all(&self) -> impl Iterator<Item = (ProcessNo, &Process)> {
        let numbers = (0..MAX_PROCESSES as u8).map(ProcessNo);
        numbers
            .zip(&self.entries)
            .filter(|(_, process)| !matches!(process.life, Life::Free | Life::Departed))
    }

    /// Returns the entries of all processes, to be changed.
    pub fn all_mut(&mut self) -> impl Iterator<Item = &mut Process> {
        self.entries
            .iter_mut()
            .filter(|process| process.life != Life::Free)
    }
}

impl Process {
    const fn free() -> Self {
        Self {
            id: 0,
            parent: 0,
            life: Life::Free,
            threads: 0,
            ending: None,
            name: [0; ProcessInfo::NAME_LEN],
            cpu_ticks: 0,
            space: None,
            session: 0,
            note: Note::Nothing,
            consoles: FIRST_CONSOLES,
            alarm: Alarm::OFF,
        }
    }

    /// Returns a process that has no threads yet.
    pub fn new(id: u32, parent: u32, name: [u8; ProcessInfo::NAME_LEN]) -> Self {
        Self {
            id,
            parent,
            life: Life::Alive,
            name,
            ..Self::free()
        }
    }

    /// Returns a process without threads that is about to have the same files as this one.
    pub fn child(&self, id: u32) -> Self {
        Self {
            consoles: self.consoles,
            ..Self::new(id, self.id, self.name)
        }
    }

    /// Tells whether a descriptor is the console of this cell.
    #[inline(always)]
    pub fn is_console(&self, fd: u64) -> bool {
        fd < u64::BITS.into() && self.consoles >> fd & 1 != 0
    }

    /// Says whether a descriptor is the console of this cell. Those from 64 on never are.
    pub fn set_console(&mut self, fd: u64, is_console: bool) {
        if fd < u64::BITS.into() {
            self.consoles = self.consoles & !(1 << fd) | u64::from(is_console) << fd;
        }
    }

    /// Makes the entry free as soon as the channel's server knows of the end, and gives back what the process had.
    pub fn depart(&mut self) {
        if self.note == Note::Nothing {
            self.clear();
        } else {
            (self.life, self.parent) = (Life::Departed, 0);
        }
    }

    /// Makes the entry free, and gives back what the process had.
    pub fn clear(&mut self) {
        *self = Self::free();
    }

    /// Returns the memory.
    ///
    /// # Panics
    /// If the process is not alive.
    pub fn space(&self) -> &UserSpace {
        self.space.as_ref().expect("the process is alive")
    }

    /// Returns the memory, to be changed.
    ///
    /// # Panics
    /// If the process is not alive.
    pub fn space_mut(&mut self) -> &mut UserSpace {
        self.space.as_mut().expect("the process is alive")
    }
}

impl ProcessNo {
    /// The entry at the beginning.
    pub const FIRST: Self = Self(0);

    /// Returns the numbers of all entries.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..MAX_PROCESSES as u8).map(Self)
    }

    /// Returns the entry's place in the table.
    pub fn index(self) -> usize {
        self.0.into()
    }
}

impl Index<ProcessNo> for Processes {
    type Output = Process;

    fn index(&self, number: ProcessNo) -> &Process {
        &self.entries[number.index()]
    }
}

impl IndexMut<ProcessNo> for Processes {
    fn index_mut(&mut self, number: ProcessNo) -> &mut Process {
        &mut self.entries[number.index()]
    }
}

/// Returns the name of the program at `path`: what stands behind the last slash, cut where it is too long.
pub fn program_name(path: &[u8]) -> [u8; ProcessInfo::NAME_LEN] {
    let last = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
    let len = last.len().min(ProcessInfo::NAME_LEN - 1);
    let mut name = [0; ProcessInfo::NAME_LEN];
    name[..len].copy_from_slice(&last[..len]);
    name
}
