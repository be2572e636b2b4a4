// SPDX-License-Identifier: MIT OR Apache-2.0
//! Names of functions, from an ELF symbol table.

use elf::ElfBytes;
use elf::abi::{SHN_ABS, SHN_UNDEF, SHT_SYMTAB, STT_FUNC, STT_NOTYPE};
use elf::endian::LittleEndian;
use elf::file::Class;
use elf::string_table::StringTable;
use elf::symbol::SymbolTable;

use crate::name::Name;

/// The symbols of a program. Addresses are those at which it is linked, where it also runs.
#[derive(Clone, Copy, Debug)]
pub struct Symbols<'a> {
    table: &'a [u8],
    names: &'a [u8],
}

/// The function that an address belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol<'a> {
    /// Its name.
    pub name: Name<'a>,
    /// Its first address.
    pub address: u64,
}

impl<'a> Symbols<'a> {
    /// No symbols: addresses have no names.
    pub const NONE: Self = Self::from_sections(&[], &[]);

    /// Takes the contents of a 64-bit little-endian symbol table (SHT_SYMTAB) and of its string table.
    pub const fn from_sections(table: &'a [u8], names: &'a [u8]) -> Self {
        Self { table, names }
    }

    /// Finds the tables in a file, or returns `None` if it is no 64-bit ELF file or has no symbol table.
    pub fn from_elf(file: &'a [u8]) -> Option<Self> {
        let elf = ElfBytes::<LittleEndian>::minimal_parse(file).ok()?;
        if elf.ehdr.class != Class::ELF64 {
            return None;
        }
        let headers = elf.section_headers()?;
        let table = headers.iter().find(|header| header.sh_type == SHT_SYMTAB)?;
        let names = headers.get(table.sh_link as usize).ok()?;
        let (table, _) = elf.section_data(&table).ok()?;
        let (names, _) = elf.section_data(&names).ok()?;
        Some(Self { table, names })
    }

    /// Finds the function that `address` belongs to: the one that holds it by its size, else the nearest label before it
    /// that has no size, which is how assembly defines functions. Of several at the same place the first function.
    pub fn find(&self, address: u64) -> Option<Symbol<'a>> {
        let mut best: Option<(u64, bool, u64, u32)> = None;
        let table = SymbolTable::new(LittleEndian, Class::ELF64, self.table);
        for symbol in table.iter() {
            let kind = symbol.st_symtype();
            let is_code = matches!(kind, STT_FUNC | STT_NOTYPE)
                && !matches!(symbol.st_shndx, SHN_UNDEF | SHN_ABS);
            if !is_code || symbol.st_value > address {
                continue;
            }
            let is_function = kind == STT_FUNC;
            let key = (symbol.st_value, is_function);
            if best.is_none_or(|(value, function, ..)| key > (value, function)) {
                best = Some((symbol.st_value, is_function, symbol.st_size, symbol.st_name));
            }
        }
        let (start, _, size, name) = best?;
        if size != 0 && address - start >= size {
            return None;
        }
        let name = StringTable::new(self.names).get_raw(name as usize).ok()?;
        Some(Symbol {
            name: Name::new(name)?,
            address: start,
        })
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::string::ToString;
    use std::vec::Vec;

    use super::*;

    const FUNCTION: u8 = STT_FUNC;
    const LABEL: u8 = STT_NOTYPE;
    const OBJECT: u8 = elf::abi::STT_OBJECT;

    /// Name, kind, section, address, size.
    type Entry = (&'static str, u8, u16, u64, u64);

    const ENTRIES: [Entry; 9] = [
        ("undefined", FUNCTION, SHN_UNDEF, 0x1000, 0x1000),
        ("absolute", LABEL, SHN_ABS, 0x1080, 0),
        ("start_of_text", LABEL, 1, 0x1000, 0),
        ("second", FUNCTION, 1, 0x1100, 0x80),
        ("first", FUNCTION, 1, 0x1000, 0x80),
        ("variable", OBJECT, 1, 0x1040, 8),
        ("assembly", LABEL, 1, 0x1200, 0),
        ("also_second", FUNCTION, 1, 0x1100, 0x80),
        ("\u{1b}[2J", FUNCTION, 1, 0x1300, 0x80),
    ];

    fn tables() -> (Vec<u8>, Vec<u8>) {
        let (mut table, mut names) = ([0; 24].to_vec(), [0].to_vec());
        for (name, kind, section, address, size) in ENTRIES {
            table.extend((names.len() as u32).to_le_bytes());
            table.extend([kind, 0]);
            table.extend(section.to_le_bytes());
            table.extend([address.to_le_bytes(), size.to_le_bytes()].concat());
            names.extend(name.bytes().chain([0]));
        }
        (table, names)
    }

    fn found(address: u64) -> Option<(std::string::String, u64)> {
        let (table, names) = tables();
        let symbol = Symbols::from_sections(&table, &names).find(address)?;
        Some((symbol.name.to_string(), address - symbol.address))
    }

    #[test]
    fn an_address_belongs_to_the_function_that_holds_it() {
        for (address, name, offset) in [
            (0x1000, "first", 0),
            (0x107f, "first", 0x7f),
            (0x1100, "second", 0),
            (0x117f, "second", 0x7f),
            (0x1200, "assembly", 0),
            (0x12ff, "assembly", 0xff),
        ] {
            assert_eq!(found(address), Some((name.into(), offset)), "{address:#x}");
        }
    }

    #[test]
    fn an_address_between_functions_belongs_to_none() {
        for address in [0, 0xfff, 0x1080, 0x10ff, 0x1180, 0x1380, u64::MAX] {
            assert_eq!(found(address), None, "{address:#x}");
        }
    }

    #[test]
    fn a_name_that_a_console_would_obey_is_none() {
        assert_eq!(found(0x1300), None);
    }

    #[test]
    fn names_outside_the_string_table_are_none() {
        let (table, names) = tables();
        for len in 0..names.len() {
            let symbols = Symbols::from_sections(&table, &names[..len]);
            let first = names.windows(5).position(|name| name == b"first").unwrap();
            assert_eq!(symbols.find(0x1000).is_some(), len > first + 5);
        }
    }

    #[test]
    fn a_file_without_symbols_has_none() {
        assert!(Symbols::from_elf(&[]).is_none());
        assert!(Symbols::from_elf(b"\x7fELF").is_none());
        assert!(Symbols::NONE.find(0x1000).is_none());
    }
}
