// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random images: headers with right and nearly right numbers, judged by rules told a second time.

use super::*;
use proptest::prelude::*;
use proptest::sample::Index;

/// The cell's memory, whose first 64 KiB are the boot area.
pub(crate) const MEMORY: [Range; 2] = [
    Range::new(0x4200_0000, 0x10_0000),
    Range::new(0x4300_0000, 0x4_0000),
];
const BOOT_AREA_END: u64 = 0x4201_0000;
const FILE_LEN: usize = 0x1000;
const TABLE: usize = 0x40;

/// A program header as it stands in the file.
#[derive(Clone, Copy, Debug)]
struct Header {
    kind: u32,
    flags: u32,
    offset: u64,
    paddr: u64,
    filesz: u64,
    memsz: u64,
}

/// An image's file, and what it was made from.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    headers: Vec<Header>,
    entry: u64,
    /// The file.
    pub(crate) file: Vec<u8>,
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        12 => (0u64..12).prop_map(|n| n << 8),
        2 => (0u64..0x11, -1i64..2).prop_map(|(n, by)| (n << 8).wrapping_add_signed(by)),
        1 => (0u32..64, -1i64..2).prop_map(|(bit, by)| (1u64 << bit).wrapping_add_signed(by)),
        1 => any::<u64>(),
    ]
}

/// An address at or near something of the cell's.
fn address() -> impl Strategy<Value = u64> {
    let edges = [
        0x4200_0000u64,
        0x4201_0000,
        0x4201_1000,
        0x4208_0000,
        0x4210_0000,
        0x4300_0000,
        0x4304_0000,
    ];
    prop_oneof![
        6 => (0u64..0x18).prop_map(|page| 0x4201_0000 + (page << 12)),
        1 => (any::<Index>(), -0x200i64..0x200).prop_map(move |(i, by)| i.get(&edges).wrapping_add_signed(by)),
        1 => any::<u64>(),
    ]
}

fn header() -> impl Strategy<Value = Header> {
    let kind = prop_oneof![9 => Just(abi::PT_LOAD), 1 => 0u32..8];
    let size = prop_oneof![
        // More in memory than in the file, as a rule.
        8 => (0u64..0x400, 0u64..0x2000).prop_map(|(file, more)| (file, file + more)),
        1 => (number(), number()),
    ];
    (kind, 0u32..8, number(), address(), size).prop_map(
        |(kind, flags, offset, paddr, (filesz, memsz))| Header {
            kind,
            flags,
            offset,
            paddr,
            filesz,
            memsz,
        },
    )
}

/// Returns images of which some can be loaded.
pub(crate) fn image() -> impl Strategy<Value = Image> {
    let headers = prop_oneof![
        9 => prop::collection::vec(header(), 0..4),
        1 => prop::collection::vec(header(), 14..20),
    ];
    let entry = prop_oneof![
        9 => (any::<Index>(), 0u64..0x100).prop_map(Ok),
        1 => address().prop_map(Err),
    ];
    let code = prop::bool::weighted(0.9);
    (headers, entry, code).prop_map(|(mut headers, entry, code)| {
        if code && let Some(first) = headers.first_mut() {
            first.flags |= abi::PF_X;
        }
        let entry = match entry {
            Ok((which, by)) if !headers.is_empty() => which.get(&headers).paddr.wrapping_add(by),
            Ok(_) => 0,
            Err(entry) => entry,
        };
        let file = written(&headers, entry);
        Image {
            headers,
            entry,
            file,
        }
    })
}

fn written(headers: &[Header], entry: u64) -> Vec<u8> {
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0".to_vec();
    file.extend([entry, TABLE as u64, 0].map(u64::to_le_bytes).concat());
    file.extend([0; 4]);
    file.extend(
        [64, 56, headers.len() as u16, 64, 0, 0]
            .map(u16::to_le_bytes)
            .concat(),
    );
    for header in headers {
        file.extend([header.kind, header.flags].map(u32::to_le_bytes).concat());
        let Header {
            offset,
            paddr,
            filesz,
            memsz,
            ..
        } = *header;
        file.extend(
            [offset, 0, paddr, filesz, memsz, 0x1000]
                .map(u64::to_le_bytes)
                .concat(),
        );
    }
    file.resize(FILE_LEN, 0xcc);
    file
}

impl Image {
    /// Tells whether the image can be loaded into [`MEMORY`].
    fn can_be_loaded(&self) -> bool {
        let wide = u128::from;
        let loaded = |h: &&Header| h.kind == abi::PT_LOAD && h.memsz != 0;
        let all: Vec<&Header> = self.headers.iter().filter(loaded).collect();
        let end = |h: &Header| wide(h.paddr) + wide(h.memsz);
        let fits = |h: &Header| {
            let is_in = |region: &Range| h.paddr >= region.base && end(h) <= wide(region.end());
            let in_file = wide(h.offset) + wide(h.filesz) <= FILE_LEN as u128;
            let off_boot_area = h.paddr >= BOOT_AREA_END || end(h) <= wide(MEMORY[0].base);
            in_file && h.filesz <= h.memsz && MEMORY.iter().any(is_in) && off_boot_area
        };
        let apart = |a: &Header, b: &Header| end(a) <= wide(b.paddr) || end(b) <= wide(a.paddr);
        let holds_entry = |h: &&Header| {
            h.flags & abi::PF_X != 0 && h.paddr <= self.entry && wide(self.entry) < end(h)
        };
        (1..=MAX_SEGMENTS).contains(&all.len())
            && all.iter().all(|h| fits(h))
            && (0..all.len()).all(|i| all[..i].iter().all(|h| apart(h, all[i])))
            && all.iter().any(holds_entry)
    }
}

/// Parses a file and, if it can be loaded, checks everything that loading relies on.
fn judge(file: &[u8]) -> Result<bool, TestCaseError> {
    let checked = ElfImage::parse(file).and_then(|image| {
        image.check(&MEMORY, BOOT_AREA_END)?;
        Ok(image)
    });
    let image = match checked {
        Ok(image) => image,
        Err(error) => {
            prop_assert!(!error.to_string().is_empty());
            return Ok(false);
        }
    };
    let segments = image.segments();
    prop_assert!((1..=MAX_SEGMENTS).contains(&segments.len()));
    for (i, segment) in segments.iter().enumerate() {
        prop_assert!(segment.memory.size >= segment.data.len() as u64);
        prop_assert!(MEMORY.iter().any(|region| region.contains(segment.memory)));
        prop_assert!(segment.memory.base >= BOOT_AREA_END);
        prop_assert!(
            !segments[..i]
                .iter()
                .any(|other| other.memory.overlaps(segment.memory))
        );
    }
    prop_assert!(
        segments
            .iter()
            .any(|s| s.executable && s.memory.holds(image.entry()))
    );
    Ok(true)
}

proptest! {
    #[test]
    fn an_image_is_loaded_if_and_only_if_it_keeps_the_rules(image in image()) {
        prop_assert_eq!(judge(&image.file)?, image.can_be_loaded(), "{:?}", ElfImage::parse(&image.file));
    }

    #[test]
    fn a_damaged_image_is_refused_or_sound(
        image in image(),
        changes in prop::collection::vec((0usize..0x160, any::<u8>()), 0..4),
        wide in prop::option::of((0usize..0x2c, number())),
        len in prop_oneof![3 => Just(FILE_LEN), 1 => 0..FILE_LEN],
    ) {
        let mut file = image.file;
        for (at, value) in changes {
            file[at] = value;
        }
        if let Some((word, value)) = wide {
            file[word * 8..][..8].copy_from_slice(&value.to_le_bytes());
        }
        file.truncate(len);
        judge(&file)?;
    }

    #[test]
    fn any_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..512), is_elf: bool) {
        let mut bytes = bytes;
        if is_elf && bytes.len() >= 24 {
            bytes[..24].copy_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0");
        }
        judge(&bytes)?;
    }
}
