// SPDX-License-Identifier: MIT OR Apache-2.0
//! Changes of a system that are likely to be just within a rule, or just not.

use arrayvec::ArrayVec;
use cell_config::*;
use proptest::prelude::*;
use proptest::sample::Index;

/// A number at or near the edge of something.
#[derive(Clone, Debug)]
pub enum Near {
    /// An edge of a range that the system has.
    Edge(Index, i64),
    /// A power of two.
    Power(u32, i64),
    /// Anything.
    Any(u64),
}

/// A change of a system.
#[derive(Clone, Debug)]
pub enum Edit {
    /// Base and size of a range of memory.
    Memory(Index, Near, Option<Near>),
    /// Where a cell sees a region.
    Guest(Index, Near),
    /// A further region of device memory.
    Mmio(Index, Near, u64),
    /// A further region of a cell.
    Region(Index, Near, u64),
    /// A console, by the cell's number; that of the hypervisor comes last.
    Console(Index, Option<u16>),
    /// A further range of ports.
    Ports(Index, u16, u16),
    /// A CPU, of the machine or of a cell, replaced or removed.
    Cpu(Index, Index, Option<u32>),
    /// A CPU of one cell also given to another.
    SharedCpu(Index, Index),
    /// Mode, kind and devices.
    Choices(Index, u8),
    /// Policy of a channel, and the user vectors to its ends.
    Doorbell(Index, bool, u64, u64),
    /// Ends of a channel.
    Ends(Index, u8, u8),
    /// A name, a control character in it perhaps.
    Name(Index, String),
    /// A cell or a channel removed or doubled.
    Count(Index, bool),
}

/// Returns changes.
pub fn edit() -> impl Strategy<Value = Edit> {
    let at = any::<Index>;
    let size = prop_oneof![(0u64..5).prop_map(|n| n << 12), Just(2 << 20), any::<u64>()];
    let port = prop_oneof![0u16..0x800, 0xfff0u16..=0xffff, any::<u16>()];
    let vectors = || prop_oneof![4 => Just(u64::MAX), 1 => any::<u64>()];
    let cpu = prop_oneof![0u32..4, 0xfcu32..0x102, 0xffff_fffc..=u32::MAX];
    prop_oneof![
        6 => (at(), near(), prop::option::of(near())).prop_map(|(i, base, size)| Edit::Memory(i, base, size)),
        3 => (at(), near()).prop_map(|(i, guest)| Edit::Guest(i, guest)),
        3 => (at(), near(), size.clone()).prop_map(|(i, base, size)| Edit::Mmio(i, base, size)),
        2 => (at(), near(), size).prop_map(|(i, base, size)| Edit::Region(i, base, size)),
        2 => (at(), prop::option::of(port.clone())).prop_map(|(i, port)| Edit::Console(i, port)),
        2 => (at(), port, prop_oneof![0u16..12, any::<u16>()]).prop_map(|(i, b, n)| Edit::Ports(i, b, n)),
        2 => (at(), at(), prop::option::of(cpu)).prop_map(|(i, j, cpu)| Edit::Cpu(i, j, cpu)),
        1 => (at(), at()).prop_map(|(i, j)| Edit::SharedCpu(i, j)),
        2 => (at(), any::<u8>()).prop_map(|(i, choices)| Edit::Choices(i, choices)),
        2 => (at(), any::<bool>(), vectors(), vectors()).prop_map(|(i, filtered, a, b)| Edit::Doorbell(i, filtered, a, b)),
        1 => (at(), 0u8..9, 0u8..9).prop_map(|(i, client, server)| Edit::Ends(i, client, server)),
        1 => (at(), "[ -~]{0,3}|cell 0|\u{7f}|\n|é").prop_map(|(i, name)| Edit::Name(i, name)),
        1 => (at(), any::<bool>()).prop_map(|(i, doubled)| Edit::Count(i, doubled)),
    ]
}

fn near() -> impl Strategy<Value = Near> {
    let by = prop_oneof![
        4 => Just(0i64),
        3 => (-2i64..3).prop_map(|pages| pages << 12),
        2 => (-2i64..3).prop_map(|pages| pages << 21),
        1 => -2i64..3,
    ];
    prop_oneof![
        6 => (any::<Index>(), by.clone()).prop_map(|(i, by)| Near::Edge(i, by)),
        3 => (12u32..64, by).prop_map(|(bit, by)| Near::Power(bit, by)),
        1 => any::<u64>().prop_map(Near::Any),
    ]
}

impl Near {
    fn number(&self, system: &System) -> u64 {
        match self {
            Self::Edge(index, by) => index.get(&edges(system)).wrapping_add_signed(*by),
            Self::Power(bit, by) => (1u64 << bit).wrapping_add_signed(*by),
            Self::Any(number) => *number,
        }
    }
}

/// Returns bases, ends and sizes of all memory, and the edges of the local APIC's page.
fn edges(system: &System) -> Vec<u64> {
    let cells = system.cells.iter().flat_map(|cell| {
        let guests = cell.memory.iter().map(|m| m.guest());
        let hosts = cell.memory.iter().map(|m| m.host());
        guests.chain(hosts).chain(cell.mmio.iter().copied())
    });
    system
        .machine
        .memory
        .iter()
        .copied()
        .chain(cells)
        .chain(system.channels.iter().map(|c| c.memory))
        .chain([system.hypervisor.memory, LOCAL_APIC])
        .flat_map(|region| [region.base, region.end(), region.size])
        .collect()
}

impl Edit {
    /// Makes the change; one that has no object in this system changes nothing.
    pub fn apply(&self, system: &mut System) {
        match self {
            Self::Memory(which, base, size) => {
                let base = base.number(system);
                let size = size.as_ref().map(|size| size.number(system));
                let mut places = all_memory(system);
                let place = which.index(places.len());
                *places[place].0 = base;
                if let Some(size) = size {
                    *places[place].1 = size;
                }
            }
            Self::Guest(which, guest) => {
                let guest = guest.number(system);
                let mut all: Vec<_> = system
                    .cells
                    .iter_mut()
                    .flat_map(|c| &mut c.memory)
                    .collect();
                if let Some(region) = pick(which, &mut all) {
                    region.guest = guest;
                }
            }
            Self::Mmio(which, base, size) => {
                let base = base.number(system);
                on_cell(system, which, |c| {
                    push(&mut c.mmio, Region::new(base, *size))
                });
            }
            Self::Region(which, base, size) => {
                let (base, size) = (base.number(system), *size);
                let region = CellRegion {
                    base,
                    size,
                    guest: base,
                };
                on_cell(system, which, |c| push(&mut c.memory, region));
            }
            Self::Console(which, port) => {
                let hypervisor = &mut system.hypervisor.console;
                let cells = system.cells.iter_mut().map(|c| &mut c.console);
                let mut all: Vec<_> = cells.chain([hypervisor]).collect();
                if let Some(console) = pick(which, &mut all) {
                    **console = *port;
                }
            }
            Self::Ports(which, base, size) => {
                let range = PortRange {
                    base: *base,
                    size: *size,
                };
                on_cell(system, which, |c| push(&mut c.ports, range));
            }
            _ => self.apply_to_owners(system),
        }
    }

    /// The changes that are not about addresses.
    fn apply_to_owners(&self, system: &mut System) {
        match self {
            Self::Cpu(which, position, cpu) => {
                let machine = &mut system.machine.cpus;
                let cells = system.cells.iter_mut().map(|c| &mut c.cpus);
                let mut lists: Vec<_> = cells.chain([machine]).collect();
                let Some(list) = pick(which, &mut lists).filter(|list| !list.is_empty()) else {
                    return;
                };
                let position = position.index(list.len());
                match cpu {
                    Some(cpu) => list[position] = *cpu,
                    None => _ = list.remove(position),
                }
            }
            Self::SharedCpu(from, to) => {
                let cpus: Vec<u32> = system.cells.iter().flat_map(|c| c.cpus.clone()).collect();
                if !cpus.is_empty() {
                    let cpu = *from.get(&cpus);
                    on_cell(system, to, |c| push(&mut c.cpus, cpu));
                }
            }
            Self::Choices(which, choices) => {
                if choices & 1 != 0 {
                    system.machine.apic_mode = ApicMode::Xapic;
                }
                on_cell(system, which, |c| {
                    if choices & 2 != 0 {
                        c.devices = Devices::Rest;
                    }
                    if choices & 4 != 0 {
                        c.kind = CellKind::Linux;
                    }
                    if choices & 8 != 0 {
                        c.kind = CellKind::Elf;
                    }
                    if choices & 16 != 0 {
                        c.may_restart = true;
                    }
                });
            }
            Self::Doorbell(which, is_filtered, client, server) => {
                if let Some(channel) = pick(which, &mut system.channels) {
                    channel.doorbell = Doorbell::ALL[usize::from(*is_filtered)];
                    (channel.client_vectors, channel.server_vectors) = (*client, *server);
                }
            }
            Self::Ends(which, client, server) => {
                if let Some(channel) = pick(which, &mut system.channels) {
                    (channel.client, channel.server) = (*client, *server);
                }
            }
            Self::Name(which, name) => rename(system, which, name),
            Self::Count(which, doubled) => {
                let channel = pick(which, &mut system.channels).cloned();
                match (doubled, channel) {
                    (true, Some(channel)) => push(&mut system.channels, channel),
                    (true, None) => {}
                    (false, _) if !system.cells.is_empty() => {
                        _ = system.cells.remove(which.index(system.cells.len()));
                    }
                    (false, _) => {}
                }
            }
            _ => unreachable!("`apply` has the others"),
        }
    }
}

/// Returns base and size of all memory that somebody has.
fn all_memory(system: &mut System) -> Vec<(&mut u64, &mut u64)> {
    let machine = system.machine.memory.iter_mut();
    let channels = system.channels.iter_mut().map(|c| &mut c.memory);
    let mut places = Vec::new();
    for region in machine
        .chain(channels)
        .chain([&mut system.hypervisor.memory])
    {
        places.push((&mut region.base, &mut region.size));
    }
    for cell in &mut system.cells {
        for region in &mut cell.memory {
            places.push((&mut region.base, &mut region.size));
        }
        for region in &mut cell.mmio {
            places.push((&mut region.base, &mut region.size));
        }
    }
    places
}

fn rename(system: &mut System, which: &Index, name: &str) {
    let cells = system
        .cells
        .iter_mut()
        .flat_map(|c| [&mut c.name, &mut c.image]);
    let channels = system.channels.iter_mut().map(|c| &mut c.name);
    let mut all: Vec<&mut Name> = cells
        .chain(channels)
        .chain([&mut system.machine.name])
        .collect();
    if let Some(place) = pick(which, &mut all) {
        **place = Name::from(name).expect("short");
    }
}

fn on_cell(system: &mut System, which: &Index, change: impl FnOnce(&mut Cell)) {
    if let Some(cell) = pick(which, &mut system.cells) {
        change(cell);
    }
}

fn pick<'a, T>(which: &Index, items: &'a mut [T]) -> Option<&'a mut T> {
    match items.len() {
        0 => None,
        len => items.get_mut(which.index(len)),
    }
}

/// Appends an item unless the list is full.
fn push<T, const N: usize>(list: &mut ArrayVec<T, N>, item: T) {
    _ = list.try_push(item);
}
