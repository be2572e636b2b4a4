// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random boot-information pages, as a cell might find one; `make fuzz` runs it long.

use hv_abi::{ABI_REVISION, BootInfo, ChannelRole, ConsoleKind, text};
use proptest::prelude::*;
use proptest::sample::Index;
use zerocopy::{FromBytes, IntoBytes};

/// Offsets of the three counts: behind magic, revision, cell, flags, TSC, name, console, initial ramdisk.
const COUNTS: usize = 8 + 4 + 4 + 4 + 4 + 32 + 16 + 16;

proptest! {
    #[test]
    fn any_page_is_read_within_its_bounds(
        base in prop_oneof![Just(vec![0; 4096]), prop::collection::vec(any::<u8>(), 4096)],
        changes in prop::collection::vec((any::<Index>(), any::<u8>()), 0..40),
        counts in prop::option::of([0u32..100, 0..100, 0..100]),
        is_ours: bool,
    ) {
        let mut bytes = base;
        for (at, value) in changes {
            bytes[at.index(4096)] = value;
        }
        if let Some(counts) = counts {
            for (at, count) in counts.into_iter().enumerate() {
                bytes[COUNTS + 4 * at..][..4].copy_from_slice(&count.to_le_bytes());
            }
        }
        if is_ours {
            bytes[..8].copy_from_slice(&BootInfo::MAGIC);
            bytes[8..12].copy_from_slice(&ABI_REVISION.to_le_bytes());
        }
        let info = BootInfo::read_from_bytes(&bytes).expect("as long as a page");
        prop_assert_eq!(info.as_bytes(), &bytes[..]);
        let is_valid = bytes[..8] == *b"ISTHMUS\0" && bytes[8..12] == ABI_REVISION.to_le_bytes();
        prop_assert_eq!(info.is_valid(), is_valid);
        for (count, used, capacity) in [
            (info.memory_count, info.memory().len(), 16),
            (info.channel_count, info.channels().len(), 8),
            (info.cpu_count, info.cpus().len(), 64),
        ] {
            prop_assert_eq!(used, (count as usize).min(capacity));
        }
        for channel in info.channels() {
            let role = match channel.role {
                0 => Some(ChannelRole::Client),
                1 => Some(ChannelRole::Server),
                _ => None,
            };
            prop_assert_eq!(channel.role(), role);
            prop_assert!(text(&channel.name).is_none_or(|name| name.len() <= 32 && !name.contains('\0')));
        }
        let kind = match info.console.kind {
            0 => Some(ConsoleKind::None),
            1 => Some(ConsoleKind::UartPort),
            _ => None,
        };
        prop_assert_eq!(info.console.kind(), kind);
    }

    #[test]
    fn a_text_ends_at_its_first_nul(field in prop::collection::vec(prop_oneof![1 => Just(0u8), 20 => any::<u8>(), 20 => 32u8..127], 0..64)) {
        let before = field.split(|&byte| byte == 0).next().unwrap_or_default();
        prop_assert_eq!(text(&field), core::str::from_utf8(before).ok());
    }
}
