// SPDX-License-Identifier: MIT OR Apache-2.0
use super::*;
use crate::ioapic::fixture::{Cell, cell};
use ApicMode::Xapic;

const PINS: usize = 24;
pub const MASKED: u32 = 1 << 16;
/// The CPU that masked entries name.
const IDLE_TARGET: u8 = 2;

/// Hardware that checks after each write that no entry reaches beyond the CPUs 2 and 5.
pub struct Fake {
    version: u32,
    id: u32,
    table: [u32; 2 * PINS],
    /// Checked from the end of the reset on.
    is_checked: bool,
    writes: Vec<(u8, u32)>,
    ended: Vec<u8>,
}

impl Registers for Fake {
    fn read(&mut self, number: u8) -> u32 {
        match number {
            IOAPICID => self.id,
            IOAPICVER => self.version,
            IOAPICARB => 0x0b00_0000,
            _ => self.table[usize::from(number - IOREDTBL)],
        }
    }

    fn write(&mut self, number: u8, value: u32) {
        let at = usize::from(
            number
                .checked_sub(IOREDTBL)
                .expect("only entries are written"),
        );
        self.table[at] = value;
        self.writes.push((number, value));
        let (low, high) = (self.table[at & !1], self.table[at | 1]);
        if self.is_checked && low & MASKED == 0 {
            assert_eq!(low & !0xa0ff, 0, "not fixed or not physical: {low:#x}");
            assert!([2, 5].contains(&(high >> 24)), "foreign: {high:#x}");
        }
    }

    fn end_of_interrupt(&mut self, vector: u8) {
        self.ended.push(vector);
    }
}

/// An I/O APIC as firmware may leave it, after the reset.
pub fn state(version: u8) -> State<Fake> {
    let mut state = State::new(Fake {
        version: 0x17 << 16 | u32::from(version),
        id: 0x0900_0000,
        table: [0x0000_0734; 2 * PINS],
        is_checked: false,
        writes: Vec::new(),
        ended: Vec::new(),
    });
    state.reset(IDLE_TARGET);
    state.registers.is_checked = true;
    state.registers.writes.clear();
    state
}

pub fn own() -> Cell {
    cell(&[2, 5])
}

fn read(state: &mut State<Fake>, number: u8) -> u32 {
    state.write(IOREGSEL, number.into(), &own(), Xapic).unwrap();
    state.read(IOWIN)
}

fn write(state: &mut State<Fake>, number: u8, value: u32) -> Result<(), Refusal> {
    state.write(IOREGSEL, number.into(), &own(), Xapic).unwrap();
    state.write(IOWIN, value, &own(), Xapic)
}

/// Returns entry `pin` as it stands in the hardware.
pub fn hardware(state: &State<Fake>, pin: usize) -> (u32, u32) {
    let table = &state.registers.table;
    (table[2 * pin], table[2 * pin + 1])
}

#[test]
fn everything_is_masked_at_start_and_after_the_end() {
    let mut state = state(0x11);
    let idle = (MASKED, u32::from(IDLE_TARGET) << 24);
    assert!((0..PINS).all(|pin| hardware(&state, pin) == idle));
    for pin in 0..PINS {
        let number = IOREDTBL + 2 * pin as u8;
        assert_eq!(
            (read(&mut state, number), read(&mut state, number + 1)),
            (MASKED, 0)
        );
        write(&mut state, number + 1, 5 << 24).unwrap();
        write(&mut state, number, 0x8041).unwrap();
        assert_eq!(hardware(&state, pin), (0x8041, 5 << 24));
    }
    state.close();
    assert!((0..PINS).all(|pin| hardware(&state, pin) == (MASKED, 5 << 24)));
    // Another CPU of the cell may still be writing.
    state.registers.writes.clear();
    write(&mut state, 0x10, 0x41).unwrap();
    state.write(EOI, 0x41, &own(), Xapic).unwrap();
    assert!(state.registers.writes.is_empty() && state.registers.ended.is_empty());
}

#[test]
fn an_entry_works_once_it_is_unmasked() {
    let mut state = state(0x11);
    write(&mut state, 0x12, MASKED | 0x30).unwrap();
    write(&mut state, 0x13, 2 << 24).unwrap();
    write(&mut state, 0x12, 0x30).unwrap();
    assert_eq!(hardware(&state, 1), (0x30, 2 << 24));
    // To another CPU of the cell, without a gap in which an edge would be lost.
    state.registers.writes.clear();
    write(&mut state, 0x13, 5 << 24).unwrap();
    assert_eq!(state.registers.writes, [(0x13, 5 << 24)]);
    assert_eq!(hardware(&state, 1), (0x30, 5 << 24));
}

#[test]
fn a_masked_entry_may_hold_anything_and_is_checked_when_unmasked() {
    let mut state = state(0x11);
    write(&mut state, 0x10, MASKED | 0x0400).unwrap();
    write(&mut state, 0x11, 9 << 24).unwrap();
    assert_eq!(read(&mut state, 0x10), MASKED | 0x0400);
    assert_eq!(read(&mut state, 0x11), 9 << 24);
    let reason = EntryDenied::DeliveryMode { mode: 4 };
    let refusal = write(&mut state, 0x10, 0x0400).unwrap_err();
    assert_eq!((refusal.pin, refusal.reason, refusal.count), (0, reason, 1));
    // The cell reads what it wrote, the hardware is masked.
    assert_eq!(read(&mut state, 0x10), 0x0400);
    assert_eq!(hardware(&state, 0).0 & MASKED, MASKED);
    assert_eq!(state.refused(), 1);
}

#[test]
fn either_half_can_make_an_entry_right_or_wrong() {
    let mut state = state(0x11);
    // Right by the low half.
    write(&mut state, 0x11, 5 << 24).unwrap();
    write(&mut state, 0x10, 0x41).unwrap();
    assert_eq!(hardware(&state, 0), (0x41, 5 << 24));
    // Wrong by the high half: masked before anything else.
    state.registers.writes.clear();
    let refusal = write(&mut state, 0x11, 3 << 24).unwrap_err();
    let reason = EntryDenied::ForeignCpu {
        destination: 3,
        logical: false,
    };
    assert_eq!(refusal.reason, reason);
    assert_eq!(state.registers.writes, [(0x10, MASKED | 0x41)]);
    assert_eq!(read(&mut state, 0x10), 0x41);
    // Right again by the high half: destination first, then unmasked.
    state.registers.writes.clear();
    write(&mut state, 0x11, 2 << 24).unwrap();
    assert_eq!(state.registers.writes, [(0x11, 2 << 24), (0x10, 0x41)]);
    // Wrong and right again by the low half.
    write(&mut state, 0x10, 0x0241).unwrap_err();
    assert_eq!(hardware(&state, 0), (MASKED | 0x41, 2 << 24));
    write(&mut state, 0x10, 0x0041).unwrap();
    assert_eq!(hardware(&state, 0), (0x41, 2 << 24));
    assert_eq!(state.refused(), 2);
}

#[test]
fn logical_and_lowest_priority_entries_become_fixed_physical_ones() {
    let mut state = state(0x11);
    write(&mut state, 0x11, 0xff << 24).unwrap();
    write(&mut state, 0x10, 0xa9f1).unwrap();
    assert_eq!(hardware(&state, 0), (0xa0f1, 2 << 24));
    assert_eq!(read(&mut state, 0x10), 0xa9f1);
    assert_eq!(read(&mut state, 0x11), 0xff << 24);
}

#[test]
fn the_bits_that_hardware_alone_writes_are_read_from_it() {
    let mut state = state(0x11);
    write(&mut state, 0x10, MASKED | 0x8041).unwrap();
    state.registers.table[0] |= 0x5000;
    assert_eq!(read(&mut state, 0x10), MASKED | 0xd041);
}

#[test]
fn identification_version_and_arbitration_are_as_on_hardware() {
    let mut state = state(0x11);
    assert_eq!(read(&mut state, IOAPICID), 0x0900_0000);
    write(&mut state, IOAPICID, u32::MAX).unwrap();
    assert_eq!(read(&mut state, IOAPICID), 0x0f00_0000);
    write(&mut state, IOAPICVER, u32::MAX).unwrap();
    assert_eq!(read(&mut state, IOAPICVER), 0x0017_0011);
    write(&mut state, IOAPICARB, u32::MAX).unwrap();
    assert_eq!(read(&mut state, IOAPICARB), 0x0b00_0000);
    assert!(state.registers.writes.is_empty());
    state.write(IOREGSEL, 0xffff_ff10, &own(), Xapic).unwrap();
    assert_eq!(state.read(IOREGSEL), 0x10);
}

#[test]
fn what_is_no_register_reads_as_0_and_takes_nothing() {
    let mut state = state(0x11);
    for number in (3..IOREDTBL).chain(IOREDTBL + 2 * PINS as u8..=0xff) {
        assert_eq!(read(&mut state, number), 0, "{number:#x}");
        write(&mut state, number, u32::MAX).unwrap();
    }
    for offset in (0..0x1000).filter(|&offset| ![IOREGSEL, IOWIN].contains(&offset)) {
        assert_eq!(state.read(offset), 0, "{offset:#x}");
        state.write(offset, 0x41, &own(), Xapic).unwrap();
    }
    assert!(state.registers.writes.is_empty() && state.registers.ended.is_empty());
}

#[test]
fn the_eoi_register_is_there_from_version_20_on() {
    let mut state = state(0x20);
    state.write(EOI, 0xffff_ff41, &own(), Xapic).unwrap();
    assert_eq!(state.registers.ended, [0x41]);
    assert_eq!(state.read(EOI), 0);
}

#[test]
fn a_version_that_claims_more_entries_than_there_can_be_is_harmless() {
    let mut state = State::new(Void);
    state.reset(0);
    for number in 0..=0xff {
        state.write(IOREGSEL, number, &own(), Xapic).unwrap();
        state.read(IOWIN);
        state.write(IOWIN, MASKED, &own(), Xapic).unwrap();
    }
    state.close();
}

/// Where no device answers.
struct Void;

impl Registers for Void {
    fn read(&mut self, _: u8) -> u32 {
        u32::MAX
    }
    fn write(&mut self, _: u8, _: u32) {}
    fn end_of_interrupt(&mut self, _: u8) {}
}
