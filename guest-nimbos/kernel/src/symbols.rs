// SPDX-License-Identifier: MIT OR Apache-2.0
//! Names of the kernel's own functions: its file is in the archive too, because the loader puts no symbols into memory.

use backtrace::Symbols;
use elf::ElfBytes;
use elf::abi::PT_LOAD;
use elf::endian::LittleEndian;

use crate::archive;

/// Name of the kernel's file in the archive.
pub const KERNEL_FILE: &str = "boot/nimbos";

/// Finds the symbols of the kernel whose code is the beginning of `code`, at `address`. Those of another kernel would be wrong names:
/// then there are none.
pub fn of_kernel<'a>(archive: &'a [u8], address: u64, code: &[u8]) -> Option<Symbols<'a>> {
    let file = archive::find(archive, KERNEL_FILE).ok()?;
    let elf = ElfBytes::<LittleEndian>::minimal_parse(file).ok()?;
    let segment = elf
        .segments()?
        .iter()
        .find(|header| header.p_type == PT_LOAD && header.p_vaddr == address)?;
    let data = elf.segment_data(&segment).ok()?;
    // The segment ends with the last function, the code with its last page.
    let is_this_kernel = !data.is_empty() && code.starts_with(data);
    is_this_kernel.then(|| Symbols::from_elf(file))?
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::format;
    use std::string::ToString;
    use std::vec::Vec;

    use super::*;

    const ADDRESS: u64 = 0x4210_0000;
    const CODE: [u8; 4] = [0x55, 0x90, 0x5d, 0xc3];

    /// An ELF file with a code segment and a function of its length.
    fn file(code: &[u8]) -> Vec<u8> {
        let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0".to_vec();
        file.extend([ADDRESS, 64, 192].map(u64::to_le_bytes).concat());
        file.extend(
            [0u16, 0, 64, 56, 1, 64, 3, 0]
                .map(u16::to_le_bytes)
                .concat(),
        );
        // Program header at 64: loaded, executable; the code at 120.
        file.extend([1u32, 5].map(u32::to_le_bytes).concat());
        let len = code.len() as u64;
        file.extend(
            [120, ADDRESS, ADDRESS, len, len, 16]
                .map(u64::to_le_bytes)
                .concat(),
        );
        file.extend(code);
        file.resize(136, 0);
        // A symbol table of one function at 136, its name at 160.
        file.extend([1, 0, 0, 0, 2, 0, 1, 0]);
        file.extend([ADDRESS, len].map(u64::to_le_bytes).concat());
        file.extend(b"\0main\0");
        // Section headers at 192: none, symbols, names.
        file.resize(192 + 64, 0);
        for (kind, link, offset, len) in [(2u32, 2u32, 136, 24), (3, 0, 160, 6)] {
            file.extend([0, kind].map(u32::to_le_bytes).concat());
            file.extend([0u64, 0, offset, len].map(u64::to_le_bytes).concat());
            file.extend([link, 0].map(u32::to_le_bytes).concat());
            file.extend([0u64, 24].map(u64::to_le_bytes).concat());
        }
        file
    }

    fn archive(name: &str, file: &[u8]) -> Vec<u8> {
        let entry = |name: &str, file: &[u8]| {
            let (file_len, name_len) = (file.len(), name.len() + 1);
            let zeroes = [0; 5].map(|zero: u32| format!("{zero:08x}")).concat();
            let header = format!("07070100000001000081a4{}{file_len:08x}", &zeroes[..32]);
            let mut bytes =
                format!("{header}{}{name_len:08x}00000000{name}\0", &zeroes[..32]).into_bytes();
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes.extend(file);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes
        };
        [entry(name, file), entry("TRAILER!!!", &[])].concat()
    }

    fn found(archive: &[u8], address: u64, code: &[u8]) -> Option<std::string::String> {
        let symbol = of_kernel(archive, address, code)?.find(ADDRESS + 1)?;
        Some(symbol.name.to_string())
    }

    #[test]
    fn the_kernels_names_are_found() {
        let archive = archive(KERNEL_FILE, &file(&CODE));
        assert_eq!(found(&archive, ADDRESS, &CODE).as_deref(), Some("main"));
        let page = [&CODE[..], &[0; 100]].concat();
        assert_eq!(found(&archive, ADDRESS, &page).as_deref(), Some("main"));
    }

    #[test]
    fn another_kernels_names_are_not() {
        let good = archive(KERNEL_FILE, &file(&CODE));
        assert_eq!(found(&good, ADDRESS, &[0x55, 0x90, 0x5d, 0xc2]), None);
        assert_eq!(found(&good, ADDRESS, &CODE[..3]), None);
        assert_eq!(found(&good, ADDRESS + 0x1000, &CODE), None);
        assert_eq!(
            found(&archive("nimbos", &file(&CODE)), ADDRESS, &CODE),
            None
        );
        assert_eq!(
            found(&archive(KERNEL_FILE, &file(&[])), ADDRESS, &CODE),
            None
        );
        assert_eq!(
            found(&archive(KERNEL_FILE, b"no program"), ADDRESS, &CODE),
            None
        );
    }

    #[test]
    fn every_changed_byte_is_survived() {
        let good = file(&CODE);
        for position in 0..good.len() {
            for value in [0, 1, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[position] = value;
                let _ = found(&archive(KERNEL_FILE, &bad), ADDRESS, &CODE);
            }
        }
    }
}
