// SPDX-License-Identifier: MIT OR Apache-2.0
//! Cells for tests.

use crate::lapic::icr::{CellCpus, LogicalId};

/// A cell with the logical IDs that Linux gives its CPUs.
pub struct Cell {
    ids: Vec<u32>,
    is_flat: bool,
}

/// Returns a cell by the flat model, as all are in x2APIC mode.
pub fn cell(ids: &[u32]) -> Cell {
    Cell {
        ids: ids.to_vec(),
        is_flat: true,
    }
}

/// Returns a cell by the cluster model.
pub fn clustered(ids: &[u32]) -> Cell {
    Cell {
        ids: ids.to_vec(),
        is_flat: false,
    }
}

impl CellCpus for Cell {
    fn apic_ids(&self) -> &[u32] {
        &self.ids
    }

    fn xapic_logical(&self, index: usize) -> LogicalId {
        let id = self.ids[index];
        if self.is_flat {
            LogicalId {
                ldr: 1u32.checked_shl(24 + id).unwrap_or(0),
                dfr: !0,
            }
        } else {
            LogicalId {
                ldr: (id / 4) << 28 | 1 << (24 + id % 4),
                dfr: 0x0fff_ffff,
            }
        }
    }
}
