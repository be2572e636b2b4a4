// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the tags of the boot information say.
//!
//! Their bytes are read here, not by way of the `multiboot2` crate's types: those panic where a tag is shorter than it
//! should be or its entries have another size. The crate has checked that each tag lies in the boot information.
//!
//! Multiboot2 specification, "Boot information format".

use arrayvec::ArrayVec;
use multiboot2::BootInformation;

use super::InitError;
use super::modules::{Module, ModuleName};
use crate::acpi::Rsdp;
use crate::loader::Range;
use crate::loader::e820::{E820Entry, E820Kind, MAX_ENTRIES};
use crate::loader::placement::MAX_MODULES;

const COMMAND_LINE: u32 = 1;
const MODULE: u32 = 3;
const MEMORY_MAP: u32 = 6;
const ELF_SECTIONS: u32 = 9;
const RSDP_1: u32 = 14;
const RSDP_2: u32 = 15;

/// Length of an ELF64 section header.
const SECTION_LEN: usize = 64;
/// Section types: symbols, strings. (System V ABI, "Sections")
const SHT_SYMTAB: u32 = 2;
const SHT_STRTAB: u32 = 3;

/// Length of what is read of an entry of the memory map: base, length, type.
const MAP_ENTRY_LEN: usize = 20;

/// Returns the contents of all tags of a type.
fn tags<'a>(info: &'a BootInformation, wanted: u32) -> impl Iterator<Item = &'a [u8]> {
    info.tags()
        .filter(move |tag| u32::from(tag.header().typ) == wanted)
        .map(|tag| tag.payload())
}

fn u32_at(tag: &[u8], offset: usize) -> Option<u32> {
    let bytes = tag.get(offset..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}

fn u64_at(tag: &[u8], offset: usize) -> Option<u64> {
    let bytes = tag.get(offset..)?.first_chunk()?;
    Some(u64::from_le_bytes(*bytes))
}

/// Returns the text before the first NUL, or `None` if there is none or it is no UTF-8.
fn text(bytes: &[u8]) -> Option<&str> {
    let len = bytes.iter().position(|&byte| byte == 0)?;
    core::str::from_utf8(&bytes[..len]).ok()
}

/// Returns the memory map. Types that the specification does not know are reserved.
pub fn memory_map(info: &BootInformation) -> Result<ArrayVec<E820Entry, MAX_ENTRIES>, InitError> {
    const DAMAGED: InitError = InitError::BootInformation("its memory map is damaged");
    let tag = tags(info, MEMORY_MAP)
        .next()
        .ok_or(InitError::BootInformation("it has no memory map"))?;
    let entry_len = u32_at(tag, 0).map_or(0, |len| len as usize);
    // Behind the length of an entry stands its version, which is 0.
    let entries = tag.get(8..).ok_or(DAMAGED)?;
    if entry_len < MAP_ENTRY_LEN || !entries.len().is_multiple_of(entry_len) {
        return Err(DAMAGED);
    }
    let mut map = ArrayVec::new();
    for entry in entries.chunks_exact(entry_len) {
        let (base, size) = (u64_at(entry, 0), u64_at(entry, 8));
        let range = Range::new(base.ok_or(DAMAGED)?, size.ok_or(DAMAGED)?);
        let kind = match u32_at(entry, 16).map(E820Kind) {
            Some(
                kind @ (E820Kind::RAM
                | E820Kind::ACPI_TABLES
                | E820Kind::ACPI_NVS
                | E820Kind::UNUSABLE),
            ) => kind,
            _ => E820Kind::RESERVED,
        };
        map.try_push(E820Entry { range, kind })
            .map_err(|_| InitError::TooMany {
                what: "memory map entries",
                limit: MAX_ENTRIES,
            })?;
    }
    Ok(map)
}

/// Returns the modules; the first word of a module's line is its name.
pub fn modules(info: &BootInformation) -> Result<ArrayVec<Module, MAX_MODULES>, InitError> {
    let mut modules = ArrayVec::new();
    for tag in tags(info, MODULE) {
        let (Some(start), Some(end)) = (u32_at(tag, 0), u32_at(tag, 4)) else {
            return Err(InitError::BootInformation("a module's tag is damaged"));
        };
        let line = text(&tag[8..]).ok_or(InitError::BootInformation(
            "a module's name is no UTF-8 with a NUL behind it",
        ))?;
        let word = line.split_ascii_whitespace().next().unwrap_or("");
        let name = ModuleName::from(word)
            .map_err(|_| InitError::BootInformation("a module's name is too long"))?;
        let size = end
            .checked_sub(start)
            .ok_or(InitError::BootInformation("a module ends before it starts"))?;
        modules
            .try_push(Module {
                name,
                range: Range::new(start.into(), size.into()),
            })
            .map_err(|_| InitError::TooMany {
                what: "modules",
                limit: MAX_MODULES,
            })?;
    }
    Ok(modules)
}

/// Where the loader put the symbols of the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SymbolTables {
    /// The symbol table, ELF64.
    pub table: Range,
    /// Its string table.
    pub names: Range,
}

/// Returns where the image's symbol table and its names are, if the loader has loaded them. (Multiboot2, "ELF-Symbols")
pub fn symbols(info: &BootInformation) -> Option<SymbolTables> {
    let tag = tags(info, ELF_SECTIONS).next()?;
    let (count, header_len) = (u32_at(tag, 0)? as usize, u32_at(tag, 4)? as usize);
    // Behind both stands the number of the section with the sections' names.
    let headers = tag.get(12..).filter(|_| header_len >= SECTION_LEN)?;
    let mut headers = headers.chunks_exact(header_len).take(count);
    let range = |header: &[u8]| Some(Range::new(u64_at(header, 16)?, u64_at(header, 32)?));
    let is = |header: &[u8], kind| u32_at(header, 4) == Some(kind);
    let table = headers.clone().find(|header| is(header, SHT_SYMTAB))?;
    let names = headers.nth(u32_at(table, 40)? as usize)?;
    is(names, SHT_STRTAB).then_some(SymbolTables {
        table: range(table)?,
        names: range(names)?,
    })
}

/// Returns the loader's copy of the ACPI root pointer: that of ACPI 2.0, else the older one.
pub fn rsdp(info: &BootInformation) -> Option<Rsdp> {
    [RSDP_2, RSDP_1]
        .into_iter()
        .find_map(|kind| Rsdp::parse(tags(info, kind).next()?).ok())
}

/// Returns the port of `console=PORT` on the command line, decimal or with 0x.
pub fn console(info: &BootInformation) -> Option<u16> {
    tags(info, COMMAND_LINE)
        .next()
        .and_then(text)
        .and_then(console_option)
}

fn console_option(cmdline: &str) -> Option<u16> {
    let value = cmdline
        .split_ascii_whitespace()
        .find_map(|word| word.strip_prefix("console="))?;
    match value.strip_prefix("0x") {
        Some(digits) => u16::from_str_radix(digits, 16).ok(),
        None => value.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::console_option;

    #[test]
    fn the_console_option_takes_hexadecimal_and_decimal_ports() {
        assert_eq!(console_option("/boot/isthmus console=0x2f8"), Some(0x2f8));
        assert_eq!(console_option("console=760 quiet"), Some(760));
        assert_eq!(console_option("console=ttyS0"), None);
        assert_eq!(console_option("console=0x1ffff"), None);
        assert_eq!(console_option(""), None);
    }
}
