//! What a cell is told about itself.

use cell_config::{ApicMode, System};
use hv_abi::{
    ABI_REVISION, BootInfo, ChannelInfo, ChannelRole, ConsoleInfo, Doorbell, MemoryRange, NAME_LEN,
};
use zerocopy::FromZeros;

use super::channels_of;

/// Fills the boot-information page of cell `id`.
pub fn boot_info(
    system: &'static System,
    id: usize,
    tsc_khz: u32,
    initrd: Option<MemoryRange>,
) -> BootInfo {
    let cell = &system.cells[id];
    let mut info = BootInfo::new_zeroed();
    info.magic = BootInfo::MAGIC;
    info.revision = ABI_REVISION;
    info.cell_id = id as u32;
    info.flags = if system.machine.apic_mode == ApicMode::X2apic {
        BootInfo::FLAG_X2APIC
    } else {
        0
    };
    info.tsc_khz = tsc_khz;
    info.name = name_field(&cell.name);
    if let Some(port) = cell.console {
        info.console = ConsoleInfo {
            kind: 1,
            reserved: 0,
            base: u64::from(port),
        };
    }
    info.initrd = initrd.unwrap_or_default();
    for (slot, region) in info.memory.iter_mut().zip(&cell.memory) {
        *slot = MemoryRange {
            base: region.guest,
            size: region.size,
        };
        info.memory_count += 1;
    }
    for (slot, channel) in info.channels.iter_mut().zip(channels_of(system, id)) {
        *slot = channel_info(system, id, channel);
        info.channel_count += 1;
    }
    for (slot, &apic_id) in info.cpus.iter_mut().zip(&cell.cpus) {
        *slot = apic_id;
        info.cpu_count += 1;
    }
    // One byte is left for the NUL.
    let last = BootInfo::CMDLINE_LEN - 1;
    for (slot, byte) in info.cmdline[..last].iter_mut().zip(cell.cmdline.bytes()) {
        *slot = byte;
    }
    info
}

fn channel_info(system: &System, id: usize, channel: &cell_config::Channel) -> ChannelInfo {
    let is_client = usize::from(channel.client) == id;
    let (role, peer) = if is_client {
        (ChannelRole::Client, channel.server)
    } else {
        (ChannelRole::Server, channel.client)
    };
    let doorbell = match channel.doorbell {
        cell_config::Doorbell::Direct => Doorbell::Direct,
        cell_config::Doorbell::Filtered => Doorbell::Filtered,
    };
    ChannelInfo {
        name: name_field(&channel.name),
        peer: name_field(&system.cells[usize::from(peer)].name),
        base: channel.memory.base,
        size: channel.memory.size,
        role: role as u32,
        doorbell: doorbell as u32,
    }
}

fn name_field(name: &str) -> [u8; NAME_LEN] {
    let mut field = [0; NAME_LEN];
    for (slot, byte) in field[..NAME_LEN - 1].iter_mut().zip(name.bytes()) {
        *slot = byte;
    }
    field
}
