//! Random systems that keep all rules.

use arrayvec::ArrayVec;
use cell_config::*;
use proptest::prelude::*;

/// The sizes and choices that a random cell is made of.
type CellSeed = (bool, u64, Vec<u8>, u16, u32, (Option<String>, String, bool));

/// Returns systems that keep all rules.
pub fn system() -> impl Strategy<Value = System> {
    let cells = prop::collection::vec(cell_seed(), 1..=MAX_CELLS);
    let channels =
        prop::collection::vec((0..8u8, 0..8u8, 1..5u64, any::<bool>()), 0..=MAX_CHANNELS);
    (
        any::<(bool, bool, u8, bool)>(),
        "[ -~]{0,31}",
        cells,
        channels,
    )
        .prop_map(|(choices, name, cells, channels)| {
            let mut builder = Builder::new(choices, &name);
            cells.into_iter().for_each(|seed| builder.cell(seed));
            channels.into_iter().for_each(|seed| builder.channel(seed));
            builder.finish()
        })
}

fn cell_seed() -> impl Strategy<Value = CellSeed> {
    (
        any::<bool>(),
        1..8u64,
        prop::collection::vec(1..200u8, 1..=MAX_REGIONS),
        1..4u16,
        0..16u32,
        (
            prop::option::of("[a-z0-9._-]{1,31}"),
            "[ -~]{0,1023}",
            any::<bool>(),
        ),
    )
}

fn choice<T: Copy>(all: &[T], number: u8) -> T {
    all[usize::from(number) % all.len()]
}

/// Gives away CPUs, memory, ports and device memory one after the other.
struct Builder {
    system: System,
    next_cpu: u32,
    next_base: u64,
    next_port: u16,
}

impl Builder {
    fn new((is_xapic, halts, log_level, has_console): (bool, bool, u8, bool), name: &str) -> Self {
        let machine = Machine {
            name: Name::from(name).expect("at most 31 bytes"),
            cpus: ArrayVec::new(),
            memory: ArrayVec::new(),
            apic_mode: choice(ApicMode::ALL, is_xapic.into()),
            when_all_cells_end: choice(EndAction::ALL, halts.into()),
        };
        let hypervisor = Hypervisor {
            memory: Region::new(0x20_0000, 0x40_0000),
            console: has_console.then_some(0),
            log_level: choice(LogLevel::ALL, log_level),
        };
        let system = System {
            machine,
            hypervisor,
            cells: ArrayVec::new(),
            channels: ArrayVec::new(),
        };
        Self {
            system,
            next_cpu: 0,
            next_base: 1 << 32,
            next_port: 8,
        }
    }

    fn cell(&mut self, (is_elf, cpus, regions, ports, gap, (initrd, cmdline, flag)): CellSeed) {
        let index = self.system.cells.len();
        let cpus = (0..cpus as u32)
            .map(|cpu| self.next_cpu + cpu * (gap + 1))
            .collect::<ArrayVec<_, MAX_CPUS>>();
        self.next_cpu = cpus.last().expect("at least one") + 1 + gap;
        let kind = choice(CellKind::ALL, is_elf.into());
        let memory = regions
            .iter()
            .map(|&pages| self.memory(kind, pages))
            .collect();
        let base = self.next_port;
        self.next_port += 8 + ports;
        self.system.machine.cpus.extend(cpus.iter().copied());
        self.system.cells.push(Cell {
            name: Name::from(&format!("cell {index}")).expect("short"),
            kind,
            cpus,
            memory,
            console: flag.then_some(base),
            ports: [PortRange {
                base: base + 8,
                size: ports,
            }]
            .into_iter()
            .collect(),
            mmio: [Region::new(
                (index as u64) << 24 | 0x8000_0000,
                u64::from(ports) << 12,
            )]
            .into_iter()
            .collect(),
            devices: if index == 3 {
                Devices::Rest
            } else {
                Devices::None
            },
            foreign_ports: choice(ForeignPorts::ALL, flag.into()),
            may_end_machine: flag,
            may_restart: flag && kind == CellKind::Elf && index != 3,
            image: Name::from("image").expect("short"),
            initrd: initrd.map(|name| Name::from(&name).expect("at most 31 bytes")),
            cmdline: CommandLine::from(&cmdline).expect("at most 1023 bytes"),
        });
    }

    fn memory(&mut self, kind: CellKind, pages: u8) -> CellRegion {
        let size = (u64::from(pages) + 31) * PAGE_SIZE;
        let base = self.next_base;
        self.next_base += size;
        // Higher than all that is mapped identically.
        let offset = if kind == CellKind::Elf { 1 << 40 } else { 0 };
        CellRegion {
            base,
            size,
            guest: base + offset,
        }
    }

    fn channel(&mut self, (client, server, large_pages, is_filtered): (u8, u8, u64, bool)) {
        let cells = self.system.cells.len() as u8;
        let (client, server) = (client % cells, server % cells);
        if client == server {
            return;
        }
        let base = self.next_base.next_multiple_of(LARGE_PAGE);
        self.next_base = base + large_pages * LARGE_PAGE;
        let index = self.system.channels.len();
        // One for all: cells must not mix them.
        let first = self.system.channels.first().map(|channel| channel.doorbell);
        let doorbell = first.unwrap_or(choice(Doorbell::ALL, is_filtered.into()));
        let client_vectors = match doorbell {
            Doorbell::Direct => ALL_USER_VECTORS,
            Doorbell::Filtered => base | 1,
        };
        self.system.channels.push(Channel {
            name: Name::from(&format!("channel {index}")).expect("short"),
            client,
            server,
            memory: Region::new(base, large_pages * LARGE_PAGE),
            doorbell,
            client_vectors,
            server_vectors: client_vectors.rotate_left(1),
        });
    }

    fn finish(mut self) -> System {
        let ram = self.next_base - (1 << 32);
        self.system.machine.memory.extend([
            Region::new(0x10_0000, 0x100_0000),
            Region::new(1 << 32, ram),
        ]);
        // xAPIC mode knows fewer CPUs than the seeds may ask for.
        if self.next_cpu > 255 {
            self.system.machine.apic_mode = ApicMode::X2apic;
        }
        self.system
    }
}
