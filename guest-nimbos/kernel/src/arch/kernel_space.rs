// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the kernel maps for itself, and with which rights.

use nimbos::layout::PAGE_LEN;

use super::apic::XAPIC_BASE;
use super::cpu::{self, Features};
use super::descriptors::BOOT_STACKS;
use super::image;
use super::paging::{KernelMap, KernelUse};
use crate::boot::Boot;

/// Leaves the hypervisor's page tables: maps the cell's memory, the kernel's image in its parts, the channels and the
/// local APIC, and turns on the processor's protection.
pub fn init(boot: &Boot, features: Features) {
    let mut map = KernelMap::new();
    for memory in boot.memory() {
        let (start, end) = (memory.base, memory.base + memory.size);
        if start <= image::start() && image::end() <= end {
            map.map(start, image::start(), KernelUse::Data);
            map_image(&mut map);
            map.map(image::end(), end, KernelUse::Data);
        } else {
            map.map(start, end, KernelUse::Data);
        }
    }
    for channel in boot.channels() {
        map.map(channel.base, channel.base + channel.size, KernelUse::Data);
    }
    if !boot.is_x2apic() {
        map.map(XAPIC_BASE, XAPIC_BASE + PAGE_LEN, KernelUse::Device);
    }
    cpu::enable_no_execute();
    // SAFETY: the image, the stack, the frames and the channels keep their addresses; the kernel writes neither code nor
    // constants, runs nothing else, and has no other mapping of a program's memory.
    unsafe {
        map.activate();
        cpu::enable_protection(features);
    }
}

/// Maps the image but for the page below the kernel's stack: running over its end faults.
fn map_image(map: &mut KernelMap) {
    let guard = BOOT_STACKS.guard_page();
    map.map(image::start(), image::constants(), KernelUse::Text);
    map.map(image::constants(), image::data(), KernelUse::Constants);
    map.map(image::data(), guard, KernelUse::Data);
    map.map(guard + PAGE_LEN, image::end(), KernelUse::Data);
}
