// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random stacks, names, symbol tables and files.

use std::collections::BTreeMap;
use std::env;
use std::fs;

use backtrace::{End, MAX_FRAMES, Memory, Name, Place, Start, Symbols, Walk, print};
use proptest::prelude::*;
use proptest::sample::Index;

/// Words of each of the two stacks.
const WORDS: u64 = 48;
const STACKS: [(u8, u64); 2] = [(0, 0x2000), (1, 0x1000)];
const CODE: std::ops::Range<u64> = 0x8000..0x9000;

/// Stacks of random words. Reading anything else is an error of the walk.
#[derive(Debug)]
struct Stacks(BTreeMap<u64, u64>);

impl Memory for Stacks {
    fn rank(&self, address: u64) -> Option<u8> {
        let holds = |base: u64| base <= address && address <= base + 8 * (WORDS - 1);
        STACKS
            .iter()
            .find(|(_, base)| holds(*base))
            .map(|(rank, _)| *rank)
    }

    fn read(&self, address: u64) -> Option<u64> {
        Some(*self.0.get(&address).expect("an aligned word of a stack"))
    }

    fn is_code(&self, address: u64) -> bool {
        CODE.contains(&address)
    }
}

/// A word that leads on: into a stack or near its edges, into the code, or anywhere.
fn word() -> impl Strategy<Value = u64> {
    let stack = (any::<Index>(), 0..WORDS).prop_map(|(i, word)| i.get(&STACKS).1 + 8 * word);
    prop_oneof![
        6 => stack,
        6 => CODE,
        1 => (any::<Index>(), -20i64..420).prop_map(|(i, by)| i.get(&STACKS).1.wrapping_add_signed(by)),
        1 => Just(0),
        1 => any::<u64>(),
    ]
}

/// Stacks whose even words lead to later words, or not, and whose odd words are code, or not.
fn stacks() -> impl Strategy<Value = Stacks> {
    let frame = |base: u64, i: u64| {
        let onward = (i + 2..WORDS + 4).prop_map(move |word| base + 8 * word);
        (
            prop_oneof![3 => onward, 1 => word()],
            prop_oneof![9 => CODE, 1 => word()],
        )
            .prop_map(move |(saved, address)| {
                [(base + 8 * i, saved), (base + 8 * (i + 1), address)]
            })
    };
    let frames: Vec<_> = STACKS
        .into_iter()
        .flat_map(|(_, base)| (0..WORDS).step_by(2).map(move |i| frame(base, i)))
        .collect();
    frames.prop_map(|words| Stacks(words.into_iter().flatten().collect()))
}

/// A name of letters that mean something to a demangler.
fn name() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        Just("Nv"),
        Just("Nt"),
        Just("C1a"),
        Just("INtC1a1f"),
        Just("R"),
        Just("B_"),
        Just("B3_"),
        Just("F"),
        Just("K"),
        Just("E"),
        Just("X"),
        Just("M"),
        Just("s_"),
        Just("3abc"),
        Just("17h0123456789abcdefE"),
        Just("$LT$"),
        Just(".."),
        Just("1"),
        Just("99999999999999999999"),
        Just("_"),
        Just("D"),
        Just("T"),
        Just("u"),
        Just("p"),
        Just(".llvm."),
    ];
    let prefix = prop_oneof![Just("_R"), Just("_ZN"), Just("R"), Just("__R"), Just("")];
    prop_oneof![
        4 => (prefix, prop::collection::vec(part, 0..200)).prop_map(|(prefix, parts)| [prefix, &parts.concat()].concat().into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 0..300),
    ]
}

/// The text of a backtrace.
fn text(start: Start, memory: &impl Memory, symbols: Symbols<'_>) -> Vec<String> {
    let mut lines = Vec::new();
    print(start, memory, symbols, |line| lines.push(line.to_string()));
    lines
}

/// This test's own file, as large as they come.
fn own_file() -> Vec<u8> {
    fs::read(env::current_exe().expect("tests have a file")).expect("the file can be read")
}

proptest! {
    #[test]
    fn any_stack_is_walked_to_an_end(stacks in stacks(), rip in word(), rsp in word(), rbp in word()) {
        let start = Start { rip, rsp, rbp };
        let mut walk = Walk::new(start, &stacks);
        let frames: Vec<_> = walk.by_ref().collect();
        prop_assert_eq!(frames[0].address, rip);
        prop_assert!((1..=MAX_FRAMES).contains(&frames.len()));
        prop_assert!(frames[1..].iter().all(|frame| CODE.contains(&frame.address)));
        if walk.end() == End::TooDeep {
            prop_assert_eq!(frames.len(), MAX_FRAMES);
        }
        let lines = text(start, &stacks, Symbols::NONE);
        prop_assert_eq!(lines.len(), frames.len() + usize::from(walk.end() != End::Outermost));
    }

    #[test]
    fn any_name_is_printed_in_short(bytes in name()) {
        if let Some(name) = Name::new(&bytes) {
            let text = name.to_string();
            prop_assert!(!text.is_empty() && text.len() < 200, "{}", text);
            prop_assert!(!text.chars().any(char::is_control));
        }
    }

    #[test]
    fn any_table_is_searched(table in prop::collection::vec(any::<u8>(), 0..400), names in prop::collection::vec(0u8..128, 0..100), address: u64) {
        let symbols = Symbols::from_sections(&table, &names);
        if let Some(symbol) = symbols.find(address) {
            prop_assert!(symbol.address <= address);
            prop_assert!(names.windows(symbol.name.raw().len()).any(|part| part == symbol.name.raw().as_bytes()));
        }
    }

    #[test]
    fn any_file_is_searched(bytes in prop::collection::vec(any::<u8>(), 0..300), address: u64) {
        let file = [&b"\x7fELF\x02\x01\x01"[..], &bytes].concat();
        for file in [&file, &bytes] {
            if let Some(symbols) = Symbols::from_elf(file) {
                symbols.find(address);
            }
        }
    }
}

/// A file with header, a function, its name, and three section headers: none, symbols, names.
fn small_file() -> Vec<u8> {
    let (table_at, names_at, headers_at) = (64u64, 64u64 + 48, 128u64);
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0".to_vec();
    file.extend([[0; 8], [0; 8], headers_at.to_le_bytes()].concat());
    file.extend([0, 0, 0, 0, 64, 0, 56, 0, 0, 0, 64, 0, 3, 0, 2, 0]);
    file.extend([0; 24]);
    file.extend([1, 0, 0, 0, 2, 0, 1, 0]);
    file.extend([0x1000u64.to_le_bytes(), 0x100u64.to_le_bytes()].concat());
    file.extend(b"\0name\0");
    file.resize(128 + 64, 0);
    for (kind, offset, size, link) in [(2u32, table_at, 48u64, 2u32), (3, names_at, 6, 0)] {
        file.extend([[0; 4], kind.to_le_bytes()].concat());
        file.extend([[0; 8], [0; 8], offset.to_le_bytes(), size.to_le_bytes()].concat());
        file.extend([link.to_le_bytes(), [0; 4]].concat());
        file.extend([[0; 8], 24u64.to_le_bytes()].concat());
    }
    file
}

#[test]
fn the_small_file_has_its_name() {
    let file = small_file();
    let symbols = Symbols::from_elf(&file).expect("the file has symbols");
    assert_eq!(
        symbols
            .find(0x10ff)
            .map(|symbol| symbol.name.to_string())
            .as_deref(),
        Some("name")
    );
    assert!(symbols.find(0x1100).is_none());
}

proptest! {
    #[test]
    fn a_changed_file_is_searched(changes in prop::collection::vec((any::<Index>(), any::<u8>()), 1..6), cut in any::<Index>(), cuts: bool) {
        let mut file = small_file();
        for (at, value) in changes {
            let at = at.index(file.len());
            file[at] = value;
        }
        if cuts {
            file.truncate(cut.index(file.len()));
        }
        if let Some(symbols) = Symbols::from_elf(&file) {
            for address in [0, 0x1000, 0x10ff, u64::MAX] {
                if let Some(symbol) = symbols.find(address) {
                    prop_assert!(symbol.address <= address);
                }
            }
        }
    }
}

#[test]
fn functions_of_a_real_file_are_found() {
    let file = own_file();
    let symbols = Symbols::from_elf(&file).expect("tests have symbols");
    let headers = elf::ElfBytes::<elf::endian::LittleEndian>::minimal_parse(&file)
        .expect("tests are ELF files");
    let (table, names) = headers
        .symbol_table()
        .expect("a sound table")
        .expect("a table");
    let mut count = 0;
    for symbol in table
        .iter()
        .filter(|symbol| symbol.st_symtype() == 2 && symbol.st_size > 0)
        .take(200)
    {
        let found = symbols
            .find(symbol.st_value + symbol.st_size - 1)
            .expect("a function holds its last byte");
        let name = names
            .get(symbol.st_name as usize)
            .expect("functions have names");
        // Equal functions are folded: several names for one place.
        assert_eq!(found.address, symbol.st_value, "{name}");
        count += 1;
    }
    assert!(count > 100);
    let frame = backtrace::Frame {
        address: 0x10,
        is_return: true,
    };
    assert_eq!(Place::new(frame, Symbols::NONE).to_string(), "0x10");
}
