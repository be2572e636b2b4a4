// SPDX-License-Identifier: MIT OR Apache-2.0
//! The rules of docs/interfaces.md, "Cell configuration", told a second time and in another way: as one list of
//! claims in 128-bit numbers. What `System::check` says is compared with it.

use cell_config::*;

const PAGE: u128 = 4096;
const LARGE: u128 = 2 << 20;

/// Tells whether a system keeps all rules.
pub fn keeps_all_rules(system: &System) -> bool {
    names(system)
        && cpus(system)
        && memory(system)
        && guests(system)
        && devices(system)
        && doorbells(system)
}

#[derive(Clone, Copy)]
struct Span {
    start: u128,
    end: u128,
}

impl Span {
    fn of(base: u64, size: u64) -> Self {
        let start = u128::from(base);
        Self {
            start,
            end: start + u128::from(size),
        }
    }

    fn common(self, other: Self) -> u128 {
        let (start, end) = (self.start.max(other.start), self.end.min(other.end));
        end.saturating_sub(start)
    }

    fn has_shape(self, alignment: u128) -> bool {
        self.end > self.start
            && self.start.is_multiple_of(alignment)
            && self.end.is_multiple_of(alignment)
            && self.end <= 1 << 48
    }

    /// Local APIC and interrupt messages, and I/O APICs: a megabyte each.
    fn is_off_apics(self) -> bool {
        [0xfee0_0000, 0xfec0_0000]
            .into_iter()
            .all(|base| self.common(Span::of(base, 1 << 20)) == 0)
    }
}

fn disjoint(spans: &[Span]) -> bool {
    let mut sorted = spans.to_vec();
    sorted.sort_by_key(|span| span.start);
    sorted.windows(2).all(|pair| pair[0].end <= pair[1].start)
}

fn unique<T: Ord + Clone>(items: &[T]) -> bool {
    let mut sorted = items.to_vec();
    sorted.sort();
    sorted.windows(2).all(|pair| pair[0] != pair[1])
}

fn names(system: &System) -> bool {
    let printable = |text: &str| !text.chars().any(char::is_control);
    let named = |text: &str| !text.is_empty() && printable(text);
    let cells: Vec<&str> = system.cells.iter().map(|cell| &*cell.name).collect();
    let channels: Vec<&str> = system.channels.iter().map(|c| &*c.name).collect();
    !cells.is_empty()
        && printable(&system.machine.name)
        && unique(&cells)
        && unique(&channels)
        && cells.iter().chain(&channels).all(|name| named(name))
        && system.cells.iter().all(|cell| {
            named(&cell.image)
                && cell.initrd.as_ref().is_none_or(|name| named(name))
                && printable(&cell.cmdline)
        })
        && system.channels.iter().all(|channel| {
            let ends = [channel.client, channel.server];
            ends[0] != ends[1] && ends.iter().all(|&end| usize::from(end) < cells.len())
        })
}

fn cpus(system: &System) -> bool {
    let highest = match system.machine.apic_mode {
        ApicMode::Xapic => 0xfe,
        ApicMode::X2apic => 0xffff_fffe,
    };
    let all = &system.machine.cpus;
    let given: Vec<u32> = system.cells.iter().flat_map(|c| c.cpus.clone()).collect();
    !all.is_empty()
        && unique(all)
        && unique(&given)
        && all.iter().all(|&cpu| cpu <= highest)
        && given.iter().all(|cpu| all.contains(cpu))
        && system.cells.iter().all(|cell| !cell.cpus.is_empty())
}

fn memory(system: &System) -> bool {
    let span = |region: &Region| Span::of(region.base, region.size);
    let machine: Vec<Span> = system.machine.memory.iter().map(span).collect();
    let hypervisor = span(&system.hypervisor.memory);
    let channels: Vec<Span> = system.channels.iter().map(|c| span(&c.memory)).collect();
    let cells: Vec<Span> = system
        .cells
        .iter()
        .flat_map(|cell| cell.memory.iter().map(|m| Span::of(m.base, m.size)))
        .collect();
    let owned = [&cells[..], &channels, &[hypervisor]].concat();
    let in_machine = |owned: &Span| {
        let held: u128 = machine.iter().map(|ram| ram.common(*owned)).sum();
        held == owned.end - owned.start
    };
    !machine.is_empty()
        && machine
            .iter()
            .all(|ram| ram.has_shape(PAGE) && ram.is_off_apics())
        && disjoint(&machine)
        && hypervisor.has_shape(LARGE)
        && channels
            .iter()
            .all(|c| c.has_shape(LARGE) && c.end - c.start <= 1 << 30)
        && cells.iter().all(|cell| cell.has_shape(PAGE))
        && disjoint(&owned)
        && owned.iter().all(in_machine)
}

fn guests(system: &System) -> bool {
    system.cells.iter().enumerate().all(|(index, cell)| {
        let own: Vec<Span> = cell
            .memory
            .iter()
            .map(|m| Span::of(m.guest, m.size))
            .collect();
        let is_end = |c: &&Channel| [c.client, c.server].contains(&(index as u8));
        let channels = system.channels.iter().filter(is_end).map(|c| &c.memory);
        let identity = cell.mmio.iter().chain(channels);
        let seen: Vec<Span> = own
            .iter()
            .copied()
            .chain(identity.map(|region| Span::of(region.base, region.size)))
            .collect();
        let fits_kind = match cell.kind {
            CellKind::Linux => cell.memory.iter().all(|m| m.guest == m.base),
            CellKind::Elf => cell.memory.first().is_some_and(|m| m.size >= 128 << 10),
        };
        !own.is_empty()
            && fits_kind
            && own.iter().all(|span| span.has_shape(PAGE))
            && seen.iter().all(|span| span.is_off_apics())
            && disjoint(&seen)
    })
}

fn devices(system: &System) -> bool {
    let mmio: Vec<Span> = system
        .cells
        .iter()
        .flat_map(|cell| cell.mmio.iter().map(|m| Span::of(m.base, m.size)))
        .collect();
    let is_ram = |span: &Span| {
        let machine = system.machine.memory.iter();
        machine
            .map(|ram| Span::of(ram.base, ram.size))
            .any(|ram| ram.common(*span) != 0)
    };
    let rests = system.cells.iter().filter(|c| c.devices == Devices::Rest);
    mmio.iter()
        .all(|span| span.has_shape(PAGE) && !is_ram(span))
        && disjoint(&mmio)
        && ports(system)
        && system
            .cells
            .iter()
            .filter(|c| c.may_restart)
            .all(|c| (c.kind, c.devices) == (CellKind::Elf, Devices::None))
        && rests.count() <= 1
}

fn doorbells(system: &System) -> bool {
    let filtered = |c: &Channel| c.doorbell == Doorbell::Filtered;
    let share_a_cell = |a: &Channel, b: &Channel| {
        [a.client, a.server]
            .iter()
            .any(|end| [b.client, b.server].contains(end))
    };
    let all = &system.channels;
    all.iter().all(|a| {
        let limits = a.client_vectors != u64::MAX || a.server_vectors != u64::MAX;
        (filtered(a) || !limits)
            && all
                .iter()
                .all(|b| filtered(a) == filtered(b) || !share_a_cell(a, b))
    })
}

fn ports(system: &System) -> bool {
    let uart = |port: Option<u16>| port.map(PortRange::uart);
    let mut owner = vec![None; 0x1_0000];
    let mut claim = |who: usize, range: PortRange| {
        let (base, size) = (usize::from(range.base), usize::from(range.size));
        size != 0
            && owner
                .get_mut(base..base + size)
                .is_some_and(|ports| ports.iter_mut().all(|port| *port.get_or_insert(who) == who))
    };
    let cells = system.cells.iter().enumerate().flat_map(|(index, cell)| {
        let all = uart(cell.console)
            .into_iter()
            .chain(cell.ports.iter().copied());
        all.map(move |range| (index, range))
    });
    let hypervisor = uart(system.hypervisor.console).map(|range| (usize::MAX, range));
    cells
        .chain(hypervisor)
        .all(|(who, range)| claim(who, range))
}
