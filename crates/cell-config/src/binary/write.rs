//! Writes the binary form.

use alloc::vec::Vec;

use super::{
    CHECKSUM, COMMAND_LINE_LEN, HEADER_LEN, MAY_END_MACHINE, MAY_RESTART, NAME_LEN, NO_PORT,
    REVISION, SIGNATURE,
};
use crate::{Cell, CellRegion, Channel, PortRange, Region, System};

/// Returns the binary form of `system`. It need not be checked: the reader does that.
pub fn encode(system: &System) -> Vec<u8> {
    let mut writer = Writer(Vec::new());
    writer.system(system);
    let body = writer.0;
    let length = u32::try_from(HEADER_LEN + body.len()).expect("all lists are short");
    let mut header = Writer(SIGNATURE.to_vec());
    header.u32(REVISION);
    header.u32(length);
    header.u32(CHECKSUM.checksum(&body));
    header.u32(0);
    [header.0, body].concat()
}

struct Writer(Vec<u8>);

impl Writer {
    fn system(&mut self, system: &System) {
        let System {
            machine,
            hypervisor,
            cells,
            channels,
        } = system;
        self.text::<NAME_LEN>(&machine.name);
        self.count(machine.cpus.len());
        self.count(machine.memory.len());
        self.count(cells.len());
        self.count(channels.len());
        self.u8(machine.apic_mode.number());
        self.u8(machine.when_all_cells_end.number());
        self.u8(hypervisor.log_level.number());
        self.u8(0);
        self.port(hypervisor.console);
        self.region(&hypervisor.memory);
        machine.cpus.iter().for_each(|&cpu| self.u32(cpu));
        machine.memory.iter().for_each(|region| self.region(region));
        cells.iter().for_each(|cell| self.cell(cell));
        channels.iter().for_each(|channel| self.channel(channel));
    }

    fn cell(&mut self, cell: &Cell) {
        self.text::<NAME_LEN>(&cell.name);
        self.text::<NAME_LEN>(&cell.image);
        self.text::<NAME_LEN>(cell.initrd.as_deref().unwrap_or_default());
        self.u8(cell.kind.number());
        self.u8(cell.devices.number());
        self.u8(cell.foreign_ports.number());
        let flag = |is_set, flag| if is_set { flag } else { 0 };
        self.u8(flag(cell.may_end_machine, MAY_END_MACHINE) | flag(cell.may_restart, MAY_RESTART));
        self.port(cell.console);
        self.count(cell.cpus.len());
        self.count(cell.memory.len());
        self.count(cell.ports.len());
        self.count(cell.mmio.len());
        self.text::<COMMAND_LINE_LEN>(&cell.cmdline);
        cell.cpus.iter().for_each(|&cpu| self.u32(cpu));
        cell.memory
            .iter()
            .for_each(|region| self.cell_region(region));
        cell.ports.iter().for_each(|range| self.port_range(range));
        cell.mmio.iter().for_each(|region| self.region(region));
    }

    fn channel(&mut self, channel: &Channel) {
        self.text::<NAME_LEN>(&channel.name);
        self.u8(channel.client);
        self.u8(channel.server);
        self.u8(channel.doorbell.number());
        self.0.extend([0; 5]);
        self.region(&channel.memory);
        self.u64(channel.client_vectors);
        self.u64(channel.server_vectors);
    }

    fn cell_region(&mut self, region: &CellRegion) {
        self.u64(region.base);
        self.u64(region.size);
        self.u64(region.guest);
    }

    fn region(&mut self, region: &Region) {
        self.u64(region.base);
        self.u64(region.size);
    }

    fn port_range(&mut self, range: &PortRange) {
        self.u16(range.base);
        self.u16(range.size);
    }

    fn port(&mut self, port: Option<u16>) {
        self.u32(port.map_or(NO_PORT, u32::from));
    }

    fn count(&mut self, count: usize) {
        self.u16(u16::try_from(count).expect("all lists are short"));
    }

    /// Writes a text, whose capacity is `LEN` - 1.
    fn text<const LEN: usize>(&mut self, text: &str) {
        self.0.extend(text.as_bytes());
        self.0.extend((text.len()..LEN).map(|_| 0));
    }

    fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    fn u16(&mut self, value: u16) {
        self.0.extend(value.to_le_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.0.extend(value.to_le_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.0.extend(value.to_le_bytes());
    }
}
