//! The hypervisor's own symbols, for backtraces: from where the loader put them to memory of the hypervisor's.

use log::{debug, warn};

use super::machine::{FOUR_GIB, Machine};
use crate::address::HostPhys;
use crate::backtrace;
use crate::loader::Range;

/// Copies the symbols, which lie in memory that will be a cell's. Without them backtraces have addresses only.
pub fn keep(machine: &Machine) {
    let Some(tables) = machine.symbols else {
        return debug!("the loader brought no symbols: backtraces will have addresses only");
    };
    if copy(machine, tables.table, tables.names).is_none() {
        warn!("the image's symbols cannot be taken: backtraces will have addresses only");
    }
}

fn copy(machine: &Machine, table: Range, names: Range) -> Option<()> {
    // entry.S mapped the first 4 GiB, and devices are not read.
    let is_memory = |range: Range| range.end() <= FOUR_GIB && machine.is_ram(range);
    if !is_memory(table) || !is_memory(names) {
        return None;
    }
    let (kept_table, kept_names) = backtrace::symbol_memory(table.size, names.size)?;
    let physical = machine.physical();
    physical.read(HostPhys(table.base), kept_table).ok()?;
    physical.read(HostPhys(names.base), kept_names).ok()?;
    backtrace::set_symbols(kept_table, kept_names);
    Some(())
}
