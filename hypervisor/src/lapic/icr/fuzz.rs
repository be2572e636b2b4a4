// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random interrupt commands, compared with the manual's rules read bit by bit.

use super::*;
use ApicMode::{X2apic, Xapic};
use proptest::prelude::*;
use proptest::sample::Index;

#[derive(Clone, Debug)]
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

/// Tells whether a CPU's local APIC accepts a message for `destination`. (SDM 3A, "Determining IPI Destination")
fn accepts(
    id: u32,
    logical: LogicalId,
    is_logical: bool,
    destination: u32,
    mode: ApicMode,
) -> bool {
    match (mode, is_logical) {
        (X2apic, _) if destination == 0xffff_ffff => true,
        (Xapic, _) if destination == 0xff => true,
        (_, false) => id == destination,
        (X2apic, true) => {
            // Logical x2APIC ID = [(x2APIC ID[19:4] << 16) | (1 << x2APIC ID[3:0])]
            let own = (id & 0xf_fff0) << 12 | 1 << (id & 15);
            own >> 16 == destination >> 16 && own & destination & 0xffff != 0
        }
        (Xapic, true) => {
            let (own, model) = (logical.ldr >> 24, logical.dfr >> 28);
            model == 15 && own & destination != 0
                || model == 0 && own & 0xf0 == destination & 0xf0 && own & destination & 0xf != 0
        }
    }
}

/// What comes of a command: what to send and to whom, `None` in place of what is denied.
fn expected(
    cell: &Cell,
    sender: usize,
    low: u32,
    destination: u32,
    mode: ApicMode,
) -> Option<(IpiKind, u64)> {
    let (vector, shorthand) = ((low & 0xff) as u8, low >> 18 & 3);
    let kind = match low >> 8 & 7 {
        0 => IpiKind::Fixed { vector },
        1 => IpiKind::LowestPriority { vector },
        4 => IpiKind::Nmi,
        5 if low & 0xc000 == 0x8000 => return Some((IpiKind::InitDeassert, 0)),
        5 => IpiKind::Init,
        6 => IpiKind::Startup { vector },
        _ => return None,
    };
    let has_vector = matches!(kind, IpiKind::Fixed { .. } | IpiKind::LowestPriority { .. });
    let reaches_sender = shorthand == 1 || shorthand == 2;
    let is_fixed = matches!(kind, IpiKind::Fixed { .. });
    if has_vector && vector < 16 || reaches_sender && !is_fixed {
        return Some((IpiKind::Illegal, 0));
    }
    let is_target = |index: usize| match shorthand {
        0 => accepts(
            cell.ids[index],
            cell.logical[index],
            low & 1 << 11 != 0,
            destination,
            mode,
        ),
        1 => index == sender,
        2 => true,
        _ => index != sender,
    };
    let set = (0..cell.ids.len())
        .filter(|&i| is_target(i))
        .fold(0u64, |set, i| set | 1 << i);
    (shorthand != 0 || set != 0).then_some((kind, set))
}

fn cell(mode: ApicMode) -> impl Strategy<Value = Cell> {
    let id = match mode {
        Xapic => (0u32..0xff).boxed(),
        X2apic => prop_oneof![0u32..0x140, any::<u32>().prop_map(|id| id & !1)].boxed(),
    };
    let dfr = prop_oneof![4 => Just(u32::MAX), 4 => Just(0x0fff_ffff), 1 => any::<u32>()];
    let cpu = (any::<u32>(), dfr).prop_map(|(ldr, dfr)| LogicalId { ldr, dfr });
    prop::collection::hash_set(id, 1..=64)
        .prop_flat_map(move |ids| {
            let logical = prop::collection::vec(cpu.clone(), ids.len());
            (Just(ids.into_iter().collect()), logical)
        })
        .prop_map(|(ids, logical)| Cell { ids, logical })
}

/// A destination near to a CPU's, physical or logical.
fn near(cell: &Cell, which: &Index, how: u8, any: u32) -> u32 {
    let index = which.index(cell.ids.len());
    let id = cell.ids[index];
    match how {
        0 => id,
        1 => (id >> 4) << 16 | 1 << (id & 15),
        2 => (id >> 4) << 16 | any & 0xffff,
        3 => cell.logical[index].ldr >> 24,
        4 => 0xff,
        5 => u32::MAX,
        _ => any,
    }
}

fn compare(
    cell: &Cell,
    sender: &Index,
    how: (u8, Index, u32),
    low: u32,
    mode: ApicMode,
) -> Result<(), TestCaseError> {
    let sender = sender.index(cell.ids.len());
    let destination = near(cell, &how.1, how.0, how.2);
    let (write, destination) = match mode {
        X2apic => (
            IcrWrite::from_x2apic(u64::from(destination) << 32 | u64::from(low)),
            destination,
        ),
        Xapic => (
            IcrWrite::from_xapic(low, destination << 24 | how.2 & 0xff_ffff),
            destination & 0xff,
        ),
    };
    let found = write.resolve(cell.ids[sender], cell, mode);
    let found = match found {
        Ok(ipi) => {
            prop_assert!(ipi.targets.indices().all(|index| index < cell.ids.len()));
            Some((ipi.kind, ipi.targets.bits()))
        }
        Err(error) => {
            prop_assert!(!error.to_string().is_empty());
            None
        }
    };
    prop_assert_eq!(
        found,
        expected(cell, sender, low, destination, mode),
        "{:#x} to {:#x}",
        low,
        destination
    );
    Ok(())
}

proptest! {
    #[test]
    fn an_x2apic_command_reaches_whom_the_manual_says(
        cell in cell(X2apic), sender: Index, how in (0u8..7, any::<Index>(), any::<u32>()), low: u32,
    ) {
        compare(&cell, &sender, how, low, X2apic)?;
    }

    #[test]
    fn an_xapic_command_reaches_whom_the_manual_says(
        cell in cell(Xapic), sender: Index, how in (0u8..7, any::<Index>(), any::<u32>()), low: u32,
    ) {
        compare(&cell, &sender, how, low, Xapic)?;
    }
}
