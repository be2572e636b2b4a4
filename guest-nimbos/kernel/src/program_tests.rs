// SPDX-License-Identifier: MIT OR Apache-2.0
extern crate std;
use std::vec;
use std::vec::Vec;

use super::*;

const TEXT: u32 = PF_R | PF_X;
const DATA: u32 = PF_R | PF_W;

#[derive(Clone, Copy)]
struct Load {
    flags: u32,
    offset: u64,
    address: u64,
    file_len: u64,
    memory_len: u64,
}

const CODE: Load = Load {
    flags: TEXT,
    offset: 0x200,
    address: 0x40_0000,
    file_len: 0x80,
    memory_len: 0x80,
};
const VARIABLES: Load = Load {
    flags: DATA,
    offset: 0x280,
    address: 0x40_1000,
    file_len: 0x10,
    memory_len: 0x3000,
};

fn file(loads: &[Load]) -> Vec<u8> {
    let mut file = vec![0; 0x400];
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"\x7fELF\x02\x01\x01");
    put(16, &ET_EXEC.to_le_bytes());
    put(18, &EM_X86_64.to_le_bytes());
    put(20, &1u32.to_le_bytes());
    put(24, &0x40_0010u64.to_le_bytes());
    put(32, &64u64.to_le_bytes());
    put(52, &64u16.to_le_bytes());
    put(54, &56u16.to_le_bytes());
    put(56, &(loads.len() as u16).to_le_bytes());
    for (i, load) in loads.iter().enumerate() {
        let at = 64 + 56 * i;
        put(at, &PT_LOAD.to_le_bytes());
        put(at + 4, &load.flags.to_le_bytes());
        put(at + 8, &load.offset.to_le_bytes());
        put(at + 16, &load.address.to_le_bytes());
        put(at + 32, &load.file_len.to_le_bytes());
        put(at + 40, &load.memory_len.to_le_bytes());
    }
    file
}

fn error(loads: &[Load]) -> ProgramError {
    Program::parse(&file(loads)).unwrap_err()
}

#[test]
fn a_good_program_is_taken_as_it_is() {
    let file = file(&[CODE, VARIABLES]);
    let program = Program::parse(&file).unwrap();
    assert_eq!(program.entry, 0x40_0010);
    let segments: Vec<_> = program.segments().collect();
    assert_eq!(segments.len(), 2);
    assert_eq!(segments[0].rights, Rights::Execute);
    assert_eq!(segments[0].data.len(), 0x80);
    assert_eq!(segments[1].rights, Rights::Write);
    assert_eq!(segments[1].pages(), (0x40_1000, 0x40_4000));
}

#[test]
fn segments_outside_user_space_are_refused() {
    for (address, memory_len) in [
        (0, 0x1000),
        (USER_START - 1, 0x1000),
        (USER_SEGMENTS_END - 0xfff, 0x1000),
        (0x4210_0000, 0x1000),
        (u64::MAX - 0xfff, 0x1000),
        (u64::MAX, u64::MAX),
    ] {
        let bad = Load {
            address,
            memory_len,
            ..VARIABLES
        };
        assert_eq!(
            error(&[CODE, bad]),
            ProgramError::OutsideUserSpace { address }
        );
    }
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    for (offset, file_len, memory_len) in [
        (0x280, 0x3001, 0x3000),
        (0x3ff, 2, 0x3000),
        (0x401, 0, 0x3000),
        (u64::MAX, 0x10, 0x3000),
        (0x10, 0x1000, 0x3000),
    ] {
        let bad = Load {
            offset,
            file_len,
            memory_len,
            ..VARIABLES
        };
        let address = bad.address;
        assert_eq!(error(&[CODE, bad]), ProgramError::BadSize { address });
    }
}

#[test]
fn segments_may_not_share_pages() {
    let bad = Load {
        address: 0x40_0ff0,
        ..VARIABLES
    };
    let address = bad.address;
    assert_eq!(error(&[CODE, bad]), ProgramError::Overlap { address });
    assert_eq!(error(&[bad, bad]), ProgramError::Overlap { address });
}

#[test]
fn code_is_not_writable_and_holds_the_entry() {
    let writable = Load {
        flags: DATA | PF_X,
        ..CODE
    };
    let address = CODE.address;
    assert_eq!(error(&[writable]), ProgramError::WritableCode { address });
    let entry = 0x40_0010;
    assert_eq!(error(&[VARIABLES]), ProgramError::BadEntry { entry });
    assert_eq!(error(&[]), ProgramError::BadEntry { entry });
    let data_at_entry = Load {
        flags: DATA,
        ..CODE
    };
    assert_eq!(error(&[data_at_entry]), ProgramError::BadEntry { entry });
}

#[test]
fn too_many_segments_are_refused() {
    let loads: Vec<Load> = (0..=MAX_SEGMENTS as u64)
        .map(|i| Load {
            address: CODE.address + i * 0x1000,
            ..CODE
        })
        .collect();
    assert_eq!(error(&loads), ProgramError::TooManySegments);
    assert!(Program::parse(&file(&loads[1..])).is_err());
    assert!(Program::parse(&file(&loads[..MAX_SEGMENTS])).is_ok());
}

#[test]
fn other_kinds_of_file_are_refused() {
    let good = file(&[CODE]);
    for (at, value, expected) in [
        (0, 0, ProgramError::NotElf),
        (4, 1, ProgramError::NotElf),
        (5, 2, ProgramError::WrongKind),
        (16, 3, ProgramError::WrongKind),
        (18, 40, ProgramError::WrongKind),
    ] {
        let mut bad = good.clone();
        bad[at] = value;
        let error = Program::parse(&bad).unwrap_err();
        assert!(
            error == expected || error == ProgramError::WrongKind,
            "{at}: {error:?}"
        );
    }
}

#[test]
fn hostile_bytes_never_panic() {
    let good = file(&[CODE, VARIABLES]);
    for len in 0..good.len() {
        let _ = Program::parse(&good[..len]);
    }
    for position in 0..64 + 2 * 56 {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut bad = good.clone();
            bad[position] = value;
            let _ = Program::parse(&bad);
        }
    }
}
