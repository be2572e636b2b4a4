//! The Linux kernel as distributions ship it, entered by the 64-bit boot protocol.
//!
//! [`BzImage`] borrows the file; [`BzImage::write_boot_params`] fills the page that the kernel finds in RSI. The
//! kernel proper ([`BzImage::payload`]) goes to [`BzImage::place`]'s address, its entry is [`ENTRY_OFFSET`] behind.
//!
//! # Invariants
//! 1. A parsed image has a whole setup header, a payload that reaches beyond the 64-bit entry and fits `init_size`,
//!    and `pref_address + init_size` does not wrap.
//!
//! Linux, Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header", "64-bit Boot Protocol";
//! Documentation/arch/x86/zero-page.rst.

use core::fmt;

use super::Range;
use super::e820::{E820Entry, MAX_ENTRIES};

/// Distance of the 64-bit entry from the start of the loaded payload.
pub const ENTRY_OFFSET: u64 = 0x200;

/// Oldest protocol that tells whether the kernel has a 64-bit entry.
const MIN_PROTOCOL: u16 = 0x020c;
/// First protocol whose kernels read the RSDP's address from the boot parameters.
const RSDP_PROTOCOL: u16 = 0x020e;
const SECTOR: usize = 512;
/// First megabyte: a relocated kernel stays above it.
const LOW_MEMORY_END: u64 = 0x10_0000;
const FOUR_GIB: u64 = 1 << 32;

/// Offsets of fields, the same in the file and in the boot parameters.
mod field {
    pub const ACPI_RSDP_ADDR: usize = 0x070;
    pub const EXT_RAMDISK_IMAGE: usize = 0x0c0;
    pub const EXT_RAMDISK_SIZE: usize = 0x0c4;
    pub const EXT_CMD_LINE_PTR: usize = 0x0c8;
    pub const E820_ENTRIES: usize = 0x1e8;
    pub const SETUP_SECTS: usize = 0x1f1;
    pub const VID_MODE: usize = 0x1fa;
    pub const BOOT_FLAG: usize = 0x1fe;
    pub const JUMP_DISTANCE: usize = 0x201;
    pub const HEADER: usize = 0x202;
    pub const VERSION: usize = 0x206;
    pub const TYPE_OF_LOADER: usize = 0x210;
    pub const LOADFLAGS: usize = 0x211;
    pub const CODE32_START: usize = 0x214;
    pub const RAMDISK_IMAGE: usize = 0x218;
    pub const RAMDISK_SIZE: usize = 0x21c;
    pub const CMD_LINE_PTR: usize = 0x228;
    pub const KERNEL_ALIGNMENT: usize = 0x230;
    pub const RELOCATABLE_KERNEL: usize = 0x234;
    pub const XLOADFLAGS: usize = 0x236;
    pub const CMDLINE_SIZE: usize = 0x238;
    pub const SETUP_DATA: usize = 0x250;
    pub const PREF_ADDRESS: usize = 0x258;
    pub const INIT_SIZE: usize = 0x260;
    pub const INIT_SIZE_END: usize = 0x264;
    pub const E820_TABLE: usize = 0x2d0;
    pub const E820_ENTRY_LEN: usize = 20;
}

const LOADED_HIGH: u8 = 1 << 0;
const XLF_KERNEL_64: u16 = 1 << 0;
const XLF_CAN_BE_LOADED_ABOVE_4G: u16 = 1 << 1;
const LOADER_UNDEFINED: u8 = 0xff;
const VID_MODE_NORMAL: u16 = 0xffff;

/// A checked bzImage.
#[derive(Clone, Copy, Debug)]
pub struct BzImage<'a> {
    /// From the start of the file to the end of its setup header.
    header: &'a [u8],
    payload: &'a [u8],
    protocol: u16,
    relocatable: bool,
    alignment: u32,
    xloadflags: u16,
    cmdline_max: u32,
    wanted: Range,
}

/// What the boot parameters say, besides what the kernel's own header says.
#[derive(Clone, Copy, Debug)]
pub struct BootArgs<'a> {
    /// Where the payload is.
    pub load_address: u64,
    /// Where the NUL-terminated command line is.
    pub cmdline_address: u64,
    /// Its length without the NUL.
    pub cmdline_len: usize,
    /// Where the initial ramdisk is.
    pub initrd: Option<Range>,
    /// Where the RSDP is, 0 for none.
    pub acpi_rsdp: u64,
    /// The cell's memory map.
    pub e820: &'a [E820Entry],
}

/// Why a file is not started as Linux.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BzImageError {
    /// The file ends too soon.
    Truncated {
        /// Bytes that it has.
        len: usize,
        /// Bytes that it must have.
        needed: usize,
    },
    /// No boot flag AA55H or no magic "HdrS".
    NotLinux {
        /// What stands in place of the magic.
        magic: u32,
    },
    /// Boot protocol before 2.12.
    Protocol {
        /// Version, 8 bits major, 8 bits minor.
        version: u16,
    },
    /// The setup header ends where it cannot.
    HeaderEnd {
        /// Offset of its end.
        end: usize,
    },
    /// No 64-bit entry, or a zImage.
    No64BitEntry {
        /// `xloadflags`.
        xloadflags: u16,
        /// `loadflags`.
        loadflags: u8,
    },
    /// The payload is larger than the memory that the kernel asks for, or that memory wraps.
    InitSize {
        /// `pref_address`.
        pref_address: u64,
        /// `init_size`.
        init_size: u32,
    },
    /// `kernel_alignment` of a relocatable kernel is no power of two.
    Alignment {
        /// Its value.
        alignment: u32,
    },
    /// No memory region holds the kernel.
    DoesNotFit {
        /// Memory that the kernel wants.
        wanted: Range,
        /// Whether it may lie elsewhere.
        relocatable: bool,
    },
    /// The command line is longer than the kernel takes.
    CommandLine {
        /// Its length without the NUL.
        len: usize,
        /// The kernel's limit.
        max: u32,
    },
    /// The kernel takes nothing above 4 GiB.
    Above4Gib {
        /// An address behind the object.
        end: u64,
    },
    /// More memory-map entries than the boot parameters hold.
    MemoryMap {
        /// How many.
        count: usize,
    },
}

impl<'a> BzImage<'a> {
    /// Checks a file.
    pub fn parse(file: &'a [u8]) -> Result<Self, BzImageError> {
        // Long enough for all fields that are read below.
        let truncated = |needed| BzImageError::Truncated {
            len: file.len(),
            needed,
        };
        let fields: &[u8; field::INIT_SIZE_END] =
            file.first_chunk().ok_or(truncated(field::INIT_SIZE_END))?;
        let magic = u32_at(fields, field::HEADER);
        if u16_at(fields, field::BOOT_FLAG) != 0xaa55 || magic != u32::from_le_bytes(*b"HdrS") {
            return Err(BzImageError::NotLinux { magic });
        }
        let protocol = u16_at(fields, field::VERSION);
        if protocol < MIN_PROTOCOL {
            return Err(BzImageError::Protocol { version: protocol });
        }
        // The distance is a signed byte: beyond 127 the jump would go backwards.
        let end = field::HEADER + usize::from(fields[field::JUMP_DISTANCE]);
        if !(field::INIT_SIZE_END..=field::HEADER + 127).contains(&end) {
            return Err(BzImageError::HeaderEnd { end });
        }
        let header = file.get(..end).ok_or(truncated(end))?;
        let (xloadflags, loadflags) = (u16_at(fields, field::XLOADFLAGS), fields[field::LOADFLAGS]);
        if xloadflags & XLF_KERNEL_64 == 0 || loadflags & LOADED_HIGH == 0 {
            return Err(BzImageError::No64BitEntry {
                xloadflags,
                loadflags,
            });
        }
        let setup_sectors = match fields[field::SETUP_SECTS] {
            0 => 4,
            n => usize::from(n),
        };
        let setup_len = (1 + setup_sectors) * SECTOR;
        let payload = file.get(setup_len..).unwrap_or_default();
        if payload.len() <= SECTOR {
            return Err(truncated(setup_len + SECTOR + 1));
        }
        let image = Self {
            header,
            payload,
            protocol,
            relocatable: fields[field::RELOCATABLE_KERNEL] != 0,
            alignment: u32_at(fields, field::KERNEL_ALIGNMENT),
            xloadflags,
            cmdline_max: u32_at(fields, field::CMDLINE_SIZE),
            wanted: Range::new(
                u64_at(fields, field::PREF_ADDRESS),
                u64::from(u32_at(fields, field::INIT_SIZE)),
            ),
        };
        image.check_memory(u32_at(fields, field::INIT_SIZE))?;
        Ok(image)
    }

    fn check_memory(&self, init_size: u32) -> Result<(), BzImageError> {
        let fits = u64::try_from(self.payload.len()).is_ok_and(|len| len <= self.wanted.size);
        if !fits || self.wanted.base.checked_add(self.wanted.size).is_none() {
            return Err(BzImageError::InitSize {
                pref_address: self.wanted.base,
                init_size,
            });
        }
        if self.relocatable && !self.alignment.is_power_of_two() {
            return Err(BzImageError::Alignment {
                alignment: self.alignment,
            });
        }
        Ok(())
    }

    /// Returns the protected-mode part of the file, which is all that is loaded.
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Returns the memory that the kernel prefers: it decompresses itself in place and needs all of it.
    pub fn preferred(&self) -> Range {
        self.wanted
    }

    /// Returns the boot protocol, 8 bits major, 8 bits minor.
    pub fn protocol(&self) -> u16 {
        self.protocol
    }

    /// Tells whether the kernel heeds [`BootArgs::acpi_rsdp`]. An older one searches the BIOS area by itself and
    /// finds the machine's own tables.
    pub fn reads_rsdp_address(&self) -> bool {
        self.protocol >= RSDP_PROTOCOL
    }

    /// Returns the memory for the kernel within the cell's: what it prefers, or, if it is relocatable, the lowest
    /// above that is aligned for it.
    pub fn place(&self, memory: &[Range]) -> Result<Range, BzImageError> {
        if memory.iter().any(|region| region.contains(self.wanted)) {
            return Ok(self.wanted);
        }
        let lowest = |region: &Range| {
            // Started below its preferred address, the kernel moves itself up there.
            let start = region.base.max(self.wanted.base).max(LOW_MEMORY_END);
            let base = start.checked_next_multiple_of(u64::from(self.alignment))?;
            let place = Range::new(base, self.wanted.size);
            (region.contains(place) && self.reaches(place.end())).then_some(place)
        };
        let does_not_fit = BzImageError::DoesNotFit {
            wanted: self.wanted,
            relocatable: self.relocatable,
        };
        if !self.relocatable {
            return Err(does_not_fit);
        }
        memory
            .iter()
            .filter_map(lowest)
            .min_by_key(|place| place.base)
            .ok_or(does_not_fit)
    }

    /// Fills the boot parameters ("zero page").
    pub fn write_boot_params(
        &self,
        args: &BootArgs,
        page: &mut [u8; 4096],
    ) -> Result<(), BzImageError> {
        let cmdline_fits = u32::try_from(args.cmdline_len).is_ok_and(|len| len <= self.cmdline_max);
        if !cmdline_fits {
            let (len, max) = (args.cmdline_len, self.cmdline_max);
            return Err(BzImageError::CommandLine { len, max });
        }
        page.fill(0);
        let header = field::SETUP_SECTS..self.header.len();
        page[header.clone()].copy_from_slice(&self.header[header]);
        page[field::TYPE_OF_LOADER] = LOADER_UNDEFINED;
        put(page, field::VID_MODE, &VID_MODE_NORMAL.to_le_bytes());
        // No list of further parameters, whatever the file says.
        put(page, field::SETUP_DATA, &[0; 8]);
        // 32 bits: the 64-bit entry does not read it.
        let [low, _] = halves(args.load_address);
        put(page, field::CODE32_START, &low);
        put(page, field::ACPI_RSDP_ADDR, &args.acpi_rsdp.to_le_bytes());
        let cmdline = self.split(args.cmdline_address, args.cmdline_address)?;
        put_split(page, field::CMD_LINE_PTR, field::EXT_CMD_LINE_PTR, cmdline);
        if let Some(initrd) = args.initrd {
            let (base, size) = (
                self.split(initrd.base, initrd.end())?,
                self.split(initrd.size, 0)?,
            );
            put_split(page, field::RAMDISK_IMAGE, field::EXT_RAMDISK_IMAGE, base);
            put_split(page, field::RAMDISK_SIZE, field::EXT_RAMDISK_SIZE, size);
        }
        write_e820(args.e820, page)
    }

    fn reaches(&self, end: u64) -> bool {
        end <= FOUR_GIB || self.xloadflags & XLF_CAN_BE_LOADED_ABOVE_4G != 0
    }

    /// Returns the halves of `value`, if the kernel reaches up to `end`.
    fn split(&self, value: u64, end: u64) -> Result<[[u8; 4]; 2], BzImageError> {
        if self.reaches(end) {
            Ok(halves(value))
        } else {
            Err(BzImageError::Above4Gib { end })
        }
    }
}

fn write_e820(entries: &[E820Entry], page: &mut [u8; 4096]) -> Result<(), BzImageError> {
    let count = u8::try_from(entries.len())
        .ok()
        .filter(|&n| usize::from(n) <= MAX_ENTRIES);
    page[field::E820_ENTRIES] = count.ok_or(BzImageError::MemoryMap {
        count: entries.len(),
    })?;
    let slots = page[field::E820_TABLE..].chunks_exact_mut(field::E820_ENTRY_LEN);
    for (slot, entry) in slots.zip(entries) {
        slot[..8].copy_from_slice(&entry.range.base.to_le_bytes());
        slot[8..16].copy_from_slice(&entry.range.size.to_le_bytes());
        slot[16..].copy_from_slice(&entry.kind.0.to_le_bytes());
    }
    Ok(())
}

fn put(page: &mut [u8; 4096], offset: usize, bytes: &[u8]) {
    page[offset..offset + bytes.len()].copy_from_slice(bytes);
}

fn put_split(page: &mut [u8; 4096], low: usize, high: usize, value: [[u8; 4]; 2]) {
    put(page, low, &value[0]);
    put(page, high, &value[1]);
}

fn halves(value: u64) -> [[u8; 4]; 2] {
    let [a, b, c, d, high @ ..] = value.to_le_bytes();
    [[a, b, c, d], high]
}

type Fields = [u8; field::INIT_SIZE_END];

fn u16_at(fields: &Fields, offset: usize) -> u16 {
    u16::from_le_bytes([fields[offset], fields[offset + 1]])
}

fn u32_at(fields: &Fields, offset: usize) -> u32 {
    u32::from(u16_at(fields, offset)) | u32::from(u16_at(fields, offset + 2)) << 16
}

fn u64_at(fields: &Fields, offset: usize) -> u64 {
    u64::from(u32_at(fields, offset)) | u64::from(u32_at(fields, offset + 4)) << 32
}

impl fmt::Display for BzImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Truncated { len, needed } => {
                write!(f, "kernel file of {len} bytes is cut off: {needed} needed")
            }
            Self::NotLinux { magic } => {
                write!(
                    f,
                    "kernel file is no bzImage: {magic:#010x} instead of \"HdrS\""
                )
            }
            Self::Protocol { version } => write!(
                f,
                "kernel has boot protocol {}.{:02}, 2.12 needed",
                version >> 8,
                version & 0xff
            ),
            Self::HeaderEnd { end } => write!(f, "kernel's setup header cannot end at {end:#x}"),
            Self::No64BitEntry {
                xloadflags,
                loadflags,
            } => write!(
                f,
                "kernel has no 64-bit entry: xloadflags {xloadflags:#x}, loadflags {loadflags:#x}"
            ),
            Self::InitSize {
                pref_address,
                init_size,
            } => write!(
                f,
                "kernel does not fit the memory that it asks for: {init_size:#x} bytes at {pref_address:#x}"
            ),
            Self::Alignment { alignment } => {
                write!(f, "kernel's alignment {alignment:#x} is no power of two")
            }
            Self::DoesNotFit {
                wanted,
                relocatable: false,
            } => {
                write!(
                    f,
                    "kernel is not relocatable and {wanted} is not all memory of its cell"
                )
            }
            Self::DoesNotFit {
                wanted,
                relocatable: true,
            } => {
                write!(
                    f,
                    "no memory region of the cell holds the {:#x} bytes of its kernel",
                    wanted.size
                )
            }
            Self::CommandLine { len, max } => {
                write!(
                    f,
                    "command line of {len} bytes is longer than the kernel's {max}"
                )
            }
            Self::Above4Gib { end } => {
                write!(
                    f,
                    "kernel takes nothing above 4 GiB, but something ends at {end:#x}"
                )
            }
            Self::MemoryMap { count } => {
                write!(
                    f,
                    "{count} memory-map entries are more than the boot parameters' {MAX_ENTRIES}"
                )
            }
        }
    }
}

impl core::error::Error for BzImageError {}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
