//! Loads an ELF cell: checks the image against the cell's memory, then writes it. (docs/interfaces.md, "Entry of a
//! cell")

use arrayvec::ArrayVec;
use cell_config::System;
use hv_abi::MemoryRange;
use zerocopy::IntoBytes;

use super::load_linux::LoadError;
use super::{boot_info, own_memory};
use crate::address::{GuestPhys, HostPhys, PAGE_SIZE};
use crate::cpu::EntryState;
use crate::loader::Range;
use crate::loader::elf_image::ElfImage;
use crate::memory::{PhysicalMemory, RangeLimit};

/// Offset of the PML4 in the boot area; the PDPT follows.
const PAGE_TABLES: u64 = 0x1000;
/// Offset of the GDT in the boot area.
const GDT: u64 = 0x3000;
/// Length of the boot area; the initial stack pointer.
const BOOT_AREA_LEN: u64 = 0x1_0000;

/// GDT with 64-bit code at 10H and data at 18H, as the Linux boot protocol has it.
const BOOT_GDT: [u64; 4] = [0, 0, 0x00AF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF];

/// An ELF cell whose image and ramdisk fit.
pub struct ElfPlan<'a> {
    id: usize,
    system: &'static System,
    image: ElfImage<'a>,
    initrd: Option<(&'a [u8], GuestPhys)>,
}

impl<'a> ElfPlan<'a> {
    /// Checks the image and the ramdisk of cell `id`; writes nothing.
    pub fn new(
        id: usize,
        system: &'static System,
        image: &'a [u8],
        initrd: Option<&'a [u8]>,
    ) -> Result<Self, LoadError> {
        let config = &system.cells[id];
        let image = ElfImage::parse(image)?;
        let memory: ArrayVec<Range, 16> = config
            .memory
            .iter()
            .map(|region| Range::new(region.guest, region.size))
            .collect();
        let (Some(first), Some(last)) = (memory.first(), memory.last()) else {
            return Err(LoadError::NoMemory);
        };
        image.check(&memory, first.base.saturating_add(BOOT_AREA_LEN))?;
        let initrd = match initrd {
            None => None,
            Some(bytes) => {
                let len = (bytes.len() as u64).next_multiple_of(PAGE_SIZE);
                let no_room = LoadError::RamdiskDoesNotFit {
                    len: bytes.len() as u64,
                };
                let base = last.size.checked_sub(len).ok_or(no_room)? + last.base;
                let place = Range::new(base, len);
                let boot_area = Range::new(first.base, BOOT_AREA_LEN);
                if boot_area.overlaps(place)
                    || image.segments().iter().any(|s| s.memory.overlaps(place))
                {
                    return Err(no_room);
                }
                Some((bytes, GuestPhys(base)))
            }
        };
        Ok(Self {
            id,
            system,
            image,
            initrd,
        })
    }

    /// Writes the cell's memory: zeros, image, ramdisk, boot area.
    pub fn load(&self, physical: &PhysicalMemory, tsc_khz: u32) -> Result<EntryState, RangeLimit> {
        let config = &self.system.cells[self.id];
        for region in &config.memory {
            physical.zero(HostPhys(region.base), region.size)?;
        }
        let write = |gpa: u64, bytes: &[u8]| -> Result<(), RangeLimit> {
            let limit = RangeLimit {
                base: HostPhys(gpa),
                len: bytes.len() as u64,
            };
            let hpa = own_memory(config, GuestPhys(gpa), bytes.len() as u64).map_err(|_| limit)?;
            physical.write(hpa, bytes)
        };
        for segment in self.image.segments() {
            write(segment.memory.base, segment.data)?;
        }
        let initrd = match self.initrd {
            None => None,
            Some((bytes, gpa)) => {
                write(gpa.0, bytes)?;
                Some(MemoryRange {
                    base: gpa.0,
                    size: bytes.len() as u64,
                })
            }
        };
        let base = config.memory.first().map_or(0, |region| region.guest);
        write(
            base,
            boot_info(self.system, self.id, tsc_khz, initrd).as_bytes(),
        )?;
        write_boot_tables(base + PAGE_TABLES, base + GDT, write)?;
        Ok(EntryState {
            rip: self.image.entry(),
            rsp: base + BOOT_AREA_LEN,
            rsi: 0,
            rdi: base,
            cr3: base + PAGE_TABLES,
            gdt: base + GDT,
        })
    }
}

/// Writes what a cell is entered with: a PML4 and a PDPT that map the first 512 GiB one to one, and a GDT.
pub fn write_boot_tables(
    pml4: u64,
    gdt: u64,
    write: impl Fn(u64, &[u8]) -> Result<(), RangeLimit>,
) -> Result<(), RangeLimit> {
    const PRESENT_WRITABLE: u64 = 3;
    const LARGE: u64 = 1 << 7;
    let pdpt = pml4 + PAGE_SIZE;
    write(pml4, &(pdpt | PRESENT_WRITABLE).to_le_bytes())?;
    for gib in 0..512 {
        write(
            pdpt + gib * 8,
            &(gib << 30 | LARGE | PRESENT_WRITABLE).to_le_bytes(),
        )?;
    }
    write(gdt, BOOT_GDT.as_bytes())
}

#[cfg(test)]
mod fuzz;
