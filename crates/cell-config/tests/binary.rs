//! The binary form: a faithful copy of every system, and nothing else is read.

mod common;
#[path = "common/random.rs"]
mod random;

use arrayvec::ArrayVec;
use cell_config::*;
use common::{demo, text};
use proptest::prelude::*;

const HEADER_LEN: usize = 24;

/// Returns a system with a short binary form.
fn small() -> System {
    let mut system = demo();
    system.channels.clear();
    system.cells.truncate(1);
    system
}

/// Makes length and CRC-32 right again, so that the reader gets to the records.
fn reseal(bytes: &mut [u8]) {
    let len = bytes.len() as u32;
    bytes[12..16].copy_from_slice(&len.to_le_bytes());
    let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(&bytes[HEADER_LEN..]);
    bytes[16..20].copy_from_slice(&crc.to_le_bytes());
}

/// Returns the error for the demonstration with some bytes of it replaced.
fn error_with(offset: usize, replacement: &[u8]) -> DecodeError {
    let mut bytes = encode(&demo());
    bytes[offset..offset + replacement.len()].copy_from_slice(replacement);
    reseal(&mut bytes);
    decode(&bytes).expect_err("replaced bytes are accepted")
}

#[test]
fn a_system_survives_the_round_trip() {
    for system in [demo(), small()] {
        assert_eq!(decode(&encode(&system)), Ok(system));
    }
}

#[test]
fn the_largest_system_survives_the_round_trip() {
    let mut system = demo();
    let mut channel = system.channels[0].clone();
    for index in 1..MAX_CHANNELS {
        channel.name = Name::from(&format!("channel {index}")).expect("short");
        channel.memory = Region::new(0x3600_0000 + index as u64 * LARGE_PAGE, LARGE_PAGE);
        system.channels.push(channel.clone());
    }
    system.machine.cpus = (0..64).collect();
    system.cells[0].name = text("a name that has just 31 bytes..");
    system.cells[0].cpus = (0..64).filter(|&cpu| cpu != 1).collect();
    system.cells[0].cmdline = CommandLine::from(&"x".repeat(1023)).expect("just fits");
    system.cells[0].ports = (0..16)
        .map(|index| PortRange {
            base: 0x1000 * index,
            size: 8,
        })
        .collect();
    assert_eq!(decode(&encode(&system)), Ok(system));
}

#[test]
fn the_header_is_the_documented_one() {
    let bytes = encode(&demo());
    assert_eq!(&bytes[..12], b"IsthmCfg\x03\0\0\0");
    assert_eq!(bytes[12..16], (bytes.len() as u32).to_le_bytes());
    assert_eq!(bytes[20..24], [0; 4]);
    assert_eq!(&bytes[24..30], b"Bochs\0");
}

#[test]
fn every_truncation_is_rejected() {
    let bytes = encode(&demo());
    for len in 0..bytes.len() {
        assert!(decode(&bytes[..len]).is_err(), "{len} bytes");
        let mut bytes = bytes[..len].to_vec();
        if len >= HEADER_LEN {
            reseal(&mut bytes);
            let error = decode(&bytes).expect_err("a part is accepted");
            assert!(
                matches!(error, DecodeError::Truncated { .. }),
                "{len} bytes: {error}"
            );
        }
    }
}

#[test]
fn every_flipped_bit_is_rejected() {
    let mut bytes = encode(&small());
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(decode(&bytes).is_err(), "bit {bit}");
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn a_bit_flipped_before_the_checksum_was_made_changes_the_system_or_is_rejected() {
    let original = small();
    let mut bytes = encode(&original);
    for bit in HEADER_LEN * 8..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        reseal(&mut bytes);
        if let Ok(system) = decode(&bytes) {
            assert_ne!(system, original, "bit {bit}");
            assert_eq!(encode(&system), bytes, "bit {bit}");
        }
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn every_damage_has_its_own_error() {
    let mut bytes = encode(&demo());
    let len = bytes.len();
    bytes.push(0);
    let stated = len as u32;
    assert_eq!(
        decode(&bytes),
        Err(DecodeError::Length {
            stated,
            actual: len + 1
        })
    );
    reseal(&mut bytes);
    assert_eq!(
        decode(&bytes),
        Err(DecodeError::TrailingBytes { offset: len })
    );
    assert_eq!(decode(&[0; 23]), Err(DecodeError::NoHeader { len: 23 }));
    assert_eq!(decode(&[0; 24]), Err(DecodeError::Signature));
    assert_eq!(error_with(8, &[1]), DecodeError::Revision { found: 1 });
    assert_eq!(error_with(20, &[1]), DecodeError::Reserved { offset: 20 });
    let mut bytes = encode(&demo());
    bytes[100] ^= 1;
    assert!(matches!(decode(&bytes), Err(DecodeError::Checksum { .. })));
}

#[test]
fn every_field_is_checked() {
    // The system record follows the header: the name, four counts, three choices.
    let counts = HEADER_LEN + 32;
    let choices = counts + 8;
    for (index, limit) in [MAX_CPUS, MAX_MACHINE_REGIONS, MAX_CELLS, MAX_CHANNELS]
        .into_iter()
        .enumerate()
    {
        let offset = counts + 2 * index;
        let found = limit as u16 + 1;
        let error = error_with(offset, &found.to_le_bytes());
        assert!(
            matches!(error, DecodeError::Count { offset: at, found: f, limit: l, .. } if (at, f, l) == (offset, found, limit)),
            "{error}"
        );
    }
    for (index, found) in [2, 2, 5].into_iter().enumerate() {
        let offset = choices + index;
        let error = error_with(offset, &[found]);
        assert!(
            matches!(error, DecodeError::Value { offset: at, .. } if at == offset),
            "{error}"
        );
    }
    assert_eq!(
        error_with(choices + 3, &[1]),
        DecodeError::Reserved {
            offset: choices + 3
        }
    );
    let error = error_with(choices + 4, &0x1_0000u32.to_le_bytes());
    assert!(
        matches!(
            error,
            DecodeError::Value {
                what: "console",
                found: 0x1_0000,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn texts_are_padded_utf8() {
    let malformed = DecodeError::Text {
        what: "machine name",
        offset: HEADER_LEN,
    };
    assert_eq!(error_with(HEADER_LEN, &[0xff]), malformed);
    assert_eq!(error_with(HEADER_LEN, &[b'x'; 32]), malformed);
    assert_eq!(error_with(HEADER_LEN + 31, b"x"), malformed);
}

#[test]
fn a_well_formed_system_that_breaks_a_rule_is_rejected() {
    let mut system = demo();
    system.cells[0].cpus.push(1);
    let error = system.check().expect_err("CPU 1 has two owners");
    assert_eq!(decode(&encode(&system)), Err(DecodeError::Check(error)));
}

#[test]
fn an_empty_system_has_a_binary_form_that_is_rejected() {
    let mut system = demo();
    system.cells = ArrayVec::new();
    system.channels = ArrayVec::new();
    assert_eq!(
        decode(&encode(&system)),
        Err(DecodeError::Check(CheckError::NoCells))
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn random_systems_keep_the_rules_and_survive_the_round_trip(system in random::system()) {
        prop_assert_eq!(system.check(), Ok(()));
        prop_assert_eq!(decode(&encode(&system)), Ok(system));
    }

    #[test]
    fn random_bytes_are_rejected(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
        prop_assert!(decode(&bytes).is_err());
    }

    #[test]
    fn random_records_behind_a_good_header_are_rejected(mut bytes in prop::collection::vec(any::<u8>(), 24..4096)) {
        bytes[..12].copy_from_slice(b"IsthmCfg\x01\0\0\0");
        bytes[20..24].fill(0);
        reseal(&mut bytes);
        prop_assert!(decode(&bytes).is_err());
    }

    #[test]
    fn what_is_read_from_changed_bytes_is_written_back_alike(
        system in random::system(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = encode(&system);
        for (index, value) in changes {
            let len = bytes.len() - HEADER_LEN;
            bytes[HEADER_LEN + index.index(len)] = value;
        }
        reseal(&mut bytes);
        if let Ok(read) = decode(&bytes) {
            prop_assert_eq!(encode(&read), bytes);
        }
    }
}
