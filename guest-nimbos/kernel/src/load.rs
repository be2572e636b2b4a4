// SPDX-License-Identifier: MIT OR Apache-2.0
//! From the file of a program to memory in which it can run.

use core::fmt;

use nimbos::abi::Errno;
use nimbos::archive::ArchiveError;
use nimbos::layout::{USER_END, USER_STACK_BOTTOM};
use nimbos::program::{Program, ProgramError};
use nimbos::stack;
use nimbos::user_memory::Rights;

use crate::arch::paging::OutOfMemory;
use crate::memory::PageBox;
use crate::user_space::UserSpace;

/// A program in memory that no thread has run yet.
#[derive(Debug)]
pub struct Image {
    /// Its memory.
    pub space: PageBox<UserSpace>,
    /// Where it begins.
    pub entry: u64,
    /// Its first stack pointer.
    pub stack_pointer: u64,
}

/// Why a program cannot be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadError {
    /// It cannot be taken out of the archive.
    Archive(ArchiveError),
    /// The file is not a program.
    Program(ProgramError),
    /// There is not enough memory.
    OutOfMemory,
    /// The arguments do not fit on the stack.
    ArgumentsTooLong,
}

impl Image {
    /// Loads the program in `file`, with arguments on its stack; the first is its name.
    pub fn load<'a>(
        file: &[u8],
        arguments: impl Iterator<Item = &'a [u8]> + Clone,
    ) -> Result<Self, LoadError> {
        let program = Program::parse(file)?;
        let mut space = PageBox::new(UserSpace::new()?).ok_or(OutOfMemory)?;
        for segment in program.segments() {
            let (start, end) = segment.pages();
            let memory = space.add(start, end, segment.rights)?;
            let offset = (segment.address - start) as usize;
            memory[offset..][..segment.data.len()].copy_from_slice(segment.data);
        }
        let memory = space.add(USER_STACK_BOTTOM, USER_END, Rights::Write)?;
        let stack_pointer =
            stack::put_arguments(memory, USER_END, arguments).ok_or(LoadError::ArgumentsTooLong)?;
        Ok(Self {
            space,
            entry: program.entry,
            stack_pointer,
        })
    }

    /// Remembers the program's file, which stays in memory, for the names of its functions.
    pub fn with_file(mut self, file: &'static [u8]) -> Self {
        self.space.set_file(file);
        self
    }
}

impl LoadError {
    /// Returns what `exec` says of it.
    pub fn errno(&self) -> Errno {
        match self {
            Self::Archive(ArchiveError::NotFound) => Errno::NoEntry,
            Self::Archive(_) => Errno::Io,
            Self::Program(_) => Errno::NotExecutable,
            Self::OutOfMemory => Errno::NoMemory,
            Self::ArgumentsTooLong => Errno::TooBig,
        }
    }
}

impl From<ArchiveError> for LoadError {
    fn from(error: ArchiveError) -> Self {
        Self::Archive(error)
    }
}

impl From<ProgramError> for LoadError {
    fn from(error: ProgramError) -> Self {
        Self::Program(error)
    }
}

impl From<OutOfMemory> for LoadError {
    fn from(_: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Archive(ArchiveError::NotFound) => f.write_str("not in the archive"),
            Self::Archive(error) => write!(f, "the archive is damaged: {error:?}"),
            Self::Program(error) => write!(f, "not a program: {error:?}"),
            Self::OutOfMemory => f.write_str("not enough memory"),
            Self::ArgumentsTooLong => f.write_str("the arguments do not fit on the stack"),
        }
    }
}
