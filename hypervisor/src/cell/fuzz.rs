// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random cells: what of the machine a cell's addresses lead to, and what it is told.

use cell_config::{
    ALL_USER_VECTORS, ApicMode, CellKind, CellRegion, Channel, Devices, Doorbell, EndAction,
    ForeignPorts, Hypervisor, LogLevel, Machine, Name, PortRange,
};
use hv_abi::BootInfo;
use proptest::prelude::*;
use proptest::sample::Index;
use zerocopy::{FromBytes, IntoBytes};

use super::*;

/// Ports that are given away in pieces of at most this many.
const PORT_SLOT: u16 = 16;
/// Where the cells' memory begins.
const FIRST_BASE: u64 = 0x10_0000_0000;

/// What a random system is made of: for each cell its regions in pages, with a gap before each in guest-physical
/// memory; who owns which piece of ports, and where in it.
#[derive(Clone, Debug)]
pub(super) struct Seed {
    cells: Vec<Vec<(u64, u64)>>,
    ports: Vec<(u16, u8, u16, u16)>,
    rest: Option<u8>,
    cmdline: String,
    channel_count: usize,
}

fn seed() -> impl Strategy<Value = Seed> {
    let cell = prop::collection::vec((32u64..64, 0u64..4), 1..6);
    // Around the ports that end a machine, at both ends of the space, and anywhere.
    let slot = prop_oneof![
        4 => prop::sample::select(vec![0u16, 4, 6, 9, 0x2f, 0xcf, 0x890, 0xb00, 0xfff]),
        2 => 0u16..0x1000,
    ];
    let port = (slot, 0u8..5, 0u16..16, 1u16..=16);
    (
        prop::collection::vec(cell, 1..5),
        prop::collection::vec(port, 0..10),
        prop::option::of(0u8..4),
        "[ -~]{0,1023}",
        0usize..8,
    )
        .prop_map(|(cells, ports, rest, cmdline, channel_count)| Seed {
            cells,
            ports,
            rest,
            cmdline,
            channel_count,
        })
}

/// Returns systems that keep all rules.
pub(super) fn system() -> impl Strategy<Value = System> {
    seed().prop_map(|seed| {
        let system = seed.system();
        assert_eq!(system.check(), Ok(()));
        system
    })
}

impl Seed {
    fn system(&self) -> System {
        let mut next = FIRST_BASE;
        let mut cells: ArrayVec<_, MAX_CELLS> = self
            .cells
            .iter()
            .enumerate()
            .map(|(id, regions)| self.cell(id, regions, &mut next))
            .collect();
        let mut hypervisor_console = None;
        let mut given = vec![];
        for &(slot, owner, offset, size) in &self.ports {
            if given.contains(&slot) {
                continue;
            }
            given.push(slot);
            let base = slot * PORT_SLOT + offset;
            let range = PortRange {
                base,
                size: size.min(PORT_SLOT - offset),
            };
            match cells.get_mut(usize::from(owner)) {
                Some(cell) => _ = cell.ports.try_push(range),
                None => hypervisor_console = Some(slot * PORT_SLOT),
            }
        }
        if let Some(cell) = self.rest.and_then(|id| cells.get_mut(usize::from(id))) {
            cell.devices = Devices::Rest;
        }
        let end = next.next_multiple_of(2 << 20);
        let channels = self.channels(cells.len(), end);
        System {
            machine: Machine {
                name: Name::new(),
                cpus: (0..cells.len() as u32 * 2).collect(),
                memory: [
                    Region::new(0x3000_0000, 8 << 20),
                    Region::new(FIRST_BASE, end + (64 << 20) - FIRST_BASE),
                ]
                .into_iter()
                .collect(),
                apic_mode: ApicMode::X2apic,
                when_all_cells_end: EndAction::Halt,
            },
            hypervisor: Hypervisor {
                memory: Region::new(0x3000_0000, 8 << 20),
                console: hypervisor_console,
                log_level: LogLevel::Info,
            },
            cells,
            channels,
        }
    }

    fn cell(&self, id: usize, regions: &[(u64, u64)], next: &mut u64) -> cell_config::Cell {
        // Cells see their memory at the same addresses, some regions side by side.
        let mut guest = 0x4200_0000;
        let memory = regions.iter().map(|&(pages, gap)| {
            let size = pages * 4096;
            let base = *next;
            *next += size;
            guest += gap * 4096;
            let region = CellRegion { base, size, guest };
            guest += size;
            region
        });
        cell_config::Cell {
            name: Name::from(&format!("cell {id}")).expect("short"),
            kind: CellKind::Elf,
            cpus: [id as u32 * 2, id as u32 * 2 + 1].into_iter().collect(),
            memory: memory.collect(),
            console: None,
            ports: ArrayVec::new(),
            mmio: ArrayVec::new(),
            devices: Devices::None,
            foreign_ports: ForeignPorts::Stop,
            may_end_machine: false,
            may_restart: false,
            image: Name::from("image").expect("short"),
            initrd: None,
            cmdline: self
                .cmdline
                .as_str()
                .try_into()
                .expect("at most 1023 bytes"),
        }
    }

    fn channels(
        &self,
        cells: usize,
        base: u64,
    ) -> ArrayVec<Channel, { cell_config::MAX_CHANNELS }> {
        let count = if cells < 2 { 0 } else { self.channel_count };
        (0..count)
            .map(|i| Channel {
                name: Name::from(&format!("channel {i}")).expect("short"),
                client: (i % cells) as u8,
                server: ((i + 1) % cells) as u8,
                memory: Region::new(base + i as u64 * (2 << 20), 2 << 20),
                doorbell: Doorbell::Direct,
                client_vectors: ALL_USER_VECTORS,
                server_vectors: ALL_USER_VECTORS,
            })
            .collect()
    }
}

/// Returns a system of one cell that owns the ports `base` to `base` + `size` - 1 of one piece, and of a second one
/// with the rest.
pub(super) fn owner_of_ports(base: u16, size: u16) -> System {
    let piece = (base / PORT_SLOT, 0, base % PORT_SLOT, size);
    let seed = Seed {
        cells: vec![vec![(32, 0)]; 2],
        ports: vec![piece],
        rest: Some(1),
        cmdline: String::new(),
        channel_count: 0,
    };
    seed.system()
}

fn near(cell: &cell_config::Cell, which: &Index, at_end: bool, by: i64) -> u64 {
    let region = which.get(&cell.memory);
    let edge = if at_end {
        region.guest + region.size
    } else {
        region.guest
    };
    edge.wrapping_add_signed(by)
}

proptest! {
    #[test]
    fn an_address_of_a_cell_leads_into_its_own_memory(
        system in system(), cell: Index, which: Index, at_end: bool, by in prop_oneof![-20i64..20, any::<i64>()],
        len in prop_oneof![0u64..40, 0u64..0x10_0000, any::<u64>()],
    ) {
        let config = cell.get(&system.cells);
        let gpa = near(config, &which, at_end, by);
        let inside = |start: u64| {
            let all = u128::from(start)..u128::from(start) + u128::from(len);
            move |region: &&CellRegion, base: u64| {
                u128::from(base) <= all.start && all.end <= u128::from(base) + u128::from(region.size)
            }
        };
        let region = config.memory.iter().find(|region| inside(gpa)(region, region.guest));
        match own_memory(config, GuestPhys(gpa), len) {
            Ok(HostPhys(hpa)) => {
                let region = region.ok_or_else(|| TestCaseError::fail("more than one region"))?;
                prop_assert_eq!(hpa - region.base, gpa - region.guest);
                prop_assert!(inside(hpa)(&region, region.base));
            }
            Err(NotOwnMemory) => prop_assert!(region.is_none()),
        }
    }

    #[test]
    fn boot_information_says_what_the_configuration_does(
        system in system(), cell: Index, tsc_khz: u32,
        initrd in prop::option::of((any::<u64>(), any::<u64>())),
    ) {
        let id = cell.index(system.cells.len());
        let config = system.cells[id].clone();
        let channels = system.channels.clone();
        let initrd = initrd.map(|(base, size)| hv_abi::MemoryRange { base, size });
        // Lives as long as the test program, as a configuration does in the hypervisor.
        let system: &'static System = Box::leak(Box::new(system));
        let page = boot_info(system, id, tsc_khz, initrd);
        let info = BootInfo::ref_from_bytes(page.as_bytes()).expect("a whole page");
        prop_assert!(info.is_valid());
        prop_assert_eq!(hv_abi::text(&info.name), Some(&*config.name));
        prop_assert_eq!(hv_abi::text(&info.cmdline), Some(&*config.cmdline));
        prop_assert_eq!(info.cpus(), &config.cpus[..]);
        prop_assert_eq!(info.initrd, initrd.unwrap_or_default());
        let memory: Vec<_> = config.memory.iter().map(|m| (m.guest, m.size)).collect();
        prop_assert_eq!(info.memory().iter().map(|m| (m.base, m.size)).collect::<Vec<_>>(), memory);
        let own = channels.iter().filter(|c| [c.client, c.server].contains(&(id as u8)));
        let own: Vec<_> = own.map(|c| (c.memory.base, c.memory.size, usize::from(c.client) != id)).collect();
        let told: Vec<_> = info.channels().iter().map(|c| (c.base, c.size, c.role != 0)).collect();
        prop_assert_eq!(told, own);
        prop_assert!(info.padding.iter().all(|&byte| byte == 0));
    }
}
