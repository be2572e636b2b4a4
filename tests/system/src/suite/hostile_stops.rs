// SPDX-License-Identifier: MIT OR Apache-2.0
//! What stops a hostile cell, several cells at a time: each is stopped with the line that names the cause, and the
//! neighbour, cell b, notices nothing.

use anyhow::{Result, ensure};
use lab::run::Line;

use super::guests::undisturbed;
use crate::cells::{CELL_SIZE, Cells, GUEST_BASE, Mode, Slot};
use crate::scenario::{HYPERVISOR, Trial};

/// Signs of life after the last attacker was stopped.
const BEATS: u32 = 3;
/// Most attackers of one machine, beside the neighbour: the emulator gets slow with more CPUs.
const ATTACKERS: usize = 4;
const TASK_PRIORITY: u64 = 0xfee0_0080;
const HYPERVISOR_MEMORY: u64 = 0x3000_0000;

/// What a cell does and why it is stopped: behind "stopped: ", or its beginning.
struct Attack {
    what: String,
    cause: String,
    more: &'static str,
}

fn attack(what: impl Into<String>, cause: impl Into<String>) -> Attack {
    Attack {
        what: what.into(),
        cause: cause.into(),
        more: "",
    }
}

/// Carries out the attacks, as many at a time as fit.
fn all_are_stopped(trial: &Trial, mode: Mode, attacks: &[Attack]) -> Result<()> {
    for some in attacks.chunks(ATTACKERS) {
        are_stopped(trial, mode, some)?;
    }
    Ok(())
}

fn are_stopped(trial: &Trial, mode: Mode, attacks: &[Attack]) -> Result<()> {
    let cpus = u32::try_from(attacks.len())? + 1;
    let mut cells = Cells::new(mode, cpus).test(Slot::B, &[0], "test=answer");
    for (number, attack) in (1..).zip(attacks) {
        cells = cells.attacker(
            number,
            &format!("test=stop do={}", attack.what),
            attack.more,
        );
    }
    let mut ended = 0;
    let mut ended_at = 0.0;
    let mut beats = 0;
    // The hypervisor's console is looked at first: what the neighbour says at a later look, it said later.
    let mut is_done = |line: &Line| {
        let is_end = ["stopped: ", "test: result="]
            .iter()
            .any(|end| line.text.contains(end));
        if line.label == HYPERVISOR && is_end {
            ended += 1;
            ended_at = line.seconds;
        }
        let is_beat = line.label == "b" && line.text.contains("alive=");
        beats += u32::from(is_beat && ended == attacks.len() && line.seconds > ended_at);
        beats >= BEATS
    };
    let seen = trial
        .scenario(cells.toml())?
        .cpus(cpus)
        .may_stop_cells()
        .boot(Some(&mut is_done))?;
    seen.refute(HYPERVISOR, "test: result=")?;
    for (number, attack) in (1..).zip(attacks) {
        let line = seen.find(HYPERVISOR, &format!("cell 'x{number}' stopped: "))?;
        ensure!(
            line.contains(&format!("stopped: {}", attack.cause)),
            "'{}' was stopped otherwise: {line}",
            attack.what
        );
    }
    seen.refute(HYPERVISOR, "cell 'b' stopped")?;
    undisturbed(seen.console("b"))
}

/// Writes of MSRs that reach beyond the cell: the first, the last and the odd ones of each range.
pub fn msrs(trial: &Trial) -> Result<()> {
    const MSRS: [u32; 21] = [
        0x3a, 0x79, 0x9b, 0x9e, 0x1f2, 0x1f3, 0x480, 0x48b, 0x493, 0x600, 0x606, 0x610, 0x638,
        0x69f, 0x6a1, 0x6a3, 0x6a9, 0x6ff, 0xc81, 0xc90, 0xd90,
    ];
    let attacks = MSRS.map(|msr| {
        attack(
            format!("wrmsr msr={msr:#x} value=0x30000000"),
            format!("WRMSR of 0x30000000 to MSR {msr:#x}, which is not the cell's"),
        )
    });
    all_are_stopped(trial, Mode::X2apic, &attacks)
}

/// IA32_APIC_BASE: moved, disabled, out of x2APIC mode.
pub fn apic_base(trial: &Trial) -> Result<()> {
    let attacks = [0x42200d00_u64, 0xfee0_0000, 0xfee0_0800, 0xfee0_0900].map(|value| {
        attack(
            format!("wrmsr msr=0x1b value={value:#x}"),
            format!("WRMSR of {value:#x} to MSR 0x1b"),
        )
    });
    are_stopped(trial, Mode::X2apic, &attacks)
}

/// Ports: power, reset, SMI, PCI, others' consoles; in all widths; strings also where foreign ports are absent.
pub fn ports(trial: &Trial) -> Result<()> {
    let mut attacks = Vec::new();
    for (port, width, value) in [
        (0xb2_u16, 1, 0x01_u32),
        (0x64, 1, 0xfe),
        (0x92, 1, 0x01),
        (0xcf9, 1, 0x06),
        (0xcf8, 4, 0x8000_f8f0),
        (0xcfc, 4, 0x1),
        (0xb004, 2, 0x2000),
        (0x8900, 1, 0x53),
        (0x2f8, 1, 0x21),
        (0x2f7, 2, 0x2121),
        (0x3e8, 1, 0x21),
        (0xffff, 1, 0),
        (0xffff, 4, 0),
    ] {
        attacks.push(attack(
            format!("out port={port:#x} width={width} value={value:#x}"),
            format!("{width}-byte write of {value:#x} to port {port:#x}, which is not the cell's"),
        ));
    }
    for (port, width) in [(0x60_u16, 1), (0xcfc, 4), (0x2fd, 1), (0xffff, 2)] {
        attacks.push(attack(
            format!("in port={port:#x} width={width}"),
            format!("{width}-byte read of port {port:#x}, which is not the cell's"),
        ));
    }
    for (form, cause) in [
        ("outsb", "1-byte write of "),
        ("rep-outsd", "4-byte write of "),
        ("insb", "1-byte read of port 0xb2"),
        ("rep-insw", "2-byte read of port 0xb2"),
    ] {
        attacks.push(Attack {
            more: "foreign_ports = \"absent\"",
            ..attack(format!("string form={form} port=0xb2"), cause)
        });
    }
    all_are_stopped(trial, Mode::X2apic, &attacks)
}

/// Memory just outside of what the cell has, and what is not for every use.
pub fn memory(trial: &Trial) -> Result<()> {
    let end = GUEST_BASE + CELL_SIZE;
    let mut attacks = Vec::new();
    for (how, access, address) in [
        ("read", "read", GUEST_BASE - 1),
        ("write", "write", GUEST_BASE - 0x1000),
        ("read", "read", end),
        ("write", "write", end + 0xfff),
        ("execute", "instruction fetch", end),
        ("read", "read", 0),
        ("write", "write", 0x9_f000),
        ("read", "read", 0xa_0000),
        ("read", "read", 0xf_fff0),
        ("write", "write", HYPERVISOR_MEMORY),
        ("execute", "instruction fetch", HYPERVISOR_MEMORY),
        ("write", "write", HYPERVISOR_MEMORY + (8 << 20) - 1),
        ("read", "read", Slot::B.memory()),
        ("read", "read", 0xfec0_0000),
        ("write", "write", 0xfed0_0000),
        ("read", "read", 0xfee0_0020),
        ("write", "write", 0xfee0_0300),
        ("write", "write", 0xfee1_0000),
        ("read", "read", 0xffff_fff0),
        ("read", "read", 1 << 32),
        ("write", "write", (1 << 39) - 0x1000),
    ] {
        attacks.push(attack(
            format!("{how} address={address:#x}"),
            format!("{access} of guest-physical address {address:#x}, which is not the cell's"),
        ));
    }
    all_are_stopped(trial, Mode::X2apic, &attacks)
}

/// Interrupt commands to others and of kinds that no cell may send, by MSR.
pub fn commands_x2apic(trial: &Trial) -> Result<()> {
    commands(trial, Mode::X2apic, 0x0000_0001, 0x0001_0001)
}

/// The same by stores.
pub fn commands_xapic(trial: &Trial) -> Result<()> {
    commands(trial, Mode::Xapic, 0x01, 0x02)
}

/// Attackers do not have logical IDs in xAPIC mode; in x2APIC mode they are 2H, 4H, ... of cluster 0.
fn commands(trial: &Trial, mode: Mode, logical: u32, other_logical: u32) -> Result<()> {
    let mut attacks = Vec::new();
    for kind in [0x4031, 0x4131, 0x4400, 0x4500, 0x4609, 0x8500 | 0x4000] {
        attacks.push(attack(
            format!("command apic=0 value={kind:#x}"),
            "interrupt to physical destination 0x0, which is no CPU of the cell",
        ));
    }
    for destination in [logical, other_logical] {
        attacks.push(attack(
            format!("command apic={destination:#x} value=0x4831"),
            format!(
                "interrupt to logical destination {destination:#x}, which is no CPU of the cell"
            ),
        ));
    }
    // SMI, reserved, ExtINT: to itself, to all, to others, by shorthand.
    for (mode, destination) in [(2, 0), (3, 0), (7, 0), (2, 0xff), (7, 0xff)] {
        attacks.push(attack(
            format!(
                "command apic={destination:#x} value={:#x}",
                0x4000 | mode << 8
            ),
            format!("interrupt with delivery mode {mode}, which no cell may send"),
        ));
    }
    for shorthand in [1, 2, 3] {
        attacks.push(attack(
            format!("command apic=0 value={:#x}", shorthand << 18 | 0x4200),
            "interrupt with delivery mode 2, which no cell may send",
        ));
    }
    all_are_stopped(trial, mode, &attacks)
}

/// Writes to the xAPIC's page that are no plain 32-bit moves.
pub fn apic_page(trial: &Trial) -> Result<()> {
    let bits = |bits: u32| {
        format!("xAPIC access at offset 0x80: APIC access of {bits} bits instead of 32")
    };
    let other =
        "xAPIC access at offset 0x80: APIC access by an instruction that is no plain 32-bit move";
    let form = |name: &str, cause: &str| {
        attack(
            format!("form form={name} address={TASK_PRIORITY:#x}"),
            cause,
        )
    };
    let mut attacks = Vec::new();
    for (name, width) in [
        ("mov-8", 8),
        ("mov-16", 16),
        ("mov-64", 64),
        ("mov-imm-8", 8),
        ("mov-imm-16", 16),
        ("mov-imm-64", 64),
        ("xchg-8", 8),
        ("xchg-64", 64),
    ] {
        attacks.push(form(name, &bits(width)));
    }
    attacks.extend(
        [
            "mov-segment",
            "movbe",
            "movnti",
            "movs",
            "rep-movs",
            "stos",
            "rep-stos",
            "or",
            "and",
            "add",
            "inc",
            "not",
            "lock-add",
            "lock-xadd",
            "lock-cmpxchg",
            "bts",
            "shl",
            "setc",
            "push",
            "pop",
            "call",
            "enter",
            "pushf",
            "movd",
            "movups",
            "movntdq",
            "maskmovdqu",
            "stmxcsr",
            "fst",
            "sidt",
            "smsw",
            "sldt",
        ]
        .map(|name| form(name, other)),
    );
    let fxsave =
        "xAPIC access at offset 0x0: APIC access by an instruction that is no plain 32-bit move";
    attacks.push(form("fxsave", fxsave));
    attacks.push(form(
        "next-page",
        "write of guest-physical address 0xfee01000",
    ));
    attacks.push(form(
        "event",
        "xAPIC access at offset 0x88 by an instruction that cannot be read",
    ));
    attacks.push(attack(
        format!("execute address={TASK_PRIORITY:#x}"),
        "instruction fetch of guest-physical address 0xfee00080",
    ));
    all_are_stopped(trial, Mode::Xapic, &attacks)
}
