// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random boot information.

use multiboot2::BootInformationHeader;
use proptest::prelude::*;
use proptest::sample::Index;

use super::super::modules::Modules;
use super::*;

/// Where the hypervisor would be.
const IMAGE: Image = Image {
    start: 0x3000_0000,
    end: 0x300c_0000,
    code: Range::new(0x3000_0000, 0x4_0000),
    stack: Range::new(0x3008_0000, 0x1_0000),
    trampoline: &[],
    trampoline_entry64: 0,
    trampoline_params: 0,
};

/// A tag: its type, its contents, and by how much its size is wrong.
#[derive(Clone, Debug)]
struct Tag {
    kind: u32,
    contents: Vec<u8>,
    size_error: i32,
}

fn address() -> impl Strategy<Value = u64> {
    prop_oneof![
        (0u64..0x4000).prop_map(|page| page << 12),
        (12u32..64, -1i64..2).prop_map(|(bit, by)| (1u64 << bit).wrapping_add_signed(by)),
        any::<u64>(),
    ]
}

/// Entries of a memory map, as long as the map says they are, or not.
fn memory_map() -> impl Strategy<Value = Vec<u8>> {
    let entry = || (address(), address(), 0u32..8);
    let entry_len = prop_oneof![9 => Just(24u32), 1 => 0u32..64, 1 => any::<u32>()];
    let entries = prop_oneof![
        9 => prop::collection::vec(entry(), 0..12),
        1 => prop::collection::vec(entry(), 120..140),
    ];
    (entry_len, entries).prop_map(|(entry_len, entries)| {
        let mut contents = [entry_len.to_le_bytes(), [0; 4]].concat();
        for (base, size, kind) in entries {
            contents.extend(base.to_le_bytes());
            contents.extend(size.to_le_bytes());
            contents.extend(kind.to_le_bytes());
            // Of a sane length, more or less of the reserved rest.
            contents.extend(vec![0; (entry_len.min(64) as usize).saturating_sub(20)]);
        }
        contents
    })
}

fn module() -> impl Strategy<Value = Vec<u8>> {
    let name = prop_oneof![
        4 => "[a-c]{1,2}( [a-c]{1,4})?",
        1 => "[a-z]{28,34}",
        1 => "\\PC{0,20}",
    ];
    let end = prop_oneof![9 => (0u32..0x10000).prop_map(Ok), 1 => any::<u32>().prop_map(Err)];
    let nul = prop::bool::weighted(0.95);
    (any::<u32>(), end, name, nul).prop_map(|(start, end, name, has_nul)| {
        let end = end.map_or_else(|end| end, |len: u32| start.wrapping_add(len));
        let mut contents = [start.to_le_bytes(), end.to_le_bytes()].concat();
        contents.extend(name.bytes());
        contents.extend(has_nul.then_some(0));
        contents
    })
}

fn command_line() -> impl Strategy<Value = Vec<u8>> {
    "(quiet )?(console=(0x)?[0-9a-f]{0,6})?[ -~]{0,8}"
        .prop_map(|line| [line.as_bytes(), &[0]].concat())
}

fn root_pointer() -> impl Strategy<Value = Vec<u8>> {
    (
        prop::collection::vec(any::<u8>(), 0..48),
        0u8..4,
        any::<bool>(),
    )
        .prop_map(|(mut contents, revision, right)| {
            if right && contents.len() >= 20 {
                contents[..8].copy_from_slice(b"RSD PTR ");
                contents[15] = revision;
                let sum = contents[..20]
                    .iter()
                    .fold(0u8, |sum, byte| sum.wrapping_add(*byte));
                contents[8] = contents[8].wrapping_sub(sum);
            }
            contents
        })
}

/// A section header as far as it is read: type, address, size, link.
type Section = (u32, u64, u64, u32);

/// The contents of the tag with section headers of `header_len` bytes each.
fn sections(count: u32, header_len: u32, headers: &[Section]) -> Vec<u8> {
    let mut contents = [count, header_len, 0].map(u32::to_le_bytes).concat();
    for (kind, address, size, link) in headers {
        let mut header = vec![0; header_len.clamp(64, 128) as usize];
        header[4..8].copy_from_slice(&kind.to_le_bytes());
        header[16..24].copy_from_slice(&address.to_le_bytes());
        header[32..40].copy_from_slice(&size.to_le_bytes());
        header[40..44].copy_from_slice(&link.to_le_bytes());
        contents.extend(header);
    }
    contents
}

fn any_sections() -> impl Strategy<Value = Vec<u8>> {
    let section = (
        0u32..5,
        address(),
        address(),
        prop_oneof![9 => 0u32..6, 1 => any::<u32>()],
    );
    let header_len = prop_oneof![9 => Just(64u32), 1 => 0u32..130, 1 => any::<u32>()];
    let count = prop_oneof![9 => 0u32..8, 1 => any::<u32>()];
    (count, header_len, prop::collection::vec(section, 0..6))
        .prop_map(|(count, header_len, headers)| sections(count, header_len, &headers))
}

fn tag() -> impl Strategy<Value = Tag> {
    let other = (any::<u32>(), prop::collection::vec(any::<u8>(), 0..40));
    let contents = prop_oneof![
        3 => memory_map().prop_map(|contents| (6, contents)),
        6 => module().prop_map(|contents| (3, contents)),
        2 => command_line().prop_map(|contents| (1, contents)),
        2 => (14u32..16, root_pointer()),
        2 => any_sections().prop_map(|contents| (9, contents)),
        1 => (0u32..24, prop::collection::vec(any::<u8>(), 0..40)),
        1 => other,
    ];
    let size_error = prop_oneof![40 => Just(0), 2 => -24i32..24, 1 => any::<i32>()];
    (contents, size_error).prop_map(|((kind, contents), size_error)| Tag {
        kind,
        contents,
        size_error,
    })
}

/// Writes the boot information as a loader does, in words, because it is aligned to 8 bytes.
fn written(tags: &[Tag], ends: bool, changes: &[(Index, u8)]) -> Vec<u64> {
    let mut bytes = vec![0; 8];
    let end = ends.then_some(Tag {
        kind: 0,
        contents: Vec::new(),
        size_error: 0,
    });
    for tag in tags.iter().chain(&end) {
        let size = (8 + tag.contents.len() as u32).wrapping_add_signed(tag.size_error);
        bytes.extend(tag.kind.to_le_bytes());
        bytes.extend(size.to_le_bytes());
        bytes.extend(&tag.contents);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
    }
    for (at, value) in changes {
        let at = at.index(bytes.len());
        bytes[at] = *value;
    }
    // The loader vouches for this one: it says how much memory may be read.
    let len = bytes.len() as u32;
    bytes[..4].copy_from_slice(&len.to_le_bytes());
    let (words, _) = bytes.as_chunks();
    words.iter().map(|word| u64::from_le_bytes(*word)).collect()
}

fn read(words: &[u64]) -> Result<Machine, InitError> {
    let pointer = words.as_ptr().cast::<BootInformationHeader>();
    // SAFETY: `written` made the stated length that of the words, which live on.
    let info = unsafe { BootInformation::load(pointer) };
    let info = info.map_err(|_| InitError::BootInformation("refused by the crate"))?;
    Machine::from_information(&info, &IMAGE)
}

fn judge(words: &[u64]) -> Result<(), TestCaseError> {
    let machine = match read(words) {
        Ok(machine) => machine,
        Err(error) => {
            prop_assert!(!error.to_string().is_empty());
            return Ok(());
        }
    };
    prop_assert!((FOUR_GIB..=IDENTITY_END).contains(&machine.memory_end));
    prop_assert!(
        machine
            .modules
            .iter()
            .all(|module| module.range.end() <= u32::MAX.into())
    );
    for range in machine.ram() {
        let last = range.end().saturating_sub(1);
        let probe = Range::new(last, 1);
        prop_assert!(
            range.size == 0 || last == u64::MAX - 1 || machine.is_ram(probe),
            "{}",
            probe
        );
    }
    let names: Vec<_> = machine.modules.iter().map(|module| module.name).collect();
    let is_unique = (0..names.len()).all(|i| !names[..i].contains(&names[i]));
    prop_assert_eq!(Modules::new(&machine).is_ok(), is_unique);
    Ok(())
}

proptest! {
    #[test]
    fn any_boot_information_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 8..400), ends: bool) {
        let mut words: Vec<u64> = bytes.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
        words[0] = 0;
        if ends {
            words.push(8 << 32);
        }
        words[0] = words.len() as u64 * 8;
        judge(&words)?;
    }

    #[test]
    fn any_tags_are_read_or_refused(
        tags in prop::collection::vec(tag(), 0..8),
        ends in prop::bool::weighted(0.95),
        changes in prop::collection::vec((any::<Index>(), any::<u8>()), 0..2),
    ) {
        judge(&written(&tags, ends, &changes))?;
    }

    #[test]
    fn sound_sections_lead_to_the_symbols(
        before in prop::collection::vec((prop_oneof![Just(0u32), 3u32..20], address(), address(), any::<u32>()), 0..6),
        behind in prop::collection::vec((any::<u32>(), address(), address(), any::<u32>()), 0..6),
        table in (address(), address()),
        names in (address(), address()),
        header_len in 64u32..100,
        are_counted: bool,
    ) {
        let link = (before.len() + 1 + behind.len()) as u32;
        let mut headers = before;
        headers.push((2, table.0, table.1, link));
        headers.extend(behind);
        headers.push((3, names.0, names.1, 0));
        let count = link + u32::from(are_counted);
        let map = Tag { kind: 6, contents: [24u32, 0].map(u32::to_le_bytes).concat(), size_error: 0 };
        let tag = Tag { kind: 9, contents: sections(count, header_len, &headers), size_error: 0 };
        let machine = read(&written(&[map, tag], true, &[])).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let expected = SymbolTables { table: Range::new(table.0, table.1), names: Range::new(names.0, names.1) };
        prop_assert_eq!(machine.symbols, are_counted.then_some(expected));
    }

    #[test]
    fn a_sound_map_and_its_modules_arrive_as_they_are(
        map in prop::collection::vec((address(), address(), 1u32..6), 0..=MAX_ENTRIES),
        modules in prop::collection::vec((0u32..1 << 31, 0u32..1 << 31, "[a-z]{1,31}"), 0..6),
        port: u16,
    ) {
        let mut contents = [24u32.to_le_bytes(), [0; 4]].concat();
        for (base, size, kind) in &map {
            contents.extend([base.to_le_bytes(), size.to_le_bytes(), u64::from(*kind).to_le_bytes()].concat());
        }
        let tag = |kind, contents| Tag { kind, contents, size_error: 0 };
        let mut tags = vec![tag(6, contents), tag(1, format!("console={port:#x}\0").into_bytes())];
        for (start, len, name) in &modules {
            let numbers = [start.to_le_bytes(), (start + len).to_le_bytes()].concat();
            tags.push(tag(3, [&numbers[..], name.as_bytes(), b" more\0"].concat()));
        }
        let machine = read(&written(&tags, true, &[])).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(machine.console, Some(port));
        let found: Vec<_> = machine.memory_map.iter().map(|e| (e.range.base, e.range.size, e.kind.0)).collect();
        prop_assert_eq!(found, map);
        let found: Vec<_> = machine.modules.iter()
            .map(|m| (m.range.base as u32, m.range.size as u32, m.name.to_string()))
            .collect();
        prop_assert_eq!(found, modules);
    }
}
