// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random files, programs, command lines and results: what the kernel checks before it believes it. `make fuzz` runs
//! this long.

extern crate std;

use std::format;
use std::string::{String, ToString};
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::archive;
use crate::command_line::Init;
use crate::layout::{USER_SEGMENTS_END, USER_START};
use crate::program::{MAX_SEGMENTS, Program};
use crate::reply;
use crate::user_memory::{Access, Region, RegionMap, Rights};

/// An entry of an archive: its name, whether it is a regular file, its contents.
type File = (String, bool, Vec<u8>);

fn file() -> impl Strategy<Value = File> {
    let name = "\\./[a-c]{1,2}|/[a-c]{1,2}|[a-c]{1,2}|[!-~]{0,12}";
    (
        name,
        prop::bool::weighted(0.8),
        prop::collection::vec(any::<u8>(), 0..40),
    )
}

fn archive_of(files: &[File], has_trailer: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut put = |name: &str, mode: u32, data: &[u8]| {
        let mut fields = [0u32; 13];
        (fields[1], fields[6], fields[11]) = (mode, data.len() as u32, name.len() as u32 + 1);
        bytes.extend(b"070701");
        fields
            .iter()
            .for_each(|field| bytes.extend(format!("{field:08x}").bytes()));
        bytes.extend(name.bytes());
        bytes.push(0);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    };
    for (name, is_regular, data) in files {
        put(name, if *is_regular { 0o100_755 } else { 0o040_755 }, data);
    }
    if has_trailer {
        put("TRAILER!!!", 0, b"");
    }
    bytes
}

/// The name without one leading `.` and one leading `/`.
fn bare(name: &str) -> &str {
    let name = name.strip_prefix('.').unwrap_or(name);
    name.strip_prefix('/').unwrap_or(name)
}

/// A program header: type, flags, offset, address, bytes in the file, bytes in memory.
type Header = (u32, u32, u64, u64, u64, u64);

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        6 => 0u64..0x500,
        1 => (0u32..64, -1i64..2).prop_map(|(bit, by)| (1u64 << bit).wrapping_add_signed(by)),
        1 => any::<u64>(),
    ]
}

fn header() -> impl Strategy<Value = Header> {
    let kind = prop_oneof![12 => Just(1u32), 1 => 0u32..8];
    let edges = select(vec![USER_START, USER_SEGMENTS_END, USER_START + 0x5000]);
    let address = prop_oneof![
        6 => (0u64..0x40, prop_oneof![Just(0u64), 0u64..0x1000]).prop_map(|(page, by)| USER_START + (page << 12) + by),
        1 => (edges, -0x1001i64..0x1002).prop_map(|(edge, by)| edge.wrapping_add_signed(by)),
        1 => any::<u64>(),
    ];
    let sizes = prop_oneof![
        6 => (0u64..0x200, 0u64..0x1000).prop_map(|(file, more)| (file, file + more)),
        1 => (number(), number()),
    ];
    let flags = prop_oneof![3 => select(vec![4u32, 5, 6]), 1 => 0u32..8];
    (kind, flags, number(), address, sizes).prop_map(
        |(kind, flags, offset, address, (file, memory))| {
            (kind, flags, offset, address, file, memory)
        },
    )
}

const PROGRAM_LEN: usize = 0x500;

fn program_of(headers: &[Header], entry: u64) -> Vec<u8> {
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0".to_vec();
    file.extend([entry, 64, 0].map(u64::to_le_bytes).concat());
    file.extend([0; 4]);
    file.extend(
        [64, 56, headers.len() as u16, 64, 0, 0]
            .map(u16::to_le_bytes)
            .concat(),
    );
    for &(kind, flags, offset, address, in_file, in_memory) in headers {
        file.extend([kind, flags].map(u32::to_le_bytes).concat());
        file.extend(
            [offset, address, address, in_file, in_memory, 0x1000]
                .map(u64::to_le_bytes)
                .concat(),
        );
    }
    file.resize(PROGRAM_LEN, 0xcc);
    file
}

/// Tells whether a program can be mapped as it is.
fn can_run(headers: &[Header], entry: u64) -> bool {
    let wide = u128::from;
    let loaded = |h: &&Header| h.0 == 1 && h.5 != 0;
    let all: Vec<&Header> = headers.iter().filter(loaded).collect();
    let pages = |h: &Header| (h.3 >> 12, (wide(h.3) + wide(h.5)).div_ceil(4096));
    let fits = |h: &Header| {
        let end = wide(h.3) + wide(h.5);
        h.3 >= USER_START
            && end <= wide(USER_SEGMENTS_END)
            && h.4 <= h.5
            && wide(h.2) + wide(h.4) <= PROGRAM_LEN as u128
            && h.1 & 3 != 3
    };
    let apart = |a: &Header, b: &Header| {
        let (a, b) = (pages(a), pages(b));
        a.1 <= wide(b.0) || b.1 <= wide(a.0)
    };
    let is_code = |h: &&Header| h.1 & 3 == 1 && h.3 <= entry && wide(entry) < wide(h.3) + wide(h.5);
    headers.iter().all(|h| h.0 != 3)
        && all.len() <= MAX_SEGMENTS
        && all.iter().all(|h| fits(h))
        && (0..all.len()).all(|i| all[..i].iter().all(|h| apart(h, all[i])))
        && all.iter().any(is_code)
}

/// Parses a file and checks all that mapping relies on.
fn judge_program(file: &[u8]) -> Result<bool, TestCaseError> {
    let Ok(program) = Program::parse(file) else {
        return Ok(false);
    };
    let segments: Vec<_> = program.segments().collect();
    for (i, segment) in segments.iter().enumerate() {
        prop_assert!(USER_START <= segment.address && segment.end <= USER_SEGMENTS_END);
        prop_assert!(segment.data.len() as u64 <= segment.end - segment.address);
        let (start, end) = segment.pages();
        prop_assert!(
            segments[..i]
                .iter()
                .all(|other| end <= other.pages().0 || other.pages().1 <= start)
        );
    }
    prop_assert!(
        segments
            .iter()
            .any(|s| s.rights == Rights::Execute && (s.address..s.end).contains(&program.entry))
    );
    Ok(true)
}

/// Whether a byte of the program's memory allows an access, as the list of regions says.
fn allows(regions: &[Region], address: u64, access: Access) -> bool {
    let found = regions
        .iter()
        .find(|region| (region.start..region.end).contains(&address));
    found.is_some_and(|region| access == Access::Read || region.rights == Rights::Write)
}

proptest! {
    #[test]
    fn a_file_of_an_archive_is_found_by_its_name(
        files in prop::collection::vec(file(), 0..6), wanted in "[a-c]{1,2}", has_trailer in prop::bool::weighted(0.9),
    ) {
        let archive = archive_of(&files, has_trailer);
        // What stands behind an entry with the trailer's name is not looked at.
        let before = files.iter().take_while(|(name, ..)| name != "TRAILER!!!");
        let expected = before.clone().find(|(name, is_regular, _)| *is_regular && bare(name) == wanted);
        let is_closed = has_trailer || before.count() < files.len();
        match archive::find(&archive, &wanted) {
            Ok(data) => prop_assert_eq!(Some(data), expected.map(|(.., data)| &data[..])),
            Err(archive::ArchiveError::NotFound) => prop_assert!(expected.is_none() && is_closed),
            Err(error) => prop_assert!(expected.is_none() && !is_closed, "{:?}", error),
        }
    }

    #[test]
    fn a_damaged_archive_is_searched_to_an_end(
        files in prop::collection::vec(file(), 0..6),
        changes in prop::collection::vec((any::<Index>(), prop_oneof![select(b"0123456789abcdefgF\0".to_vec()), any::<u8>()]), 0..6),
        keep in prop::option::of(any::<Index>()), wanted in "[a-c]{1,2}",
    ) {
        let mut archive = archive_of(&files, true);
        for (at, value) in changes {
            let at = at.index(archive.len());
            archive[at] = value;
        }
        if let Some(keep) = keep {
            archive.truncate(keep.index(archive.len()));
        }
        if let Ok(data) = archive::find(&archive, &wanted) {
            let (start, end) = (data.as_ptr().addr(), data.as_ptr().addr() + data.len());
            let all = archive.as_ptr().addr();
            prop_assert!(all <= start && end <= all + archive.len());
        }
    }

    #[test]
    fn a_program_runs_if_and_only_if_it_keeps_the_rules(
        headers in prop_oneof![9 => prop::collection::vec(header(), 0..5), 1 => prop::collection::vec(header(), 7..12)],
        code in prop::bool::weighted(0.9), entry in prop_oneof![9 => (0u64..0x100).prop_map(Ok), 1 => any::<u64>().prop_map(Err)],
    ) {
        let mut headers = headers;
        let mut at = 0;
        if code && let Some(first) = headers.first_mut() {
            first.1 = 5;
            at = first.3;
        }
        let entry = entry.map_or_else(|entry| entry, |by| at.wrapping_add(by));
        let file = program_of(&headers, entry);
        prop_assert_eq!(judge_program(&file)?, can_run(&headers, entry), "{:?}", Program::parse(&file));
    }

    #[test]
    fn a_damaged_program_is_refused_or_sound(
        headers in prop::collection::vec(header(), 1..4), changes in prop::collection::vec((0usize..0x140, any::<u8>()), 0..5),
        len in prop_oneof![3 => Just(PROGRAM_LEN), 1 => 0..PROGRAM_LEN],
    ) {
        let mut file = program_of(&headers, headers[0].3);
        for (at, value) in changes {
            file[at] = value;
        }
        file.truncate(len);
        judge_program(&file)?;
    }

    #[test]
    fn a_range_is_split_into_the_bytes_that_it_has(
        pieces in prop::collection::vec((0u64..6, 0u64..8, 0u8..3), 0..6),
        address in prop_oneof![8 => 0u64..60, 1 => any::<u64>()],
        len in prop_oneof![8 => 0u64..60, 1 => any::<u64>()], writes: bool,
    ) {
        let access = if writes { Access::Write } else { Access::Read };
        let (mut map, mut regions, mut at) = (RegionMap::<4>::new(), vec![], 0);
        for (gap, len, rights) in pieces {
            let rights = [Rights::Read, Rights::Write, Rights::Execute][usize::from(rights)];
            let region = Region { start: at + gap, end: at + gap + len, rights };
            at = region.end;
            let number = map.insert(region);
            prop_assert_eq!(number, (len != 0 && regions.len() < 4).then_some(regions.len()));
            regions.extend(number.map(|_| region));
        }
        let wanted = address.checked_add(len).map(|end| address..end);
        // Beyond the last region nothing is allowed: no need to look at more than a few bytes of a long range.
        let is_allowed = |wanted: std::ops::Range<u64>| wanted.take(100).all(|byte| allows(&regions, byte, access));
        match map.parts(address, len, access) {
            Ok(parts) => {
                prop_assert!(wanted.is_some_and(is_allowed));
                let mut next = address;
                for part in parts {
                    let region = regions[part.region];
                    prop_assert_eq!(region.start + part.offset as u64, next);
                    next += part.len as u64;
                    prop_assert!(part.len != 0 && next <= region.end);
                }
                prop_assert_eq!(next, address + len);
            }
            Err(_) => prop_assert!(!wanted.is_some_and(is_allowed)),
        }
        let accessible = (0..len.min(100)).take_while(|by| allows(&regions, address.saturating_add(*by), access)).count();
        prop_assert_eq!(map.accessible(address, len, access), accessible as u64);
    }

    #[test]
    fn a_command_line_names_a_program_by_its_first_word_of_that_kind(line in "( |init=|init|=|[a-c]|\t|é|\u{2003}){0,12}") {
        let words: Vec<&str> = line.split_whitespace().collect();
        let at = words.iter().position(|word| word.starts_with("init="));
        let expected = at.filter(|&at| words[at] != "init=").map(|at| {
            let name = words[at]["init=".len()..].to_string();
            (name, words[at + 1..].to_vec())
        });
        let found = Init::parse(&line).map(|init| (init.name.to_string(), init.arguments().skip(1).collect()));
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn what_reaches_a_program_is_an_error_or_in_range(result: i64, most in 0i64.., len: u64, room: usize) {
        for result in [result, result % 8192, -4096, -4095, most, most.wrapping_add(1)] {
            match reply::checked(result, most) {
                Ok(good) => prop_assert!(good == result && (-4095..=most).contains(&good)),
                Err(bad) => prop_assert!(bad.result == result && !(-4095..=most).contains(&result)),
            }
        }
        prop_assert_eq!(reply::clipped(len, room) as u64, len.min(room as u64));
    }
}
