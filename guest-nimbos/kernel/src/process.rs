// SPDX-License-Identifier: MIT OR Apache-2.0
//! A process: a program with its memory and registers.
#![expect(unsafe_code, reason = "runs user code")]

use core::fmt;

use nimbos::archive::{self, ArchiveError};
use nimbos::command_line::Init;
use nimbos::layout::{USER_END, USER_STACK_BOTTOM, USER_START};
use nimbos::program::{Program, ProgramError};
use nimbos::stack;
use nimbos::user_memory::Rights;

use crate::arch::paging::OutOfMemory;
use crate::arch::trap::{Exception, Trap, UserContext};
use crate::fault_report;
use crate::user_space::UserSpace;

/// A process.
#[derive(Debug)]
pub struct Process {
    id: u32,
    context: UserContext,
    space: UserSpace,
    /// Its program's file, for names.
    program: &'static [u8],
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

impl Process {
    /// Loads a program from the archive.
    pub fn load(id: u32, archive: &'static [u8], init: &Init<'_>) -> Result<Self, LoadError> {
        let file = archive::find(archive, init.name)?;
        let program = Program::parse(file)?;
        let mut space = UserSpace::new()?;
        for segment in program.segments() {
            let (start, end) = segment.pages();
            let memory = space.add(start, end, segment.rights)?;
            let offset = (segment.address - start) as usize;
            memory[offset..][..segment.data.len()].copy_from_slice(segment.data);
        }
        let memory = space.add(USER_STACK_BOTTOM, USER_END, Rights::Write)?;
        let stack_pointer = stack::put_arguments(memory, USER_END, init.arguments())
            .ok_or(LoadError::ArgumentsTooLong)?;
        Ok(Self {
            id,
            context: UserContext::new(program.entry, stack_pointer),
            space,
            program: file,
        })
    }

    /// Returns the process's number.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Returns the process's memory.
    pub fn space(&self) -> &UserSpace {
        &self.space
    }

    /// Returns the process's memory, to be changed.
    pub fn space_mut(&mut self) -> &mut UserSpace {
        &mut self.space
    }

    /// Says on the console why the process ends.
    pub fn report(&self, exception: &Exception) {
        let program = Some(self.program);
        fault_report::print(self.id, exception, &self.context, &self.space, program);
    }

    /// Sets what its system call returns.
    pub fn set_result(&mut self, result: i64) {
        self.context.set_result(result);
    }

    /// Runs the process until the next trap, or returns `None` if it would go on outside user space. (It gets there
    /// by a jump that ends in a page fault, or by SYSCALL as the last instruction of user space.)
    pub fn run(&mut self) -> Option<Trap> {
        if !(USER_START..USER_END).contains(&self.context.rip()) {
            return None;
        }
        self.space.activate();
        // SAFETY: the active address space is this process's, which `UserSpace` keeps to its own frames, and RIP has
        // been checked.
        Some(unsafe { self.context.run() })
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
