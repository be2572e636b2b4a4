//! The ELF image of a cell: segments at fixed guest-physical addresses.
//!
//! [`ElfImage`] borrows the file. [`ElfImage::check`] compares it with the cell's memory; after that, each
//! [`Segment`] is copied and the rest of its memory cleared.
//!
//! # Invariants
//! 1. A parsed image has at least one segment and at most [`MAX_SEGMENTS`]; none of them wraps, reaches out of the
//!    file or is shorter in memory than in the file.
//! 2. Segments do not overlap, and the entry lies in an executable one.
//!
//! Addresses are `p_paddr`s: a cell starts with identity paging, so `e_entry` is guest-physical too.
//!
//! System V ABI, "Program Header"; docs/interfaces.md, "Entry of a cell".

use core::fmt;

use arrayvec::ArrayVec;
use elf::{ElfBytes, ParseError, abi, endian::LittleEndian, file::Class};

use super::Range;

/// Most segments of an image.
pub const MAX_SEGMENTS: usize = 16;

/// A checked image.
#[derive(Clone, Debug)]
pub struct ElfImage<'a> {
    segments: ArrayVec<Segment<'a>, MAX_SEGMENTS>,
    entry: u64,
}

/// A loadable segment.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// Its guest-physical memory, not empty.
    pub memory: Range,
    /// What goes to the start of it; zeros follow.
    pub data: &'a [u8],
    /// Whether it holds code.
    pub executable: bool,
}

/// Why an image is not loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElfError {
    /// No ELF header, or tables outside the file.
    Malformed {
        /// Bytes that the file has.
        len: usize,
    },
    /// 32-bit, or for another processor.
    Machine {
        /// `e_machine`; 3EH with a 32-bit file too.
        machine: u16,
    },
    /// Position-independent: nothing here relocates it.
    PositionIndependent,
    /// An object file, a core dump or something else that is not linked.
    NotExecutable {
        /// `e_type`.
        kind: u16,
    },
    /// Nothing to load, or more than [`MAX_SEGMENTS`] segments.
    SegmentCount {
        /// How many.
        count: usize,
    },
    /// A segment outside the file, longer in the file than in memory, or that wraps.
    Segment {
        /// Its index among the program headers.
        index: usize,
    },
    /// Two segments want the same memory.
    Overlap {
        /// Where one of them begins.
        first: u64,
        /// Where the other begins.
        second: u64,
    },
    /// The entry lies in no executable segment.
    Entry {
        /// Its address.
        entry: u64,
    },
    /// A segment begins in no memory of the cell.
    OutsideMemory {
        /// Where it begins.
        base: u64,
    },
    /// A segment begins in the cell's memory and ends behind it.
    DoesNotFit {
        /// Address behind the segment.
        needs_up_to: u64,
        /// Address behind the memory region that it begins in.
        has: u64,
    },
    /// A segment lies in the boot area.
    InBootArea {
        /// Where it begins.
        base: u64,
        /// Where the boot area ends.
        boot_area_end: u64,
    },
}

impl<'a> ElfImage<'a> {
    /// Checks a file.
    pub fn parse(file: &'a [u8]) -> Result<Self, ElfError> {
        let malformed = ElfError::Malformed { len: file.len() };
        let elf = match ElfBytes::<LittleEndian>::minimal_parse(file) {
            Ok(elf) => elf,
            Err(ParseError::UnsupportedElfEndianness(_)) => {
                return Err(ElfError::Machine { machine: 0 });
            }
            Err(_) => return Err(malformed),
        };
        let header = &elf.ehdr;
        if header.class != Class::ELF64 || header.e_machine != abi::EM_X86_64 {
            return Err(ElfError::Machine {
                machine: header.e_machine,
            });
        }
        match header.e_type {
            abi::ET_EXEC => {}
            abi::ET_DYN => return Err(ElfError::PositionIndependent),
            kind => return Err(ElfError::NotExecutable { kind }),
        }
        let mut segments = ArrayVec::new();
        for (index, header) in elf.segments().ok_or(malformed)?.iter().enumerate() {
            if header.p_type != abi::PT_LOAD || header.p_memsz == 0 {
                continue;
            }
            let segment = Segment::new(file, &header).ok_or(ElfError::Segment { index })?;
            let count = segments.len() + 1;
            segments
                .try_push(segment)
                .map_err(|_| ElfError::SegmentCount { count })?;
        }
        let image = Self {
            segments,
            entry: header.e_entry,
        };
        image.check_layout()?;
        Ok(image)
    }

    fn check_layout(&self) -> Result<(), ElfError> {
        if self.segments.is_empty() {
            return Err(ElfError::SegmentCount { count: 0 });
        }
        for (i, first) in self.segments.iter().enumerate() {
            let later = &self.segments[i + 1..];
            if let Some(second) = later.iter().find(|s| s.memory.overlaps(first.memory)) {
                let (first, second) = (first.memory.base, second.memory.base);
                return Err(ElfError::Overlap { first, second });
            }
        }
        let entry = self.entry;
        if !self
            .segments
            .iter()
            .any(|s| s.executable && s.memory.holds(entry))
        {
            return Err(ElfError::Entry { entry });
        }
        Ok(())
    }

    /// Checks that each segment lies in one of the cell's regions (guest-physical), and none in the boot area, which
    /// reaches from the base of the first region to `boot_area_end`.
    pub fn check(&self, memory: &[Range], boot_area_end: u64) -> Result<(), ElfError> {
        let start = memory.first().map_or(0, |region| region.base);
        let boot_area = Range::new(start, boot_area_end.saturating_sub(start));
        for wanted in self.segments.iter().map(|segment| segment.memory) {
            let region = memory.iter().find(|region| region.holds(wanted.base));
            let region = region.ok_or(ElfError::OutsideMemory { base: wanted.base })?;
            if wanted.overlaps(boot_area) {
                return Err(ElfError::InBootArea {
                    base: wanted.base,
                    boot_area_end,
                });
            }
            if !region.contains(wanted) {
                return Err(ElfError::DoesNotFit {
                    needs_up_to: wanted.end(),
                    has: region.end(),
                });
            }
        }
        Ok(())
    }

    /// Returns the segments in the file's order.
    pub fn segments(&self) -> &[Segment<'a>] {
        &self.segments
    }

    /// Returns the guest-physical address of the first instruction.
    pub fn entry(&self) -> u64 {
        self.entry
    }
}

impl<'a> Segment<'a> {
    fn new(file: &'a [u8], header: &elf::segment::ProgramHeader) -> Option<Self> {
        let start = usize::try_from(header.p_offset).ok()?;
        let end = start.checked_add(usize::try_from(header.p_filesz).ok()?)?;
        header.p_paddr.checked_add(header.p_memsz)?;
        let memory = Range::new(header.p_paddr, header.p_memsz);
        let data = file.get(start..end)?;
        let executable = header.p_flags & abi::PF_X != 0;
        (header.p_filesz <= header.p_memsz).then_some(Self {
            memory,
            data,
            executable,
        })
    }
}

impl fmt::Display for ElfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Malformed { len } => {
                write!(f, "image of {len} bytes is no ELF file or is cut off")
            }
            Self::Machine { machine } => {
                write!(
                    f,
                    "image is no little-endian 64-bit x86 ELF file (machine {machine})"
                )
            }
            Self::PositionIndependent => {
                write!(
                    f,
                    "image is position-independent; link it to a fixed address"
                )
            }
            Self::NotExecutable { kind } => write!(f, "image is no executable (ELF type {kind})"),
            Self::SegmentCount { count: 0 } => write!(f, "image has nothing to load"),
            Self::SegmentCount { count } => {
                write!(
                    f,
                    "image has {count} or more loadable segments, at most {MAX_SEGMENTS} allowed"
                )
            }
            Self::Segment { index } => {
                write!(
                    f,
                    "image's program header {index} does not describe a part of the file"
                )
            }
            Self::Overlap { first, second } => {
                write!(f, "image's segments at {first:#x} and {second:#x} overlap")
            }
            Self::Entry { entry } => {
                write!(f, "image's entry {entry:#x} lies in no executable segment")
            }
            Self::OutsideMemory { base } => {
                write!(
                    f,
                    "image's segment at {base:#x} lies outside the cell's memory"
                )
            }
            Self::DoesNotFit { needs_up_to, has } => write!(
                f,
                "image does not fit the cell's memory: needs it up to {needs_up_to:#x}, has it up to {has:#x}"
            ),
            Self::InBootArea {
                base,
                boot_area_end,
            } => write!(
                f,
                "image's segment at {base:#x} lies in the boot area, which ends at {boot_area_end:#x}"
            ),
        }
    }
}

impl core::error::Error for ElfError {}

#[cfg(test)]
pub(crate) mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A program header: type, flags, offset, physical address, file size, memory size.
    type Header = (u32, u32, u64, u64, u64, u64);

    const TEXT: Header = (1, 5, 0x1000, 0x4201_0000, 0x100, 0x100);
    const DATA: Header = (1, 6, 0x1100, 0x4201_1000, 0x20, 0x8000);
    const NOTE: Header = (4, 4, 0x0, 0x0, 0x10, 0x10);
    const ENTRY: u64 = 0x4201_0040;
    const MEMORY: [Range; 1] = [Range::new(0x4200_0000, 0x10_0000)];
    const BOOT_AREA_END: u64 = 0x4201_0000;

    fn image(kind: u16, entry: u64, headers: &[Header]) -> Vec<u8> {
        let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
        file.extend(kind.to_le_bytes());
        file.extend([0x3e, 0, 1, 0, 0, 0]);
        file.extend(entry.to_le_bytes());
        file.extend(64u64.to_le_bytes());
        file.extend([0; 12]);
        let count = headers.len() as u16;
        for field in [64, 56, count, 64, 0, 0] {
            file.extend(field.to_le_bytes());
        }
        for &(kind, flags, offset, paddr, filesz, memsz) in headers {
            file.extend(kind.to_le_bytes());
            file.extend(flags.to_le_bytes());
            for field in [
                offset,
                0xffff_8000_0000_0000 | paddr,
                paddr,
                filesz,
                memsz,
                0x1000,
            ] {
                file.extend(field.to_le_bytes());
            }
        }
        file.resize(0x1120, 0xcc);
        file
    }

    fn parse_error(kind: u16, entry: u64, headers: &[Header]) -> ElfError {
        ElfImage::parse(&image(kind, entry, headers)).unwrap_err()
    }

    fn check(headers: &[Header], memory: &[Range]) -> Result<(), ElfError> {
        ElfImage::parse(&image(2, ENTRY, headers))?.check(memory, BOOT_AREA_END)
    }

    #[test]
    fn an_image_is_taken_apart() {
        let file = image(2, ENTRY, &[NOTE, TEXT, DATA]);
        let image = ElfImage::parse(&file).unwrap();
        assert_eq!(image.entry(), ENTRY);
        let [text, data] = image.segments() else {
            panic!("two segments")
        };
        assert_eq!(
            (text.memory, text.executable),
            (Range::new(0x4201_0000, 0x100), true)
        );
        assert_eq!(
            (data.memory, data.executable),
            (Range::new(0x4201_1000, 0x8000), false)
        );
        assert_eq!(text.data, &file[0x1000..0x1100]);
        assert_eq!(data.data.len(), 0x20);
        assert_eq!(image.check(&MEMORY, BOOT_AREA_END), Ok(()));
    }

    #[test]
    fn other_files_are_refused() {
        assert_eq!(
            ElfImage::parse(&[]).unwrap_err(),
            ElfError::Malformed { len: 0 }
        );
        assert_eq!(
            parse_error(3, ENTRY, &[TEXT]),
            ElfError::PositionIndependent
        );
        assert_eq!(
            parse_error(1, ENTRY, &[TEXT]),
            ElfError::NotExecutable { kind: 1 }
        );
        let mut file = image(2, ENTRY, &[TEXT]);
        file[18] = 0xb7;
        assert_eq!(
            ElfImage::parse(&file).unwrap_err(),
            ElfError::Machine { machine: 0xb7 }
        );
        file[5] = 2;
        assert_eq!(
            ElfImage::parse(&file).unwrap_err(),
            ElfError::Machine { machine: 0 }
        );
        let file = &image(2, ENTRY, &[TEXT, DATA])[..100];
        assert_eq!(
            ElfImage::parse(file).unwrap_err(),
            ElfError::Malformed { len: 100 }
        );
    }

    #[test]
    fn segments_that_contradict_the_file_are_refused() {
        let beyond = (1, 5, 0x1100, 0x4201_0000, 0x21, 0x100);
        assert_eq!(
            parse_error(2, ENTRY, &[NOTE, beyond]),
            ElfError::Segment { index: 1 }
        );
        let shrinks = (1, 5, 0x1000, 0x4201_0000, 0x100, 0xff);
        assert_eq!(
            parse_error(2, ENTRY, &[shrinks]),
            ElfError::Segment { index: 0 }
        );
        let wraps = (1, 5, 0x1000, u64::MAX - 8, 0x10, 0x10);
        assert_eq!(
            parse_error(2, ENTRY, &[wraps]),
            ElfError::Segment { index: 0 }
        );
        let far = (1, 5, u64::MAX, 0x4201_0000, 1, 1);
        assert_eq!(
            parse_error(2, ENTRY, &[far]),
            ElfError::Segment { index: 0 }
        );
        assert_eq!(
            parse_error(2, ENTRY, &[NOTE]),
            ElfError::SegmentCount { count: 0 }
        );
        let many: Vec<_> = (0..17).map(|i| (1, 5, 0, 0x1000 * i, 1, 1)).collect();
        assert_eq!(
            parse_error(2, ENTRY, &many),
            ElfError::SegmentCount { count: 17 }
        );
    }

    #[test]
    fn segments_must_not_overlap_and_hold_the_entry() {
        let inside = (1, 6, 0x1000, 0x4201_00ff, 0, 0x10);
        assert_eq!(
            parse_error(2, ENTRY, &[TEXT, inside]),
            ElfError::Overlap {
                first: 0x4201_0000,
                second: 0x4201_00ff
            }
        );
        for entry in [0, 0x4201_0100, 0x4201_1000] {
            assert_eq!(
                parse_error(2, entry, &[TEXT, DATA]),
                ElfError::Entry { entry }
            );
        }
    }

    #[test]
    fn segments_must_lie_in_the_cells_memory_above_the_boot_area() {
        let at = |base, memsz| (1, 6, 0x1100, base, 0, memsz);
        assert_eq!(
            check(&[TEXT, at(0x4208_0000, 0x9_0000)], &MEMORY),
            Err(ElfError::DoesNotFit {
                needs_up_to: 0x4211_0000,
                has: 0x4210_0000
            })
        );
        assert_eq!(check(&[TEXT, at(0x4208_0000, 0x8_0000)], &MEMORY), Ok(()));
        assert_eq!(
            check(&[TEXT, at(0x4210_0000, 1)], &MEMORY),
            Err(ElfError::OutsideMemory { base: 0x4210_0000 })
        );
        assert_eq!(
            check(&[TEXT, at(0x4200_f000, 0x1000)], &MEMORY),
            Err(ElfError::InBootArea {
                base: 0x4200_f000,
                boot_area_end: BOOT_AREA_END
            })
        );
        assert_eq!(
            check(&[TEXT], &[]),
            Err(ElfError::OutsideMemory { base: 0x4201_0000 })
        );
        let lower = Range::new(0x100_0000, 0x1000);
        assert_eq!(
            check(&[TEXT, at(0x100_0000, 0x1000)], &[MEMORY[0], lower]),
            Ok(())
        );
    }

    proptest! {
        #[test]
        fn any_file_is_parsed_or_refused(
            changes in prop::collection::vec((0usize..0x100, any::<u8>()), 0..6), len in 0usize..0x1200,
        ) {
            let mut file = image(2, ENTRY, &[TEXT, DATA]);
            for (offset, value) in changes {
                file[offset] = value;
            }
            file.truncate(len);
            if let Ok(image) = ElfImage::parse(&file)
                && image.check(&MEMORY, BOOT_AREA_END).is_ok()
            {
                prop_assert!(image.segments().iter().all(|s| MEMORY[0].contains(s.memory)));
            }
        }

        #[test]
        fn an_extended_header_count_does_no_harm(section_offset: u64) {
            let mut file = image(2, ENTRY, &[TEXT, DATA]);
            file[0x28..0x30].copy_from_slice(&section_offset.to_le_bytes());
            file[0x38..0x3a].fill(0xff);
            prop_assert!(ElfImage::parse(&file).is_err());
        }
    }
}
