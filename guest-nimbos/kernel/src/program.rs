// SPDX-License-Identifier: MIT OR Apache-2.0
//! Programs: ELF64 executables, checked as hostile input.

use elf::abi::{EM_X86_64, ET_EXEC, PF_R, PF_W, PF_X, PT_INTERP, PT_LOAD};
use elf::endian::LittleEndian;
use elf::file::Class;
use elf::segment::ProgramHeader;
use elf::{ElfBytes, ParseError};

use crate::layout::{USER_SEGMENTS_END, USER_START, page_align_down, page_align_up};
use crate::user_memory::Rights;

/// Most segments that a program may have.
pub const MAX_SEGMENTS: usize = 8;

/// Why a file is not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgramError {
    /// Not an ELF file, or one whose headers do not fit into it.
    NotElf,
    /// Not a static little-endian x86-64 executable.
    WrongKind,
    /// More than [`MAX_SEGMENTS`] segments.
    TooManySegments,
    /// A segment that is not within user space.
    OutsideUserSpace {
        /// Its first address.
        address: u64,
    },
    /// A segment with bytes beyond the file's end, or with more bytes in the file than in memory.
    BadSize {
        /// Its first address.
        address: u64,
    },
    /// A segment that is both writable and executable.
    WritableCode {
        /// Its first address.
        address: u64,
    },
    /// Two segments on one page.
    Overlap {
        /// First address of the second one.
        address: u64,
    },
    /// The entry point is in no executable segment.
    BadEntry {
        /// The entry point.
        entry: u64,
    },
}

/// A part of a program in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment<'a> {
    /// Address of the first byte of `data`.
    pub address: u64,
    /// Address behind the last byte; from the end of `data` on the memory is zero.
    pub end: u64,
    /// Bytes from the file.
    pub data: &'a [u8],
    /// What the program may do there.
    pub rights: Rights,
}

/// A program that can be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program<'a> {
    /// Where it begins.
    pub entry: u64,
    segments: [Option<Segment<'a>>; MAX_SEGMENTS],
}

impl<'a> Program<'a> {
    /// Checks the file; what it returns can be mapped as it is.
    pub fn parse(file: &'a [u8]) -> Result<Self, ProgramError> {
        let elf = ElfBytes::<LittleEndian>::minimal_parse(file).map_err(|error| match error {
            ParseError::UnsupportedElfEndianness(_) => ProgramError::WrongKind,
            _ => ProgramError::NotElf,
        })?;
        let header = elf.ehdr;
        let is_right = header.class == Class::ELF64
            && header.e_type == ET_EXEC
            && header.e_machine == EM_X86_64;
        if !is_right {
            return Err(ProgramError::WrongKind);
        }
        let mut program = Self {
            entry: header.e_entry,
            segments: [None; MAX_SEGMENTS],
        };
        let mut count = 0;
        for header in elf.segments().ok_or(ProgramError::NotElf)?.iter() {
            match header.p_type {
                PT_INTERP => return Err(ProgramError::WrongKind),
                PT_LOAD if header.p_memsz != 0 => {}
                _ => continue,
            }
            let segment = Segment::check(&header, file)?;
            if program.segments().any(|other| other.shares_page(&segment)) {
                let address = segment.address;
                return Err(ProgramError::Overlap { address });
            }
            let place = program.segments.get_mut(count);
            *place.ok_or(ProgramError::TooManySegments)? = Some(segment);
            count += 1;
        }
        program.check_entry()?;
        Ok(program)
    }

    /// Returns the segments.
    pub fn segments(&self) -> impl Iterator<Item = &Segment<'a>> {
        self.segments.iter().flatten()
    }

    fn check_entry(&self) -> Result<(), ProgramError> {
        let entry = self.entry;
        let is_code = self.segments().any(|segment| {
            segment.rights == Rights::Execute && (segment.address..segment.end).contains(&entry)
        });
        is_code
            .then_some(())
            .ok_or(ProgramError::BadEntry { entry })
    }
}

impl<'a> Segment<'a> {
    fn check(header: &ProgramHeader, file: &'a [u8]) -> Result<Self, ProgramError> {
        let address = header.p_vaddr;
        let end = address
            .checked_add(header.p_memsz)
            .filter(|&end| address >= USER_START && end <= USER_SEGMENTS_END)
            .ok_or(ProgramError::OutsideUserSpace { address })?;
        let bad_size = ProgramError::BadSize { address };
        if header.p_filesz > header.p_memsz {
            return Err(bad_size);
        }
        let data = file_part(file, header.p_offset, header.p_filesz).ok_or(bad_size)?;
        let rights = match header.p_flags & (PF_R | PF_W | PF_X) {
            flags if flags & (PF_W | PF_X) == PF_W | PF_X => {
                return Err(ProgramError::WritableCode { address });
            }
            flags if flags & PF_W != 0 => Rights::Write,
            flags if flags & PF_X != 0 => Rights::Execute,
            _ => Rights::Read,
        };
        Ok(Self {
            address,
            end,
            data,
            rights,
        })
    }

    /// Returns the address of the first page and the address behind the last.
    pub fn pages(&self) -> (u64, u64) {
        let end = page_align_up(self.end).expect("segments end below the end of user space");
        (page_align_down(self.address), end)
    }

    fn shares_page(&self, other: &Self) -> bool {
        let ((start, end), (other_start, other_end)) = (self.pages(), other.pages());
        start < other_end && other_start < end
    }
}

fn file_part(file: &[u8], offset: u64, len: u64) -> Option<&[u8]> {
    let start = usize::try_from(offset).ok()?;
    file.get(start..)?.get(..usize::try_from(len).ok()?)
}

#[cfg(test)]
#[path = "program_tests.rs"]
mod tests;
