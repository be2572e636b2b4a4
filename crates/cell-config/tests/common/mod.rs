//! The system that the tests start from: the emulator's demonstration, with one of everything.
#![allow(dead_code, reason = "each test file uses a part")]

use arrayvec::{ArrayString, ArrayVec};
use cell_config::*;

const M: u64 = 1 << 20;

/// Returns a short text as a name or command line.
pub fn text<const N: usize>(text: &str) -> ArrayString<N> {
    ArrayString::from(text).expect("short enough")
}

/// Returns a list of a few items.
pub fn list<T: Copy, const N: usize>(items: &[T]) -> ArrayVec<T, N> {
    items.iter().copied().collect()
}

/// Returns memory that the cell sees at its real address.
pub fn identity(base: u64, size: u64) -> CellRegion {
    CellRegion {
        base,
        size,
        guest: base,
    }
}

/// Returns a system that keeps all rules.
pub fn demo() -> System {
    System {
        machine: Machine {
            name: text("Bochs"),
            cpus: list(&[0, 1, 2]),
            memory: list(&[
                Region::new(0, 0x9_f000),
                Region::new(M, 512 * M),
                Region::new(513 * M, 509 * M),
            ]),
            apic_mode: ApicMode::X2apic,
            when_all_cells_end: EndAction::EmulatorExit,
        },
        hypervisor: Hypervisor {
            memory: Region::new(0x3000_0000, 8 * M),
            console: Some(0x2f8),
            log_level: LogLevel::Debug,
        },
        cells: [linux(), nimbos()].into_iter().collect(),
        channels: [Channel {
            name: text("syscalls"),
            client: 1,
            server: 0,
            memory: Region::new(0x3400_0000, 4 * M),
            doorbell: Doorbell::Direct,
            client_vectors: ALL_USER_VECTORS,
            server_vectors: ALL_USER_VECTORS,
        }]
        .into_iter()
        .collect(),
    }
}

fn linux() -> Cell {
    Cell {
        name: text("linux"),
        kind: CellKind::Linux,
        cpus: list(&[0, 2]),
        // The second region spans two of the machine's.
        memory: list(&[identity(0, 0x9_f000), identity(M, 767 * M)]),
        console: Some(0x3f8),
        ports: list(&[PortRange {
            base: 0xfff8,
            size: 8,
        }]),
        mmio: list(&[Region::new(0xfed0_0000, 0x1000)]),
        devices: Devices::Rest,
        foreign_ports: ForeignPorts::Absent,
        may_end_machine: true,
        may_restart: false,
        image: text("linux"),
        initrd: None,
        cmdline: text("console=ttyS0"),
    }
}

fn nimbos() -> Cell {
    Cell {
        name: text("nimbos"),
        kind: CellKind::Elf,
        cpus: list(&[1]),
        memory: list(&[CellRegion {
            base: 0x3080_0000,
            size: 32 * M,
            guest: 0x4200_0000,
        }]),
        console: Some(0x3e8),
        ports: ArrayVec::new(),
        mmio: list(&[Region::new(0x10_0000_0000, 0x2000)]),
        devices: Devices::None,
        foreign_ports: ForeignPorts::Stop,
        may_end_machine: false,
        may_restart: true,
        image: text("nimbos"),
        initrd: Some(text("nimbos-apps")),
        cmdline: text("init=demo"),
    }
}
