//! Which I/O ports a cell reaches, and which of them end it.

use cell_config::{Devices, System};

use super::EndKind;
use crate::arch::port::Width;
use crate::vmx::io_bitmap::IoBitmap;

/// Ports of a 16550.
const UART_PORTS: u32 = 8;
/// Keyboard controller: commands F0H to FFH with bit 0 clear pulse the reset line.
const KEYBOARD_COMMAND: u16 = 0x64;
/// Keyboard controller: the byte that follows at port 60H drives the reset line. What else it drives (A20) needs no
/// switching in a cell.
const WRITE_OUTPUT_PORT: u32 = 0xd1;
/// System control port A: bit 0 resets.
const SYSTEM_CONTROL_A: u16 = 0x92;
/// Reset control register: bit 2 resets.
const RESET_CONTROL: u16 = 0xCF9;
/// PCI configuration address, whose dword access covers [`RESET_CONTROL`].
const PCI_CONFIG_ADDRESS: u16 = 0xCF8;
/// The emulator's own exit port.
const EMULATOR_EXIT: u16 = 0x8900;
/// SLP_EN of PM1_CNT, in the high byte. (ACPI 6.5, "PM1 Control Registers")
const SLP_EN_HIGH: u32 = 1 << (13 - 8);

/// Ports of this machine whose writes end it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PowerPorts {
    /// PM1a_CNT.
    pub pm1a_control: Option<u16>,
    /// PM1b_CNT.
    pub pm1b_control: Option<u16>,
    /// RESET_REG in I/O space, and its value.
    pub reset: Option<(u16, u8)>,
}

impl PowerPorts {
    fn watched(&self) -> impl Iterator<Item = (u16, u32)> {
        [
            (KEYBOARD_COMMAND, 1),
            (SYSTEM_CONTROL_A, 1),
            (RESET_CONTROL, 1),
            (EMULATOR_EXIT, 1),
        ]
        .into_iter()
        .chain(self.pm1a_control.map(|port| (port, 2)))
        .chain(self.pm1b_control.map(|port| (port, 2)))
        .chain(self.reset.map(|(port, _)| (port, 1)))
    }

    /// Tells whether a write ends the machine.
    pub fn ends(&self, port: u16, width: Width, value: u32) -> Option<EndKind> {
        let covers = |watched: u16| {
            watched
                .checked_sub(port)
                .is_some_and(|offset| u32::from(offset) < width.bytes())
        };
        let byte_at =
            |watched: u16| covers(watched).then(|| value >> (8 * (watched - port)) & 0xff);
        // PCI configuration space is addressed by dwords at CF8H only; the reset register by bytes only.
        let is_pci_address = port == PCI_CONFIG_ADDRESS && width == Width::Dword;
        let sleeps = [self.pm1a_control, self.pm1b_control]
            .into_iter()
            .flatten()
            .filter_map(|control| byte_at(control.wrapping_add(1)))
            .any(|high| high & SLP_EN_HIGH != 0);
        if sleeps || byte_at(EMULATOR_EXIT).is_some() {
            return Some(EndKind::PowerOff);
        }
        let keyboard_resets = |command| command & 0xf1 == 0xf0 || command == WRITE_OUTPUT_PORT;
        let resets = byte_at(KEYBOARD_COMMAND).is_some_and(keyboard_resets)
            || byte_at(SYSTEM_CONTROL_A).is_some_and(|byte| byte & 1 != 0)
            || !is_pci_address && byte_at(RESET_CONTROL).is_some_and(|byte| byte & 4 != 0)
            || self.reset.is_some_and(|(reset, with)| {
                !is_pci_address && byte_at(reset) == Some(u32::from(with))
            });
        resets.then_some(EndKind::Reset)
    }
}

/// Returns the ports that cell `cell` owns by name: its console and its `ports`.
fn own_ports(cell: &cell_config::Cell) -> impl Iterator<Item = (u16, u32)> + '_ {
    let console = cell.console.map(|port| (port, UART_PORTS));
    console.into_iter().chain(
        cell.ports
            .iter()
            .map(|range| (range.base, u32::from(range.size))),
    )
}

/// Tells whether every port of an access belongs to nobody else, for the cell that has the rest of the devices.
pub fn is_reachable(system: &System, cell: usize, port: u16, width: Width) -> bool {
    let overlaps = |(base, size): (u16, u32)| {
        u32::from(port) < u32::from(base) + size
            && u32::from(base) < u32::from(port) + width.bytes()
    };
    // Behind FFFFH an access goes on at 0: nobody needs that. (SDM 3C, "Instructions That Cause VM Exits Conditionally")
    if u32::from(port) + width.bytes() > 0x1_0000 {
        return false;
    }
    let config = &system.cells[cell];
    if config.devices == Devices::Rest {
        return !foreign_ports(system, cell).any(overlaps);
    }
    let inside = |(base, size): (u16, u32)| {
        port >= base && u32::from(port) + width.bytes() <= u32::from(base) + size
    };
    own_ports(config).any(inside)
}

fn foreign_ports(system: &System, cell: usize) -> impl Iterator<Item = (u16, u32)> + '_ {
    let others = system
        .cells
        .iter()
        .enumerate()
        .filter(move |&(index, _)| index != cell);
    let hypervisor = system.hypervisor.console.map(|port| (port, UART_PORTS));
    others
        .flat_map(|(_, other)| own_ports(other))
        .chain(hypervisor)
}

/// Sets the I/O bitmaps of a cell.
pub fn fill(bitmap: &mut IoBitmap, system: &System, cell: usize, power: &PowerPorts) {
    let config = &system.cells[cell];
    if config.devices == Devices::Rest {
        for (port, count) in foreign_ports(system, cell) {
            bitmap.intercept(port, count);
        }
    } else {
        for (port, count) in own_ports(config) {
            bitmap.pass(port, count);
        }
    }
    // A cell that owns such a port by name ends itself by it, not the machine.
    for (port, count) in power.watched() {
        bitmap.intercept(port, count);
    }
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::super::fuzz::owner_of_ports;
    use super::*;
    use crate::memory::Table;

    const POWER: PowerPorts = PowerPorts {
        pm1a_control: Some(0xb004),
        pm1b_control: None,
        reset: Some((0xcf9, 0x06)),
    };

    #[test]
    fn every_way_to_end_the_machine_is_seen() {
        for (port, width, value, kind) in [
            (0xb004, Width::Word, 0x2000, EndKind::PowerOff),
            (0xb005, Width::Byte, 0x20, EndKind::PowerOff),
            (0xb004, Width::Dword, 0x2000, EndKind::PowerOff),
            (0xb003, Width::Dword, 0x20_0000, EndKind::PowerOff),
            (0x8900, Width::Byte, 0x53, EndKind::PowerOff),
            (0x64, Width::Byte, 0xfe, EndKind::Reset),
            (0x64, Width::Byte, 0xf0, EndKind::Reset),
            (0x64, Width::Byte, 0xd1, EndKind::Reset),
            (0x63, Width::Dword, 0xfe00, EndKind::Reset),
            (0x92, Width::Byte, 0x01, EndKind::Reset),
            (0xcf9, Width::Byte, 0x06, EndKind::Reset),
            (0xcf9, Width::Byte, 0x0e, EndKind::Reset),
            (0x91, Width::Word, 0x0100, EndKind::Reset),
        ] {
            assert_eq!(
                POWER.ends(port, width, value),
                Some(kind),
                "{port:#x} <- {value:#x}"
            );
        }
    }

    #[test]
    fn everyday_writes_to_watched_ports_end_nothing() {
        for (port, width, value) in [
            (0xb004, Width::Word, 0x0001),
            (0xb004, Width::Byte, 0x20),
            (0x64, Width::Byte, 0x60),
            (0x64, Width::Byte, 0xff),
            (0x92, Width::Byte, 0x02),
            (0xcf8, Width::Dword, 0x8000_0600),
            (0xcf9, Width::Byte, 0x02),
            (0x60, Width::Byte, 0xfe),
        ] {
            assert_eq!(
                POWER.ends(port, width, value),
                None,
                "{port:#x} <- {value:#x}"
            );
        }
    }

    #[test]
    fn a_port_that_ends_the_machine_exits_also_in_the_cell_that_owns_it() {
        let system = owner_of_ports(0x60, 8);
        let (mut low, mut high) = (Table([0; 512]), Table([0; 512]));
        let mut bitmap = IoBitmap::intercept_all(&mut low, &mut high);
        fill(&mut bitmap, &system, 0, &POWER);
        assert!(!bitmap.intercepts(0x60) && bitmap.intercepts(KEYBOARD_COMMAND));
        assert!(is_reachable(&system, 0, KEYBOARD_COMMAND, Width::Byte));
    }

    #[test]
    fn an_access_that_wraps_to_port_0_reaches_nothing() {
        let system = owner_of_ports(0, 4);
        assert!(is_reachable(&system, 1, 0xfffe, Width::Word));
        assert!(!is_reachable(&system, 1, 0xfffe, Width::Dword));
        assert!(!is_reachable(&system, 1, 0xffff, Width::Word));
    }
}
