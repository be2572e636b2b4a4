use super::*;
use ApicMode::{X2apic, Xapic};
use proptest::prelude::*;

struct Cell {
    ids: Vec<u32>,
    logical: Vec<LogicalId>,
}

impl CellCpus for Cell {
    fn apic_ids(&self) -> &[u32] {
        &self.ids
    }
    fn xapic_logical(&self, index: usize) -> LogicalId {
        self.logical[index]
    }
}

/// A cell whose CPUs have the logical IDs that Linux gives them in the flat model.
fn cell(ids: &[u32]) -> Cell {
    let flat = |&id: &u32| LogicalId {
        ldr: 1u32.checked_shl(24 + id).unwrap_or(0),
        dfr: !0,
    };
    Cell {
        ids: ids.to_vec(),
        logical: ids.iter().map(flat).collect(),
    }
}

fn clustered(ids: &[u32]) -> Cell {
    let cluster = |&id: &u32| LogicalId {
        ldr: (id / 4) << 28 | 1 << (24 + id % 4),
        dfr: 0x0fff_ffff,
    };
    Cell {
        ids: ids.to_vec(),
        logical: ids.iter().map(cluster).collect(),
    }
}

fn x2(cell: &Cell, sender: u32, value: u64) -> Result<(IpiKind, u64), IpiDenied> {
    let ipi = IcrWrite::from_x2apic(value).resolve(sender, cell, X2apic)?;
    Ok((ipi.kind, ipi.targets.bits()))
}

fn x1(cell: &Cell, sender: u32, low: u32, destination: u32) -> Result<(IpiKind, u64), IpiDenied> {
    let ipi = IcrWrite::from_xapic(low, destination << 24).resolve(sender, cell, Xapic)?;
    Ok((ipi.kind, ipi.targets.bits()))
}

fn foreign<T>(destination: u32, logical: bool) -> Result<T, IpiDenied> {
    Err(IpiDenied::ForeignCpu {
        destination,
        logical,
    })
}

const FD: IpiKind = IpiKind::Fixed { vector: 0xfd };

#[test]
fn a_physical_destination_reaches_a_cpu_of_the_cell_only() {
    let cell = cell(&[0, 2, 0x105]);
    for (value, expected) in [
        (0x0000_0000_0000_00fd, Ok((FD, 0b001))),
        (0x0000_0002_0000_40fd, Ok((FD, 0b010))),
        (0x0000_0105_0000_00fd, Ok((FD, 0b100))),
        (0x0000_0001_0000_00fd, foreign(1, false)),
        (0x0000_00ff_0000_00fd, foreign(0xff, false)),
        (0xffff_ffff_0000_00fd, Ok((FD, 0b111))),
    ] {
        assert_eq!(x2(&cell, 0, value), expected, "{value:#x}");
    }
    for (destination, expected) in [
        (0, Ok((FD, 0b001))),
        (2, Ok((FD, 0b010))),
        (5, foreign(5, false)),
        (0xff, Ok((FD, 0b111))),
    ] {
        assert_eq!(
            x1(&cell, 0, 0xfd, destination),
            expected,
            "{destination:#x}"
        );
    }
}

#[test]
fn shorthands_shrink_to_the_cell() {
    let cell = cell(&[3, 1, 7]);
    assert_eq!(x2(&cell, 1, 0x4_00fd), Ok((FD, 0b010)));
    assert_eq!(x2(&cell, 1, 0x8_00fd), Ok((FD, 0b111)));
    assert_eq!(x2(&cell, 1, 0xc_00fd), Ok((FD, 0b101)));
    assert_eq!(x1(&cell, 7, 0xc_0400, 0), Ok((IpiKind::Nmi, 0b011)));
}

#[test]
fn a_shorthand_ignores_the_destination_field() {
    assert_eq!(x2(&cell(&[3, 1]), 3, 0x0000_0055_0004_00fd), Ok((FD, 0b01)));
}

#[test]
fn a_lone_cpu_sends_to_all_others_in_vain_but_is_not_denied() {
    assert_eq!(x2(&cell(&[4]), 4, 0xc_00fd), Ok((FD, 0)));
}

#[test]
fn x2apic_logical_destinations_follow_from_the_apic_id() {
    let cell = cell(&[0x00, 0x03, 0x10, 0x1f, 0x123]);
    for (destination, expected) in [
        (0x0000_0001u32, Ok((FD, 0b00001))),
        (0x0000_0009, Ok((FD, 0b00011))),
        (0x0001_8001, Ok((FD, 0b01100))),
        (0x0012_0008, Ok((FD, 0b10000))),
        (0x0000_ffff, Ok((FD, 0b00011))),
        (0x0000_0002, foreign(2, true)),
        (0x0002_ffff, foreign(0x2_ffff, true)),
        (0x0001_0000, foreign(0x1_0000, true)),
        (0xffff_ffff, Ok((FD, 0b11111))),
    ] {
        let value = u64::from(destination) << 32 | 0x8fd;
        assert_eq!(x2(&cell, 0, value), expected, "{destination:#x}");
    }
}

#[test]
fn xapic_flat_model_is_a_mask() {
    let cell = cell(&[1, 2]);
    for (destination, expected) in [
        (0b010, Ok((FD, 0b01))),
        (0b111, Ok((FD, 0b11))),
        (0b1001, foreign(0b1001, true)),
        (0, foreign(0, true)),
        (0xff, Ok((FD, 0b11))),
    ] {
        assert_eq!(
            x1(&cell, 1, 0x8fd, destination),
            expected,
            "{destination:#x}"
        );
    }
}

#[test]
fn xapic_cluster_model_compares_the_cluster_and_masks_the_rest() {
    let cell = clustered(&[1, 3, 6]);
    for (destination, expected) in [
        (0x0a, Ok((FD, 0b011))),
        (0x14, Ok((FD, 0b100))),
        (0x1b, foreign(0x1b, true)),
        (0x2f, foreign(0x2f, true)),
        (0xff, Ok((FD, 0b111))),
    ] {
        assert_eq!(
            x1(&cell, 1, 0x8fd, destination),
            expected,
            "{destination:#x}"
        );
    }
}

#[test]
fn an_unknown_destination_format_matches_nothing() {
    let mut cell = cell(&[0]);
    cell.logical[0].dfr = 0x7fff_ffff;
    assert_eq!(x1(&cell, 0, 0x8fd, 1), foreign(1, true));
}

#[test]
fn each_delivery_mode_has_its_kind() {
    let cell = cell(&[0, 1]);
    for (low, expected) in [
        (0x00010, Ok((IpiKind::Fixed { vector: 0x10 }, 0b10))),
        (
            0x00140,
            Ok((IpiKind::LowestPriority { vector: 0x40 }, 0b10)),
        ),
        (0x00202, Err(IpiDenied::DeliveryMode { mode: 2 })),
        (0x00300, Err(IpiDenied::DeliveryMode { mode: 3 })),
        (0x00402, Ok((IpiKind::Nmi, 0b10))),
        (0x04500, Ok((IpiKind::Init, 0b10))),
        (0x0c500, Ok((IpiKind::Init, 0b10))),
        (0x08500, Ok((IpiKind::InitDeassert, 0))),
        (0x04608, Ok((IpiKind::Startup { vector: 8 }, 0b10))),
        (0x00730, Err(IpiDenied::DeliveryMode { mode: 7 })),
        (0xc0202, Err(IpiDenied::DeliveryMode { mode: 2 })),
        (0x0000f, Ok((IpiKind::Illegal, 0))),
        (0x0010f, Ok((IpiKind::Illegal, 0))),
        (0x40400, Ok((IpiKind::Illegal, 0))),
        (0x84500, Ok((IpiKind::Illegal, 0))),
    ] {
        assert_eq!(x1(&cell, 0, low, 1), expected, "{low:#x}");
    }
}

#[test]
fn a_sender_outside_the_list_is_named() {
    assert_eq!(
        x2(&cell(&[0]), 9, 0xfd),
        Err(IpiDenied::ForeignSender { sender: 9 })
    );
}

proptest! {
    #[test]
    fn targets_are_the_cells_own_whatever_is_written(
        value: u64, ids in prop::collection::vec(any::<u32>(), 1..70), xapic: bool, ldr: u32, dfr: u32,
    ) {
        let logical = ids.iter().map(|id| LogicalId { ldr: ldr.rotate_left(*id & 31), dfr }).collect();
        let cell = Cell { ids, logical };
        let mode = if xapic { Xapic } else { X2apic };
        let write = match mode {
            Xapic => IcrWrite::from_xapic(value as u32, (value >> 32) as u32),
            X2apic => IcrWrite::from_x2apic(value),
        };
        if let Ok(ipi) = write.resolve(cell.ids[0], &cell, mode) {
            prop_assert!(ipi.targets.indices().all(|index| index < cell.ids.len().min(64)));
        }
    }

    #[test]
    fn a_logical_id_reaches_its_own_cpu(id: u32) {
        let logical_id = (id >> 4) << 16 | 1 << (id & 15);
        prop_assume!(logical_id != u32::MAX);
        prop_assert_eq!(x2(&cell(&[id]), id, u64::from(logical_id) << 32 | 0x8fd), Ok((FD, 1)));
        prop_assert!(!x2apic_logical_match(id ^ 1, logical_id));
    }
}
