// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random owners of ports: nobody reaches another's port, and whatever ends the machine is seen.

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::super::fuzz::system;
use super::*;
use crate::memory::Table;

const WIDTHS: [Width; 3] = [Width::Byte, Width::Word, Width::Dword];

fn power() -> impl Strategy<Value = PowerPorts> {
    let port = || prop::option::of(prop_oneof![Just(0xb004u16), Just(0xfffe), 0u16..0xffff]);
    let reset = prop::option::of((
        prop_oneof![Just(0xcf9u16), Just(0x64), any::<u16>()],
        any::<u8>(),
    ));
    (port(), port(), reset).prop_map(|(pm1a_control, pm1b_control, reset)| PowerPorts {
        pm1a_control,
        pm1b_control,
        reset,
    })
}

/// A port near one that counts.
fn port() -> impl Strategy<Value = u16> {
    let known = select(vec![
        0u16, 0x60, 0x64, 0x92, 0xb2, 0xcf8, 0xcf9, 0x8900, 0xb004, 0xffff,
    ]);
    prop_oneof![4 => (known, -4i16..5).prop_map(|(port, by)| port.wrapping_add_signed(by)), 1 => any::<u16>()]
}

/// Who owns a port by name: a cell, or the hypervisor as the number behind them.
fn owner(system: &System, port: u16) -> Option<usize> {
    let within = |base: u16, size: u16| port >= base && port - base < size;
    let cell = system.cells.iter().position(|cell| {
        cell.console.is_some_and(|base| within(base, 8))
            || cell.ports.iter().any(|p| within(p.base, p.size))
    });
    let hypervisor = system.hypervisor.console.filter(|&base| within(base, 8));
    cell.or(hypervisor.map(|_| system.cells.len()))
}

/// The ports of an access; those behind FFFFH begin again at 0.
fn ports(port: u16, width: Width) -> Vec<u16> {
    (0..width.bytes() as u16)
        .map(|i| port.wrapping_add(i))
        .collect()
}

/// What a write does to the machine, byte by byte.
fn ends(power: &PowerPorts, port: u16, width: Width, value: u32) -> Option<EndKind> {
    let mut kind = None;
    for (at, byte) in ports(port, width).into_iter().zip(value.to_le_bytes()) {
        let is_pm1 = [power.pm1a_control, power.pm1b_control]
            .iter()
            .flatten()
            .any(|control| control.wrapping_add(1) == at);
        if is_pm1 && byte & 0x20 != 0 || at == 0x8900 {
            return Some(EndKind::PowerOff);
        }
        let is_pci_address = port == 0xcf8 && width == Width::Dword;
        let resets = at == 0x64 && (byte & 0xf1 == 0xf0 || byte == 0xd1)
            || at == 0x92 && byte & 1 != 0
            || !is_pci_address && (at == 0xcf9 && byte & 4 != 0 || power.reset == Some((at, byte)));
        if resets {
            kind = Some(EndKind::Reset);
        }
    }
    kind
}

proptest! {
    #[test]
    fn no_access_reaches_the_port_of_another(
        system in system(), port in port(), width in select(&WIDTHS[..]), which: Index, by in -4i16..5,
    ) {
        // Half of the accesses near an edge of somebody's ports.
        let named: Vec<u16> = system.cells.iter()
            .flat_map(|cell| cell.ports.iter().flat_map(|p| [p.base, p.base.wrapping_add(p.size)]))
            .chain(system.hypervisor.console)
            .collect();
        let near = (!named.is_empty()).then(|| which.get(&named).wrapping_add_signed(by));
        for port in near.into_iter().chain([port]) {
            let owners: Vec<_> = ports(port, width).into_iter().map(|port| owner(&system, port)).collect();
            for (id, cell) in system.cells.iter().enumerate() {
                let may = |owner: &Option<usize>| match owner {
                    Some(owner) => *owner == id,
                    None => cell.devices == Devices::Rest,
                };
                let is_reachable = is_reachable(&system, id, port, width);
                prop_assert!(!is_reachable || owners.iter().all(may), "cell {} at {:#x}: {:?}", id, port, owners);
                // By one byte, a cell reaches all that is its own.
                prop_assert!(width != Width::Byte || is_reachable == may(&owners[0]), "cell {} at {:#x}", id, port);
            }
        }
    }

    #[test]
    fn what_passes_without_an_exit_is_reachable_and_ends_nothing(
        system in system(), power in power(), near in prop::collection::vec(port(), 20), value: u32,
        width in select(&WIDTHS[..]),
    ) {
        for id in 0..system.cells.len() {
            let (mut low, mut high) = (Table([0; 512]), Table([0; 512]));
            let is_rest = system.cells[id].devices == Devices::Rest;
            let mut bitmap = match is_rest {
                true => IoBitmap::pass_all(&mut low, &mut high),
                false => IoBitmap::intercept_all(&mut low, &mut high),
            };
            fill(&mut bitmap, &system, id, &power);
            let own = system.cells[id].ports.iter().flat_map(|p| p.base..=p.base + (p.size - 1));
            for port in own.chain(near.iter().copied()) {
                let all = ports(port, width);
                // (SDM 3C, "Instructions That Cause VM Exits Conditionally": an access that wraps exits)
                let wraps = port.checked_add(width.bytes() as u16 - 1).is_none();
                if wraps || all.iter().any(|&port| bitmap.intercepts(port)) {
                    continue;
                }
                let may = |&port: &u16| owner(&system, port).map_or(is_rest, |owner| owner == id);
                prop_assert!(all.iter().all(may), "cell {} at {:#x}", id, port);
                prop_assert_eq!(ends(&power, port, width, value), None, "cell {} at {:#x}", id, port);
                for hot in [0x2020_2020, 0xfefe_fefe, u32::MAX, 0xd1d1_d1d1] {
                    prop_assert_eq!(ends(&power, port, width, hot), None, "cell {} at {:#x}", id, port);
                }
            }
        }
    }

    #[test]
    fn a_write_ends_the_machine_if_one_of_its_bytes_does(
        power in power(), port in port(), width in select(&WIDTHS[..]),
        value in prop_oneof![any::<u32>(), any::<u8>().prop_map(|byte| u32::from_le_bytes([byte; 4]))],
    ) {
        prop_assume!(port.checked_add(width.bytes() as u16 - 1).is_some());
        prop_assert_eq!(power.ends(port, width, value), ends(&power, port, width, value));
    }
}
