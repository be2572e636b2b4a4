// SPDX-License-Identifier: MIT OR Apache-2.0
use super::*;
use crate::ioapic::fixture::{cell, clustered};
use ApicMode::{X2apic, Xapic};

const LOWEST: u32 = 1 << 8;
const LOGICAL: u32 = 1 << 11;

pub fn entry(low: u32, destination: u8) -> Entry {
    Entry::RESET
        .with(Half::High, u32::from(destination) << 24)
        .with(Half::Low, low)
}

fn foreign(destination: u8, logical: bool) -> Result<u8, EntryDenied> {
    Err(EntryDenied::ForeignCpu {
        destination,
        logical,
    })
}

#[test]
fn only_fixed_and_lowest_priority_pass() {
    let cell = cell(&[0, 2]);
    for mode in [Xapic, X2apic] {
        for delivery in 0..8 {
            for logical in [0, LOGICAL] {
                let destination = if logical == 0 { 2 } else { 0b100 };
                let got = entry(0x41 | delivery << 8 | logical, destination).target(&cell, mode);
                let wanted = if delivery < 2 {
                    Ok(2)
                } else {
                    Err(EntryDenied::DeliveryMode {
                        mode: delivery.to_le_bytes()[0],
                    })
                };
                assert_eq!(got, wanted, "{delivery} {logical:#x} {mode:?}");
            }
        }
    }
}

#[test]
fn vectors_below_16_are_denied() {
    for vector in 0..=0xff {
        let got = entry(vector, 0).target(&cell(&[0]), X2apic);
        let wanted = if vector < 16 {
            Err(EntryDenied::Vector {
                vector: vector.to_le_bytes()[0],
            })
        } else {
            Ok(0)
        };
        assert_eq!(got, wanted);
    }
}

#[test]
fn a_physical_destination_is_one_cpu_of_the_cell_or_all() {
    let own = cell(&[1, 3]);
    for mode in [Xapic, X2apic] {
        for id in 0..0xff {
            let got = entry(0x41, id).target(&own, mode);
            let wanted = if id == 1 || id == 3 {
                Ok(id)
            } else {
                foreign(id, false)
            };
            assert_eq!(got, wanted, "{mode:?}");
        }
        let several = Err(EntryDenied::SeveralCpus {
            destination: 0xff,
            logical: false,
        });
        assert_eq!(entry(0x41, 0xff).target(&own, mode), several);
        assert_eq!(entry(0x41 | LOWEST, 0xff).target(&own, mode), Ok(1));
        assert_eq!(entry(0x41, 0xff).target(&cell(&[3]), mode), Ok(3));
    }
}

#[test]
fn a_logical_destination_shrinks_to_the_cell() {
    let flat = cell(&[1, 3]);
    for mode in [Xapic, X2apic] {
        for (destination, wanted) in [
            (0b0010, Ok(1)),
            (0b1000, Ok(3)),
            (0b0101, foreign(0b0101, true)),
            (0b0111, Ok(1)),
            (0b0000, foreign(0, true)),
        ] {
            let got = entry(0x41 | LOGICAL, destination).target(&flat, mode);
            assert_eq!(got, wanted, "{destination:#b} {mode:?}");
        }
        for destination in [0b1010, 0xff] {
            let several = Err(EntryDenied::SeveralCpus {
                destination,
                logical: true,
            });
            let low = 0x41 | LOGICAL;
            assert_eq!(entry(low, destination).target(&flat, mode), several);
            assert_eq!(entry(low | LOWEST, destination).target(&flat, mode), Ok(1));
        }
    }
    let clusters = clustered(&[4, 5, 8]);
    for (destination, wanted) in [
        (0x12, Ok(5)),
        (0x21, Ok(8)),
        (0x11, Ok(4)),
        (0x01, foreign(1, true)),
    ] {
        let got = entry(0x41 | LOGICAL, destination).target(&clusters, Xapic);
        assert_eq!(got, wanted, "{destination:#x}");
    }
    // CPUs of x2APIC clusters above 0 are out of the reach of 8 bits.
    assert_eq!(
        entry(0x41 | LOGICAL, 1).target(&cell(&[0x10]), X2apic),
        foreign(1, true)
    );
}

#[test]
fn ids_that_8_bits_do_not_hold_are_denied() {
    for id in [0xff, 0x100, 0x1_0003] {
        let denied = Err(EntryDenied::NoEightBitId { apic_id: id });
        assert_eq!(entry(0x41, 0xff).target(&cell(&[id]), X2apic), denied);
        let low = id.to_le_bytes()[0];
        if low != 0xff {
            assert_eq!(
                entry(0x41, low).target(&cell(&[id]), X2apic),
                foreign(low, false)
            );
        }
    }
    assert_eq!(entry(0x41, 0xfe).target(&cell(&[0xfe]), X2apic), Ok(0xfe));
}

#[test]
fn the_hardware_gets_vector_polarity_trigger_and_mask_only() {
    let all = entry(u32::MAX, 0xff).for_hardware(7);
    assert_eq!(
        (all.half(Half::Low), all.half(Half::High)),
        (0x1_a0ff, 7 << 24)
    );
    let none = entry(0x0f00 | LOGICAL | 0x31, 9).for_hardware(0);
    assert_eq!((none.half(Half::Low), none.half(Half::High)), (0x31, 0));
}

#[test]
fn what_was_written_is_read_back_but_for_what_the_hardware_alone_writes() {
    let written = entry(u32::MAX, 0xab);
    assert_eq!(written.read(Half::Low, 0), 0x1_afff);
    assert_eq!(written.read(Half::Low, 0x5000), 0x1_ffff);
    assert_eq!(written.read(Half::Low, !0x5000), 0x1_afff);
    assert_eq!(written.read(Half::High, u32::MAX), 0xab00_0000);
}
