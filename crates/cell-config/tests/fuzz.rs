// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random input for the reader of the binary form and for the rules; `make fuzz` runs it long.

mod common;
#[path = "common/edit.rs"]
mod edit;
#[path = "common/oracle.rs"]
mod oracle;
#[path = "common/random.rs"]
mod random;

use cell_config::*;
use common::demo;
use edit::{Edit, edit};
use oracle::keeps_all_rules;
use proptest::prelude::*;
use proptest::sample::Index;

const HEADER_LEN: usize = 24;
/// More than the largest file has: 64 CPUs, 8 full cells and channels.
const LONGER_THAN_ANY: usize = 32 << 10;

/// Makes signature, revision, length and CRC-32 right, so that the reader gets to the records.
fn seal(bytes: &mut [u8]) {
    if bytes.len() < HEADER_LEN {
        return;
    }
    bytes[..8].copy_from_slice(b"IsthmCfg");
    bytes[8..12].copy_from_slice(&REVISION.to_le_bytes());
    let len = bytes.len() as u32;
    bytes[12..16].copy_from_slice(&len.to_le_bytes());
    bytes[20..24].fill(0);
    let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(&bytes[HEADER_LEN..]);
    bytes[16..20].copy_from_slice(&crc.to_le_bytes());
}

/// What must hold of every file: it is refused with an error that can be told, or it is the one form of a system
/// that keeps all rules.
fn judge(bytes: &[u8]) -> Result<(), TestCaseError> {
    match decode(bytes) {
        Ok(system) => {
            prop_assert_eq!(encode(&system), bytes);
            prop_assert!(keeps_all_rules(&system), "{:?}", system);
        }
        Err(error) => {
            let text = error.to_string();
            prop_assert!(!text.is_empty() && text.len() < 1000);
            prop_assert!(!text.chars().any(char::is_control), "{:?}", text);
        }
    }
    Ok(())
}

/// A change of a file.
#[derive(Clone, Debug)]
enum Damage {
    /// A bit of a field.
    Flip(Index, u8),
    /// A byte of a field.
    Set(Index, u8),
    /// Any byte.
    Scratch(Index, u8),
    /// Eight bytes of fields, two numbers perhaps.
    Number(Index, u64),
    Truncate(Index),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    /// A piece of another file.
    Splice(Index, usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    let number = prop_oneof![
        0u64..80,
        (0u32..64, -2i64..3).prop_map(|(bit, by)| (1u64 << bit).wrapping_add_signed(by)),
        (0u64..0x200).prop_map(|page| page << 12),
        any::<u64>(),
    ];
    let at = any::<Index>;
    prop_oneof![
        6 => (at(), 0u8..8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        6 => (at(), prop_oneof![0u8..4, any::<u8>()]).prop_map(|(at, value)| Damage::Set(at, value)),
        1 => (at(), any::<u8>()).prop_map(|(at, value)| Damage::Scratch(at, value)),
        4 => (at(), number).prop_map(|(at, value)| Damage::Number(at, value)),
        1 => at().prop_map(Damage::Truncate),
        1 => (at(), prop::collection::vec(any::<u8>(), 1..40)).prop_map(|(at, new)| Damage::Insert(at, new)),
        1 => (at(), 1usize..64).prop_map(|(at, len)| Damage::Remove(at, len)),
        3 => (at(), 1usize..1400).prop_map(|(at, len)| Damage::Splice(at, len)),
    ]
}

/// Returns where something else stands than text: texts are most of a file, and a wrong byte there is soon found.
fn field_offsets(system: &System) -> Vec<usize> {
    let mut offsets = Vec::new();
    let mut at = HEADER_LEN;
    let mut record = |text: usize, fields: usize| {
        offsets.extend(at + text..at + text + fields);
        at += text + fields;
    };
    let (machine, cells) = (&system.machine, &system.cells);
    record(32, 32 + 4 * machine.cpus.len() + 16 * machine.memory.len());
    for cell in cells {
        record(96, 16);
        let ranges = 4 * cell.ports.len() + 16 * cell.mmio.len();
        record(1024, 4 * cell.cpus.len() + 24 * cell.memory.len() + ranges);
    }
    for _ in &system.channels {
        record(32, 40);
    }
    assert_eq!(at, encode(system).len());
    offsets
}

fn inflict(bytes: &mut Vec<u8>, fields: &[usize], other: &[u8], damage: &Damage) {
    // Of the fields behind the header: what it says is made right again anyway.
    let Some(len) = bytes.len().checked_sub(HEADER_LEN).filter(|&len| len > 0) else {
        return;
    };
    let anywhere = |at: &Index| HEADER_LEN + at.index(len);
    let field = |at: &Index| *at.get(fields).min(&(bytes.len() - 1));
    match damage {
        Damage::Flip(at, bit) => {
            let at = field(at);
            bytes[at] ^= 1 << bit;
        }
        Damage::Set(at, value) => {
            let at = field(at);
            bytes[at] = *value;
        }
        Damage::Scratch(at, value) => bytes[anywhere(at)] = *value,
        Damage::Number(at, value) => {
            let at = field(at) & !3;
            let end = bytes.len().min(at + 8);
            bytes[at..end].copy_from_slice(&value.to_le_bytes()[..end - at]);
        }
        Damage::Truncate(at) => bytes.truncate(anywhere(at)),
        Damage::Insert(at, new) => {
            let at = anywhere(at);
            bytes.splice(at..at, new.iter().copied());
        }
        Damage::Remove(at, count) => {
            let at = anywhere(at);
            bytes.drain(at..bytes.len().min(at + count));
        }
        Damage::Splice(at, count) => {
            // The same record of the other file, as far as both have the same lists up to here.
            let at = field(at);
            let end = bytes.len().min(other.len()).min(at + count);
            if at < end {
                bytes[at..end].copy_from_slice(&other[at..end]);
            }
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_refused_or_the_form_of_a_sound_system(
        mut bytes in prop::collection::vec(prop_oneof![9 => Just(0), 2 => 0u8..4, 1 => any::<u8>()], 0..4096),
        is_named in prop::bool::weighted(0.8),
        sealed in prop::bool::weighted(0.8),
    ) {
        if is_named {
            bytes.iter_mut().skip(HEADER_LEN).take(32).for_each(|byte| *byte = 0);
        }
        if sealed {
            seal(&mut bytes);
        }
        judge(&bytes)?;
    }

    #[test]
    fn a_damaged_file_is_refused_or_the_form_of_a_sound_system(
        system in prop_oneof![Just(demo()), random::system()],
        other in random::system(),
        damages in prop::collection::vec(damage(), 1..4),
        sealed in prop::bool::weighted(0.9),
    ) {
        let (mut bytes, other) = (encode(&system), encode(&other));
        let fields = field_offsets(&system);
        prop_assert!(bytes.len() < LONGER_THAN_ANY);
        for damage in &damages {
            inflict(&mut bytes, &fields, &other, damage);
        }
        if sealed {
            seal(&mut bytes);
        }
        judge(&bytes)?;
    }

    #[test]
    fn the_rules_are_those_that_are_written_down(
        system in prop_oneof![Just(demo()), random::system()],
        edits in prop::collection::vec(edit(), 0..4),
    ) {
        let mut system = system;
        edits.iter().for_each(|edit: &Edit| edit.apply(&mut system));
        let checked = system.check();
        prop_assert_eq!(checked.is_ok(), keeps_all_rules(&system), "{:?}: {:?}", checked, system);
        match checked {
            Ok(()) => prop_assert_eq!(decode(&encode(&system)), Ok(system)),
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }
}
