// SPDX-License-Identifier: MIT OR Apache-2.0
//! SENDUIPI: the order of its checks, and its effects.

use uintr::model::{ApicMode, Destination, Fault, Ipi, SEND_ILLEGAL_VECTOR};

use crate::fixture::{APIC_ID, Memory, UINV, UITT, UPID, control, cpu, entry_low};
use crate::fixture::{memory, upid, write_entry};

const PRESENT: u32 = 1;
const WRITE: u32 = 2;

fn page_fault(address: u64, error_code: u32) -> Result<Option<Ipi>, Fault> {
    Err(Fault {
        vector: 14,
        error_code: Some(error_code),
        cr2: Some(address),
    })
}

/// Executes SENDUIPI and checks that a fault changed neither processor nor memory.
fn send(
    cpu: &mut uintr::model::Cpu,
    memory: &mut Memory,
    index: u64,
) -> Result<Option<Ipi>, Fault> {
    let before = (*cpu, memory.clone());
    let result = cpu.senduipi(memory, index);
    if result.is_err() {
        assert_eq!((*cpu, memory.clone()), before);
    }
    result
}

#[test]
fn a_post_sets_the_request_and_on_and_sends_one_notification() {
    for cpl in [0, 3] {
        let (mut cpu, mut memory) = (cpu(), memory());
        cpu.cpl = cpl;
        let sent = send(&mut cpu, &mut memory, 0);
        let expected = Ipi {
            vector: UINV,
            destination: Destination::Physical(APIC_ID),
        };
        assert_eq!(sent, Ok(Some(expected)));
        assert_eq!(upid(&memory), (control(UINV, APIC_ID) | 1, 1 << 5));
        assert_eq!(cpu.apic.icr, u64::from(APIC_ID) << 32 | u64::from(UINV));
        assert_eq!(send(&mut cpu, &mut memory, 0), Ok(None));
    }
}

#[test]
fn on_and_sn_suppress_the_notification_and_stay() {
    for bits in 1..4 {
        let (mut cpu, mut memory) = (cpu(), memory());
        memory.poke(UPID, control(UINV, APIC_ID) | bits);
        assert_eq!(send(&mut cpu, &mut memory, 0), Ok(None));
        assert_eq!(upid(&memory), (control(UINV, APIC_ID) | bits, 1 << 5));
        assert_eq!(cpu.apic.icr, 0);
    }
}

#[test]
fn posts_add_to_the_requests_that_are_there() {
    let (mut cpu, mut memory) = (cpu(), memory());
    memory.poke(UPID + 8, 1 << 63 | 1);
    write_entry(&mut memory, 1, entry_low(63), UPID);
    write_entry(&mut memory, 2, entry_low(0), UPID);
    for (index, pir) in [(0, 1 << 63 | 1 << 5 | 1), (1, 1 << 63 | 1 << 5 | 1)] {
        assert!(send(&mut cpu, &mut memory, index).is_ok());
        assert_eq!(upid(&memory).1, pir);
    }
}

#[test]
fn a_disabled_table_is_an_invalid_opcode_before_anything_else() {
    let (mut cpu, mut memory) = (cpu(), memory());
    cpu.user.tt = UITT;
    for index in [0, 4, u64::MAX] {
        assert_eq!(send(&mut cpu, &mut memory, index), Err(Fault::UD));
    }
}

#[test]
fn the_index_is_compared_in_64_bits_before_memory_is_read() {
    let (mut cpu, mut memory) = (cpu(), memory());
    write_entry(&mut memory, 3, entry_low(1), UPID);
    assert!(send(&mut cpu, &mut memory, 3).is_ok());
    for index in [4, 1 << 32, u64::MAX] {
        assert_eq!(send(&mut cpu, &mut memory, index), Err(Fault::GP));
    }
    cpu.user.tt = 0x1234_5001;
    assert_eq!(send(&mut cpu, &mut memory, 4), Err(Fault::GP));
    let unmapped = page_fault(0x1234_5030, 0);
    assert_eq!(send(&mut cpu, &mut memory, 3), unmapped);
}

#[test]
fn size_0_still_has_one_entry() {
    let (mut cpu, mut memory) = (cpu(), memory());
    cpu.user.uitt_size = 0;
    assert!(send(&mut cpu, &mut memory, 0).is_ok());
    assert_eq!(send(&mut cpu, &mut memory, 1), Err(Fault::GP));
}

#[test]
fn bad_entries_are_refused_before_their_upid_is_touched() {
    let reserved = (1..8).chain(14..64).map(|bit| 1u64 << bit);
    let bad = reserved.map(|bit| (entry_low(5) | bit, 0x1234_5000));
    let unaligned = (0..6).map(|bit| (entry_low(5), UPID | 1 << bit));
    for (low, address) in bad.chain(unaligned).chain([(0, 0x1234_5000)]) {
        let (mut cpu, mut memory) = (cpu(), memory());
        write_entry(&mut memory, 0, low, address);
        let sent = send(&mut cpu, &mut memory, 0);
        assert_eq!(sent, Err(Fault::GP), "{low:#x} {address:#x}");
    }
}

#[test]
fn reserved_bits_of_the_upid_are_refused() {
    for bit in (2..16).chain(24..32) {
        let (mut cpu, mut memory) = (cpu(), memory());
        memory.poke(UPID, control(UINV, APIC_ID) | 1 << bit);
        assert_eq!(send(&mut cpu, &mut memory, 0), Err(Fault::GP), "bit {bit}");
    }
}

#[test]
fn both_structures_are_reached_as_supervisor_and_the_upid_for_writing() {
    let (mut cpu, mut memory) = (cpu(), memory());
    memory.page_mut(UITT).unwrap().present = false;
    assert_eq!(send(&mut cpu, &mut memory, 0), page_fault(UITT, 0));
    memory.page_mut(UITT).unwrap().present = true;
    memory.page_mut(UITT).unwrap().writable = false;
    memory.page_mut(UPID).unwrap().present = false;
    assert_eq!(send(&mut cpu, &mut memory, 0), page_fault(UPID, WRITE));
    memory.page_mut(UPID).unwrap().present = true;
    memory.page_mut(UPID).unwrap().writable = false;
    let read_only = page_fault(UPID, WRITE | PRESENT);
    assert_eq!(send(&mut cpu, &mut memory, 0), read_only);
    memory.page_mut(UPID).unwrap().writable = true;
    memory.page_mut(UPID).unwrap().user = true;
    for alignment_check in [0, uintr::model::AC] {
        cpu.rflags = cpu.rflags & !uintr::model::AC | alignment_check;
        let smap = page_fault(UPID, WRITE | PRESENT);
        assert_eq!(send(&mut cpu, &mut memory, 0), smap);
    }
    memory.smap = false;
    assert!(send(&mut cpu, &mut memory, 0).is_ok());
}

#[test]
fn addresses_that_are_not_canonical_in_the_paging_mode_are_general_protection() {
    let (mut cpu, mut memory) = (cpu(), memory());
    write_entry(&mut memory, 0, entry_low(5), 0x0000_8000_0000_0000);
    assert_eq!(send(&mut cpu, &mut memory, 0), Err(Fault::GP));
    cpu.user.tt = 0x0000_8000_0000_0001;
    assert_eq!(send(&mut cpu, &mut memory, 0), Err(Fault::GP));
    cpu.la57 = true;
    let unmapped = page_fault(0x0000_8000_0000_0000, 0);
    assert_eq!(send(&mut cpu, &mut memory, 0), unmapped);
}

#[test]
fn xapic_mode_takes_the_destination_from_bits_15_to_8() {
    let (mut cpu, mut memory) = (cpu(), memory());
    cpu.apic.mode = ApicMode::XApic;
    memory.poke(UPID, control(UINV, 0xdead_07ef));
    let expected = Ipi {
        vector: UINV,
        destination: Destination::Physical(7),
    };
    assert_eq!(send(&mut cpu, &mut memory, 0), Ok(Some(expected)));
}

#[test]
fn a_vector_below_16_leaves_on_set_and_nothing_sent() {
    let (mut cpu, mut memory) = (cpu(), memory());
    memory.poke(UPID, control(15, APIC_ID));
    assert_eq!(send(&mut cpu, &mut memory, 0), Ok(None));
    assert_eq!(upid(&memory), (control(15, APIC_ID) | 1, 1 << 5));
    assert_eq!(cpu.apic.errors, SEND_ILLEGAL_VECTOR);
}
