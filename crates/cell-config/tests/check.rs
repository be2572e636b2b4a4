//! Every rule is broken once: the message must name the rule and the offenders.

mod common;

use cell_config::*;
use common::{demo, identity, list, text};

/// A change that breaks one rule, and the message.
type Case = (&'static str, fn(&mut System));

fn assert_refused(cases: &[Case]) {
    for (message, break_rule) in cases {
        let mut system = demo();
        break_rule(&mut system);
        let error = system.check().expect_err(message);
        assert_eq!(error.to_string(), *message);
    }
}

/// Lets a second ELF cell own CPU 2 and some of the memory that the demonstration leaves unused.
fn add_cell(system: &mut System) -> &mut Cell {
    system.cells[0].cpus = list(&[0]);
    let mut cell = system.cells[1].clone();
    cell.name = text("third");
    cell.cpus = list(&[2]);
    cell.memory = list(&[identity(0x3800_0000, 0x40_0000)]);
    cell.console = None;
    cell.mmio.clear();
    system.cells.push(cell);
    system.cells.last_mut().expect("just pushed")
}

fn add_channel(system: &mut System) -> &mut Channel {
    let mut channel = system.channels[0].clone();
    channel.name = text("second");
    channel.memory = Region::new(0x3700_0000, 0x20_0000);
    system.channels.push(channel);
    system.channels.last_mut().expect("just pushed")
}

#[test]
fn what_breaks_no_rule_is_accepted() {
    let accepted: &[fn(&mut System)] = &[
        |_| {},
        |s| _ = add_cell(s),
        |s| _ = add_channel(s),
        |s| s.channels[0].doorbell = Doorbell::Filtered,
        |s| s.channels[0].client_vectors = ALL_USER_VECTORS,
        |s| {
            s.channels[0].doorbell = Doorbell::Filtered;
            s.channels[0].client_vectors = 1 << 63;
            s.channels[0].server_vectors = 0;
        },
        |s| {
            s.channels[0].doorbell = Doorbell::Filtered;
            add_channel(s).doorbell = Doorbell::Filtered;
        },
        |s| s.channels.clear(),
        |s| s.hypervisor.console = None,
        |s| s.machine.name.clear(),
        |s| s.cells[0].cmdline.clear(),
        |s| s.machine.cpus.push(0xffff_fffe),
        |s| s.cells[1].memory[0].size = 0x2_0000,
        // A cell may name its own ports twice.
        |s| {
            s.cells[0].ports.push(PortRange {
                base: 0x3f8,
                size: 16,
            })
        },
        // Neighbours touch.
        |s| s.cells[1].console = Some(0x3f0),
        |s| s.cells[1].console = Some(0x400),
        |s| s.cells[1].mmio[0] = Region::new(0xfef0_0000, 0x1000),
        // A device may end where all addresses end, and a channel may have 1 GiB.
        |s| s.cells[1].mmio[0] = Region::new(PHYSICAL_END - 0x1000, 0x1000),
        |s| {
            s.machine.memory.push(Region::new(1 << 32, 1 << 30));
            s.channels[0].memory = Region::new(1 << 32, 1 << 30);
        },
        // What a cell sees may lie where a channel of others does.
        |s| add_cell(s).memory[0].guest = 0x3400_0000,
        // The hypervisor's memory may be the last there is.
        |s| s.hypervisor.memory = Region::new(0x3fc0_0000, 0x20_0000),
    ];
    for (index, change) in accepted.iter().enumerate() {
        let mut system = demo();
        change(&mut system);
        assert_eq!(system.check(), Ok(()), "case {index}");
    }
}

#[test]
fn memory_has_one_owner() {
    assert_refused(&[
        (
            "memory[1] of cell 'linux' overlaps memory[0] of cell 'third' at 0x2ff00000-0x2fffffff, 1M",
            |s| add_cell(s).memory[0] = identity(0x2ff0_0000, 0x10_0000),
        ),
        (
            "memory[0] of cell 'nimbos' overlaps memory of the hypervisor at 0x30800000-0x309fffff, 2M",
            |s| s.hypervisor.memory.size = 0xa0_0000,
        ),
        (
            "memory[1] of cell 'linux' overlaps memory of channel 'syscalls' at 0x2fe00000-0x2fffffff, 2M",
            |s| s.channels[0].memory = Region::new(0x2fe0_0000, 0x20_0000),
        ),
        (
            "memory of channel 'syscalls' overlaps memory of channel 'second' at 0x34200000-0x343fffff, 2M",
            |s| add_channel(s).memory.base = 0x3420_0000,
        ),
        (
            "memory of channel 'syscalls' overlaps memory of the hypervisor at 0x30400000-0x307fffff, 4M",
            |s| s.channels[0].memory.base = 0x3040_0000,
        ),
        (
            "memory[0] of cell 'linux' overlaps memory[2] of cell 'linux' at 0x1000-0x1fff, 4K",
            |s| {
                s.cells[0].memory.push(identity(0x1000, 0x1000));
            },
        ),
        (
            "memory[1] of the machine overlaps memory[3] of the machine at 0x100000-0x100fff, 4K",
            |s| s.machine.memory.push(Region::new(0x10_0000, 0x1000)),
        ),
    ]);
}

#[test]
fn memory_is_in_the_machine() {
    assert_refused(&[
        (
            "memory[0] of cell 'linux' (0x0-0x9ffff, 640K) is not wholly in the machine's memory",
            |s| {
                s.cells[0].memory[0].size = 0xa_0000;
            },
        ),
        (
            "memory of channel 'syscalls' (0x3fe00000-0x3fffffff, 2M) is not wholly in the machine's memory",
            |s| s.channels[0].memory = Region::new(0x3fe0_0000, 0x20_0000),
        ),
        (
            "memory of the hypervisor (0x40000000-0x407fffff, 8M) is not wholly in the machine's memory",
            |s| s.hypervisor.memory.base = 0x4000_0000,
        ),
        // A hole between two entries.
        (
            "memory[1] of cell 'linux' (0x100000-0x2fffffff, 767M) is not wholly in the machine's memory",
            |s| s.machine.memory[2] = Region::new(0x2010_1000, 0x1fcf_f000),
        ),
    ]);
}

#[test]
fn a_cell_sees_one_thing_at_an_address() {
    assert_refused(&[
        (
            "memory[0] of cell 'nimbos' overlaps memory of channel 'syscalls' at guest-physical 0x34000000-0x343fffff, 4M",
            |s| s.cells[1].memory[0].guest = 0x3400_0000,
        ),
        (
            "memory[0] of cell 'nimbos' overlaps memory of channel 'syscalls' at guest-physical 0x34000000-0x343fffff, 4M",
            |s| {
                (s.channels[0].client, s.channels[0].server) = (0, 1);
                s.cells[1].memory[0].guest = 0x3400_0000;
            },
        ),
        (
            "memory[3] of the machine (0xfee00000-0xfeefffff, 1M) covers the local APIC at 0xfee00000",
            |s| s.machine.memory.push(LOCAL_APIC),
        ),
        (
            "memory[0] of cell 'nimbos' overlaps memory[1] of cell 'nimbos' at guest-physical 0x42000000-0x42000fff, 4K",
            |s| {
                s.cells[1].memory.push(CellRegion {
                    base: 0x3800_0000,
                    size: 0x1000,
                    guest: 0x4200_0000,
                })
            },
        ),
        (
            "memory[0] of cell 'nimbos' overlaps mmio[0] of cell 'nimbos' at guest-physical 0x1000000000-0x1000001fff, 8K",
            |s| s.cells[1].memory[0].guest = 0x10_0000_0000,
        ),
        (
            "memory[0] of cell 'nimbos' (0xfee00000-0x100dfffff, 32M) covers the local APIC at 0xfee00000",
            |s| s.cells[1].memory[0].guest = 0xfee0_0000,
        ),
        (
            "memory[1] of cell 'linux' (0x100000-0x2fffffff, 767M) has guest 0x0: Linux's memory must keep its base",
            |s| {
                s.cells[0].memory[1].guest = 0;
            },
        ),
    ]);
}

#[test]
fn regions_have_a_shape_that_pages_can_map() {
    assert_refused(&[
        (
            "memory[0] of cell 'linux' (0x0-0x0, 0 bytes) has size 0",
            |s| s.cells[0].memory[0].size = 0,
        ),
        (
            "memory of the hypervisor (0x30000000-0x30000000, 0 bytes) has size 0",
            |s| s.hypervisor.memory.size = 0,
        ),
        (
            "memory of channel 'syscalls' (0x34000000-0x34000000, 0 bytes) has size 0",
            |s| {
                s.channels[0].memory.size = 0;
            },
        ),
        (
            "mmio[0] of cell 'linux' (0xfed00000-0xfed00000, 0 bytes) has size 0",
            |s| s.cells[0].mmio[0].size = 0,
        ),
        (
            "memory[0] of cell 'nimbos' (0x30800800-0x328007ff, 32M): base and size must be multiples of 4K",
            |s| s.cells[1].memory[0].base += 0x800,
        ),
        (
            "memory[0] of cell 'nimbos' (0x42000800-0x440007ff, 32M): base and size must be multiples of 4K",
            |s| {
                s.cells[1].memory[0].guest += 0x800;
            },
        ),
        (
            "memory[1] of the machine (0x100000-0x200ffffe, 536870911 bytes): base and size must be multiples of 4K",
            |s| {
                s.machine.memory[1].size = (512 << 20) - 1;
            },
        ),
        (
            "memory of the hypervisor (0x30000000-0x308fffff, 9M): base and size must be multiples of 2M",
            |s| {
                s.hypervisor.memory.size = 9 << 20;
            },
        ),
        (
            "memory of channel 'syscalls' (0x34100000-0x344fffff, 4M): base and size must be multiples of 2M",
            |s| {
                s.channels[0].memory.base += 1 << 20;
            },
        ),
        (
            "memory of channel 'syscalls' (0x34000000-0x3400ffff, 64K): base and size must be multiples of 2M",
            |s| {
                s.channels[0].memory.size = 64 << 10;
            },
        ),
        (
            "mmio[0] of cell 'linux' (0xfed00000-0xfed003ff, 1K): base and size must be multiples of 4K",
            |s| {
                s.cells[0].mmio[0].size = 0x400;
            },
        ),
    ]);
}

#[test]
fn regions_have_a_sensible_size() {
    assert_refused(&[
        (
            "memory of the hypervisor (0x30000000-0x300fffff, 1M) is smaller than 2M",
            |s| {
                s.hypervisor.memory.size = 1 << 20;
            },
        ),
        (
            "memory of channel 'syscalls' (0x34000000-0x34007fff, 32K) is smaller than 64K",
            |s| {
                s.channels[0].memory.size = 32 << 10;
            },
        ),
        (
            "memory of channel 'syscalls' (0x34000000-0x741fffff, 1026M) is larger than 1G",
            |s| {
                s.channels[0].memory.size = 1026 << 20;
            },
        ),
        (
            "memory[0] of cell 'nimbos' (0x30800000-0x3081efff, 124K) is smaller than 128K",
            |s| {
                s.cells[1].memory[0].size = 124 << 10;
            },
        ),
    ]);
}

#[test]
fn addresses_end_where_paging_ends() {
    const END: &str = "is not below 0x1000000000000, where addresses end";
    let cases: &[Case] = &[
        (
            "memory[0] of cell 'linux' (0xfffffffffffff000-0xffffffffffffffff, 8K)",
            |s| {
                s.cells[0].memory[0] = identity(0xffff_ffff_ffff_f000, 0x2000);
            },
        ),
        (
            "memory[0] of cell 'nimbos' (0xfffffe000000-0x1000000000fff, 32772K)",
            |s| {
                s.cells[1].memory[0].size += 0x1000;
                s.cells[1].memory[0].guest = 0xffff_fe00_0000;
            },
        ),
        (
            "mmio[0] of cell 'linux' (0x1000000000000-0x1000000000fff, 4K)",
            |s| {
                s.cells[0].mmio[0].base = 1 << 48;
            },
        ),
        (
            "memory[2] of the machine (0x20100000-0xffffffffffffffff, 17592186043903M)",
            |s| {
                s.machine.memory[2].size = 17_592_186_043_903 << 20;
            },
        ),
    ];
    for (extent, break_rule) in cases {
        let mut system = demo();
        break_rule(&mut system);
        let error = system.check().expect_err(extent);
        assert_eq!(error.to_string(), format!("{extent} {END}"));
    }
}

#[test]
fn cpus_have_one_owner() {
    assert_refused(&[
        ("CPU 1 is in both cell 'linux' and cell 'nimbos'", |s| {
            s.cells[0].cpus.push(1)
        }),
        ("CPU 9 of cell 'nimbos' is not among the machine's", |s| {
            s.cells[1].cpus.push(9)
        }),
        ("cell 'linux' lists CPU 0 twice", |s| {
            s.cells[0].cpus.push(0)
        }),
        ("the machine lists CPU 2 twice", |s| s.machine.cpus.push(2)),
        ("cell 'nimbos' has no CPU", |s| s.cells[1].cpus.clear()),
        ("the machine has no CPU", |s| s.machine.cpus.clear()),
        ("APIC ID 255 is above 254, the highest in xAPIC mode", |s| {
            s.machine.apic_mode = ApicMode::Xapic;
            s.machine.cpus.push(255);
        }),
        ("APIC ID 0xffffffff means all CPUs in x2APIC mode", |s| {
            s.machine.cpus.push(u32::MAX)
        }),
    ]);
}

#[test]
fn nothing_necessary_is_missing() {
    assert_refused(&[
        ("there is no cell", |s| s.cells.clear()),
        ("cell 'linux' has no memory", |s| s.cells[0].memory.clear()),
        ("the machine has no memory", |s| s.machine.memory.clear()),
        ("name of cell[1] is empty", |s| s.cells[1].name.clear()),
        ("name of channel[0] is empty", |s| {
            s.channels[0].name.clear()
        }),
        ("kernel of cell 'linux' is empty", |s| {
            s.cells[0].image.clear()
        }),
        ("image of cell 'nimbos' is empty", |s| {
            s.cells[1].image.clear()
        }),
        ("initrd of cell 'nimbos' is empty", |s| {
            s.cells[1].initrd = Some(Name::new())
        }),
    ]);
}

#[test]
fn names_are_unique_and_printable() {
    assert_refused(&[
        ("cell[0] and cell[1] are both named 'linux'", |s| {
            s.cells[1].name = text("linux")
        }),
        ("channel[0] and channel[1] are both named 'syscalls'", |s| {
            add_channel(s).name = text("syscalls")
        }),
        ("name of cell 'nim\\nbos' has control characters", |s| {
            s.cells[1].name = text("nim\nbos")
        }),
        ("name of channel 'a\\0' has control characters", |s| {
            s.channels[0].name = text("a\0")
        }),
        ("name of the machine has control characters", |s| {
            s.machine.name = text("\u{1b}[2J")
        }),
        ("cmdline of cell 'linux' has control characters", |s| {
            s.cells[0].cmdline = text("a\tb")
        }),
    ]);
}

#[test]
fn channels_join_two_cells() {
    assert_refused(&[
        (
            "channel 'syscalls' has cell 'linux' as both client and server",
            |s| s.channels[0].client = 0,
        ),
        (
            "client of channel 'syscalls' is cell 2, which there is not",
            |s| s.channels[0].client = 2,
        ),
        (
            "server of channel 'syscalls' is cell 255, which there is not",
            |s| s.channels[0].server = 255,
        ),
    ]);
}

#[test]
fn ports_have_one_owner() {
    assert_refused(&[
        (
            "console of cell 'linux' (0x3f8-0x3ff) overlaps console of cell 'nimbos' (0x3f1-0x3f8)",
            |s| {
                s.cells[1].console = Some(0x3f1);
            },
        ),
        (
            "console of the hypervisor (0x2f8-0x2ff) overlaps console of cell 'nimbos' (0x2ff-0x306)",
            |s| {
                s.cells[1].console = Some(0x2ff);
            },
        ),
        (
            "console of the hypervisor (0x2f8-0x2ff) overlaps ports[0] of cell 'nimbos' (0x2f0-0x2f8)",
            |s| {
                s.cells[1].ports.push(PortRange {
                    base: 0x2f0,
                    size: 9,
                });
            },
        ),
        (
            "ports[0] of cell 'linux' (0xfff8-0xffff) overlaps ports[0] of cell 'nimbos' (0xffff-0xffff)",
            |s| {
                s.cells[1].ports.push(PortRange {
                    base: 0xffff,
                    size: 1,
                });
            },
        ),
        (
            "ports[0] of cell 'linux' (0xfff8-0x10000) goes on behind port 0xffff",
            |s| s.cells[0].ports[0].size = 9,
        ),
        (
            "console of cell 'nimbos' (0xfff9-0x10000) goes on behind port 0xffff",
            |s| {
                s.cells[0].ports.clear();
                s.cells[1].console = Some(0xfff9);
            },
        ),
        (
            "console of the hypervisor (0xffff-0x10006) goes on behind port 0xffff",
            |s| {
                s.hypervisor.console = Some(0xffff);
            },
        ),
        (
            "ports[0] of cell 'linux' (0xfff8-0xfff8) has no ports",
            |s| s.cells[0].ports[0].size = 0,
        ),
    ]);
}

#[test]
fn device_memory_has_one_owner() {
    assert_refused(&[
        (
            "mmio[0] of cell 'linux' covers RAM, memory[2] of the machine, at 0x3fd00000-0x3fdfffff, 1M",
            |s| {
                s.cells[0].mmio[0] = Region::new(0x3fd0_0000, 0x20_0000);
            },
        ),
        (
            "mmio[0] of cell 'linux' overlaps mmio[0] of cell 'nimbos' at 0xfed00000-0xfed00fff, 4K",
            |s| {
                s.cells[1].mmio[0] = Region::new(0xfed0_0000, 0x2000);
            },
        ),
        (
            "mmio[0] of cell 'nimbos' (0xfede0000-0xfee0ffff, 192K) covers the local APIC at 0xfee00000",
            |s| {
                s.cells[1].mmio[0] = Region::new(0xfede_0000, 0x3_0000);
            },
        ),
        (
            "mmio[0] of cell 'nimbos' (0xfeeff000-0xfeefffff, 4K) covers the local APIC at 0xfee00000",
            |s| {
                s.cells[1].mmio[0] = Region::new(0xfeef_f000, 0x1000);
            },
        ),
        (
            "mmio[0] of cell 'nimbos' (0xfec00000-0xfec00fff, 4K) covers the I/O APICs at 0xfec00000",
            |s| {
                s.cells[1].mmio[0] = Region::new(0xfec0_0000, 0x1000);
            },
        ),
        (
            "mmio[0] of cell 'linux' (0xfecff000-0xfed00fff, 8K) covers the I/O APICs at 0xfec00000",
            |s| {
                s.cells[0].mmio[0] = Region::new(0xfecf_f000, 0x2000);
            },
        ),
        (
            "both cell 'linux' and cell 'nimbos' have devices = \"rest\"",
            |s| s.cells[1].devices = Devices::Rest,
        ),
        (
            "cell 'linux' has may_restart, but only a cell of kind elf without the rest of the devices can be started anew",
            |s| s.cells[0].may_restart = true,
        ),
        (
            "cell 'nimbos' has may_restart, but only a cell of kind elf without the rest of the devices can be started anew",
            |s| {
                s.cells[0].devices = Devices::None;
                s.cells[1].devices = Devices::Rest;
            },
        ),
    ]);
}

#[test]
fn doorbells_are_one_policy_for_a_cell() {
    assert_refused(&[
        (
            "cell 'linux' has channel 'syscalls' and channel 'second' with different doorbells: one direct channel opens all",
            |s| add_channel(s).doorbell = Doorbell::Filtered,
        ),
        (
            "client_vectors of channel 'syscalls' limits vectors, which needs doorbell = \"filtered\"",
            |s| s.channels[0].client_vectors = 1,
        ),
        (
            "server_vectors of channel 'syscalls' limits vectors, which needs doorbell = \"filtered\"",
            |s| s.channels[0].server_vectors = !1,
        ),
    ]);
}

#[test]
fn a_cell_is_as_direct_as_its_channels() {
    let mut system = demo();
    assert_eq!(system.doorbell_of(0), Doorbell::Direct);
    system.channels[0].doorbell = Doorbell::Filtered;
    assert_eq!(system.doorbell_of(1), Doorbell::Filtered);
    system.channels.clear();
    assert_eq!(system.doorbell_of(0), Doorbell::Filtered);
}
