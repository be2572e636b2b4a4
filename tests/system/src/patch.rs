// SPDX-License-Identifier: MIT OR Apache-2.0
//! Mistakes that are put into a built program: a function is overwritten behind its prologue, so that it fails with a chain
//! of calls that is known. The program itself has no code for tests.

use anyhow::{Context, Result, bail, ensure};
use elf::ElfBytes;
use elf::abi::{PT_LOAD, STT_FUNC};
use elf::endian::LittleEndian;

/// PUSH RBP; MOV RBP, RSP.
const PROLOGUE: [u8; 4] = [0x55, 0x48, 0x89, 0xe5];
/// LEA RDI, [RIP + disp32].
const LEA_RDI: [u8; 3] = [0x48, 0x8d, 0x3d];
/// CALL [RIP + disp32], CALL rel32.
const CALL_INDIRECT: [u8; 2] = [0xff, 0x15];
const CALL: u8 = 0xe8;
/// What panics with nothing but the place of the call in RDI.
const PANIC: &str = "core::option::unwrap_failed";

/// UD2.
pub const INVALID_OPCODE: [u8; 2] = [0x0f, 0x0b];

/// A built program, to be changed.
#[derive(Debug, Clone)]
pub struct Program {
    file: Vec<u8>,
    functions: Vec<Function>,
    segments: Vec<Segment>,
}

#[derive(Debug, Clone)]
struct Function {
    name: String,
    address: u64,
    len: u64,
}

#[derive(Debug, Clone, Copy)]
struct Segment {
    address: u64,
    offset: u64,
    len: u64,
}

impl Program {
    /// Takes an ELF file with symbols.
    pub fn new(file: Vec<u8>) -> Result<Self> {
        let elf = ElfBytes::<LittleEndian>::minimal_parse(&file)?;
        let segments = elf.segments().context("no segments")?.iter();
        let segments = segments
            .filter(|header| header.p_type == PT_LOAD)
            .map(|header| Segment {
                address: header.p_vaddr,
                offset: header.p_offset,
                len: header.p_filesz,
            })
            .collect();
        let (table, names) = elf.symbol_table()?.context("no symbols")?;
        let mut functions = Vec::new();
        for symbol in table
            .iter()
            .filter(|symbol| symbol.st_symtype() == STT_FUNC)
        {
            let name = names.get(symbol.st_name as usize)?;
            functions.push(Function {
                name: format!("{:#}", rustc_demangle::demangle(name)),
                address: symbol.st_value,
                len: symbol.st_size,
            });
        }
        Ok(Self {
            functions,
            segments,
            file,
        })
    }

    /// Returns the file.
    pub fn file(&self) -> &[u8] {
        &self.file
    }

    /// Lets a function execute `code` as soon as it has its frame.
    pub fn overwrite(mut self, function: &str, code: &[u8]) -> Result<Self> {
        let place = self.behind_prologue(function, code.len())?;
        let offset = self.offset(place)?;
        self.file[offset..][..code.len()].copy_from_slice(code);
        Ok(self)
    }

    /// Lets a function panic as soon as it has its frame: moves a panic there that stands somewhere in the code.
    pub fn panic_in(self, function: &str) -> Result<Self> {
        let place = self.behind_prologue(function, LEA_RDI.len() + 4 + CALL_INDIRECT.len() + 4)?;
        let (location, call, target) = self.find_panic()?;
        let mut code = LEA_RDI.to_vec();
        code.extend(displacement(place + 7, location)?);
        code.extend(call);
        let behind = place + code.len() as u64 + 4;
        code.extend(displacement(behind, target)?);
        self.overwrite(function, &code)
    }

    /// Finds a panic: the address of its place in the sources, the opcode of its call, and the address that belongs to it.
    fn find_panic(&self) -> Result<(u64, &'static [u8], u64)> {
        let panic = self.function(PANIC)?.address;
        for function in &self.functions {
            let Ok(offset) = self.offset(function.address) else {
                continue;
            };
            let code = self.file.get(offset..offset + function.len as usize);
            let code = code.context("a function is not in the file")?;
            for (at, window) in code.windows(13).enumerate() {
                let behind_lea = function.address + at as u64 + 7;
                let location = target(behind_lea, &window[3..7]);
                if !window.starts_with(&LEA_RDI) {
                    continue;
                }
                let slot = target(behind_lea + 6, &window[9..13]);
                if window[7..].starts_with(&CALL_INDIRECT) && self.word(slot) == Some(panic) {
                    return Ok((location, &CALL_INDIRECT, slot));
                }
                if window[7] == CALL && target(behind_lea + 5, &window[8..12]) == panic {
                    return Ok((location, &[CALL], panic));
                }
            }
        }
        bail!("nothing calls {PANIC}")
    }

    /// Returns the address behind the prologue of a function that has `len` bytes more.
    fn behind_prologue(&self, name: &str, len: usize) -> Result<u64> {
        let function = self.function(name)?;
        let offset = self.offset(function.address)?;
        ensure!(
            self.file[offset..].starts_with(&PROLOGUE),
            "{name} does not make a frame first: built without frame pointers?"
        );
        ensure!(
            function.len >= (PROLOGUE.len() + len) as u64,
            "{name} is too short"
        );
        Ok(function.address + PROLOGUE.len() as u64)
    }

    fn function(&self, name: &str) -> Result<&Function> {
        let mut found = self
            .functions
            .iter()
            .filter(|function| function.name == name);
        let function = found
            .next()
            .with_context(|| format!("there is no function {name}"))?;
        ensure!(found.next().is_none(), "{name} is there twice");
        Ok(function)
    }

    fn word(&self, address: u64) -> Option<u64> {
        let bytes = self.file.get(self.offset(address).ok()?..)?.first_chunk()?;
        Some(u64::from_le_bytes(*bytes))
    }

    fn offset(&self, address: u64) -> Result<usize> {
        let holds = |s: &&Segment| (s.address..s.address + s.len).contains(&address);
        let segment = self.segments.iter().find(holds);
        let segment = segment.with_context(|| format!("{address:#x} is not in the file"))?;
        Ok(usize::try_from(address - segment.address + segment.offset)?)
    }
}

/// Returns where a displacement leads from the address behind it.
fn target(behind: u64, displacement: &[u8]) -> u64 {
    let bytes = displacement
        .first_chunk()
        .expect("a displacement has four bytes");
    behind.wrapping_add_signed(i32::from_le_bytes(*bytes).into())
}

/// Returns the displacement from the address behind it to `target`.
fn displacement(behind: u64, target: u64) -> Result<[u8; 4]> {
    let distance = i32::try_from(target.wrapping_sub(behind).cast_signed())?;
    Ok(distance.to_le_bytes())
}
