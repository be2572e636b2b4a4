// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the kernel maps for itself, and with which rights.

use nimbos::layout::PAGE_LEN;

use super::apic::XAPIC_BASE;
use super::cpu::{self, Features};
use super::descriptors::CpuStacks;
use super::paging::{KernelMap, KernelUse};
use super::{image, start_code};
use crate::boot::Boot;

/// Leaves the hypervisor's page tables: maps the cell's memory, the kernel's image in its parts, the channels and the
/// local APIC, and turns on the processor's protection. `stacks` are those of all CPUs. At the page `start_page` other CPUs
/// begin; the code for that is put there.
pub fn init(boot: &Boot, features: Features, stacks: &[&CpuStacks], start_page: Option<u64>) {
    let mut map = KernelMap::new();
    for memory in boot.memory() {
        let (start, end) = (memory.base, memory.base + memory.size);
        if start <= image::start() && image::end() <= end {
            map_data(&mut map, start, image::start(), stacks);
            map.map(image::start(), image::constants(), KernelUse::Text);
            map.map(image::constants(), image::data(), KernelUse::Constants);
            map_data(&mut map, image::data(), image::end(), stacks);
            map_data(&mut map, image::end(), end, stacks);
        } else if Some(start) == start_page {
            start_code::write(start, map.table());
            map.map(start, start + PAGE_LEN, KernelUse::Text);
            map_data(&mut map, start + PAGE_LEN, end, stacks);
        } else {
            map_data(&mut map, start, end, stacks);
        }
    }
    for channel in boot.channels() {
        map.map(channel.base, channel.base + channel.size, KernelUse::Data);
    }
    if !boot.is_x2apic() {
        map.map(XAPIC_BASE, XAPIC_BASE + PAGE_LEN, KernelUse::Device);
    }
    cpu::enable_no_execute();
    // SAFETY: the image, the stacks, the frames and the channels keep their addresses; the kernel writes neither code nor
    // constants, runs nothing else, and has no other mapping of a program's memory.
    unsafe {
        map.activate();
        cpu::enable_protection(features);
    }
}

/// Maps memory but for the page below each kernel stack: running over its end faults.
fn map_data(map: &mut KernelMap, start: u64, end: u64, stacks: &[&CpuStacks]) {
    let mut next = start;
    loop {
        let guards = stacks.iter().map(|stacks| stacks.guard_page());
        let guard = guards.filter(|guard| (next..end).contains(guard)).min();
        map.map(next, guard.unwrap_or(end), KernelUse::Data);
        match guard {
            Some(guard) => next = guard + PAGE_LEN,
            None => return,
        }
    }
}
