// SPDX-License-Identifier: MIT OR Apache-2.0
//! Backtraces: a function fails whose callers are known, and their names are printed in their order.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use lab::build::KERNEL_IN_ARCHIVE;
use lab::image::Initramfs;

use crate::cells::{Cells, GUEST_BASE, Mode, Slot};
use crate::patch::{INVALID_OPCODE, Program};
use crate::scenario::{HYPERVISOR, Seen, Trial, Wanted};

/// Runs when a cell executes CPUID.
const EMULATE: &str = "isthmus_hypervisor::exit::cpuid::emulate";
const FIND: &str = "backtrace::symbols::Symbols::find";
/// What the hypervisor prints before each line, and last of all.
const PREFIX: &str = "isthmus: error: ";
const LAST_LINE: &str = "isthmus: error: halted";

/// Who calls [`EMULATE`], on the boot CPU.
const CALLERS: [&str; 6] = [
    EMULATE,
    "isthmus_hypervisor::exit::dispatch",
    "isthmus_hypervisor::cpu::run::run",
    "isthmus_hypervisor::boot::start",
    "isthmus_main",
    "boot_entry64",
];

/// A line of a backtrace: its name without the offset, empty where there is none.
fn names<'a>(lines: impl Iterator<Item = &'a str>) -> Result<Vec<&'a str>> {
    let mut names = Vec::new();
    for line in lines.filter(|line| line.starts_with('#')) {
        let (number, rest) = line[1..]
            .split_once(' ')
            .context("a frame has an address")?;
        ensure!(number == names.len().to_string(), "out of order: {line}");
        let (address, name) = rest.split_once(' ').unwrap_or((rest, ""));
        let digits = address
            .strip_prefix("0x")
            .context("addresses are hexadecimal")?;
        u64::from_str_radix(digits, 16).with_context(|| format!("no address: {line}"))?;
        match name.rsplit_once("+0x") {
            Some((name, offset)) => {
                u64::from_str_radix(offset, 16).with_context(|| format!("no offset: {line}"))?;
                names.push(name);
            }
            None => {
                ensure!(name.is_empty(), "no offset: {line}");
                names.push("");
            }
        }
    }
    Ok(names)
}

/// Fails unless `wanted` stand in `names` in this order, and nothing behind the last.
fn in_order(names: &[&str], wanted: &[&str]) -> Result<()> {
    let mut rest = names.iter();
    for name in wanted {
        ensure!(
            rest.any(|found| found == name),
            "'{name}' is missing, or not in its place: {names:?}"
        );
    }
    ensure!(
        rest.next().is_none(),
        "functions outside of the outermost: {names:?}"
    );
    Ok(())
}

fn program(path: &Path) -> Result<Program> {
    Program::new(fs::read(path).with_context(|| format!("cannot read {}", path.display()))?)
}

fn hypervisor(trial: &Trial) -> Result<Program> {
    program(&trial.bench.programs.hypervisor)
}

/// Boots a hypervisor in which something was changed, with one cell on the CPU `cpu`, until it has failed.
fn boot(trial: &Trial, program: &[u8], cpu: u32, last_line: &str) -> Result<Seen> {
    let cells = Cells::new(Mode::X2apic, cpu + 1).test(Slot::A, &[cpu], "test=hello");
    let kernel = trial.file("hypervisor", program)?;
    trial
        .scenario(cells.toml())?
        .cpus(cpu + 1)
        .kernel(&kernel)
        .boot_until(&[Wanted::line(HYPERVISOR, last_line)])
}

fn report(seen: &Seen) -> impl Iterator<Item = &str> {
    seen.console(HYPERVISOR)
        .filter_map(|line| line.strip_prefix(PREFIX))
}

/// An exception of the hypervisor: the first function is the one that failed.
pub fn exception(trial: &Trial) -> Result<()> {
    let program = hypervisor(trial)?.overwrite(EMULATE, &INVALID_OPCODE)?;
    let seen = boot(trial, program.file(), 0, LAST_LINE)?;
    seen.find(HYPERVISOR, "hypervisor exception")?;
    seen.find(HYPERVISOR, "emulate+0x4")?;
    let names = names(report(&seen))?;
    ensure!(names.first() == Some(&EMULATE), "{names:?}");
    in_order(&names, &CALLERS)
}

/// A panic, on a CPU that was started by another.
pub fn panic(trial: &Trial) -> Result<()> {
    let program = hypervisor(trial)?.panic_in(EMULATE)?;
    let seen = boot(trial, program.file(), 1, LAST_LINE)?;
    seen.find(HYPERVISOR, "hypervisor panic")?;
    let mut wanted = vec![
        "isthmus_hypervisor::panic::stop_machine",
        "__rustc::rust_begin_unwind",
        "core::panicking::panic_fmt",
        "core::option::unwrap_failed",
    ];
    wanted.extend(&CALLERS[..3]);
    wanted.push("isthmus_hypervisor::boot::bring_up::ap_main");
    in_order(&names(report(&seen))?, &wanted)?;
    seen.refute(HYPERVISOR, "the chain is broken")
}

/// A stack that was overwritten: what is sound of it is shown, and nothing faults.
pub fn corrupt_stack(trial: &Trial) -> Result<()> {
    let program = hypervisor(trial)?;
    let noncanonical = [&[0x48, 0xbd][..], &(1u64 << 63).to_le_bytes()].concat();
    for (code, sound) in [
        // MOV [RBP], RBP: a chain in a circle.
        (&[0x48, 0x89, 0x6d, 0x00][..], 2),
        // INC RBP: unaligned.
        (&[0x48, 0xff, 0xc5], 1),
        // MOV RBP, 1000H: memory, but no stack.
        (&[0x48, 0xc7, 0xc5, 0x00, 0x10, 0x00, 0x00], 1),
        // MOV RBP, 8000000000000000H: no memory.
        (&noncanonical, 1),
        // MOV QWORD [RBP + 8], 1000H: no code.
        (&[0x48, 0xc7, 0x45, 0x08, 0x00, 0x10, 0x00, 0x00], 1),
    ] {
        let program = program
            .clone()
            .overwrite(EMULATE, &[code, &INVALID_OPCODE].concat())?;
        let seen = boot(trial, program.file(), 0, LAST_LINE)?;
        let names = names(report(&seen))?;
        ensure!(names == CALLERS[..sound], "after {code:02x?}: {names:?}");
        seen.find(HYPERVISOR, "the chain is broken")?;
    }
    Ok(())
}

/// A call of what is no code shows who called.
pub fn bad_call(trial: &Trial) -> Result<()> {
    const NOWHERE: u64 = 0x7fff_ffff_f000;
    // MOV RAX, NOWHERE; CALL RAX.
    let code = [&[0x48, 0xb8][..], &NOWHERE.to_le_bytes(), &[0xff, 0xd0]].concat();
    let program = hypervisor(trial)?.overwrite(EMULATE, &code)?;
    let seen = boot(trial, program.file(), 0, LAST_LINE)?;
    seen.find(HYPERVISOR, &format!("#0 {NOWHERE:#x}"))?;
    let mut wanted = vec![""];
    wanted.extend(CALLERS);
    let names = names(report(&seen))?;
    ensure!(names[..4] == wanted[..4], "{names:?}");
    in_order(&names, &wanted)
}

/// A report that fails itself is given up.
pub fn failed_report(trial: &Trial) -> Result<()> {
    let program = hypervisor(trial)?
        .overwrite(EMULATE, &INVALID_OPCODE)?
        .overwrite(FIND, &INVALID_OPCODE)?;
    let last_line = "the report of the failure failed; halted";
    let seen = boot(trial, program.file(), 0, last_line)?;
    ensure!(
        report(&seen)
            .filter(|line| line.contains(last_line))
            .count()
            == 1
    );
    seen.find(HYPERVISOR, "hypervisor exception")?;
    Ok(())
}

/// Without symbols there are addresses.
pub fn without_symbols(trial: &Trial) -> Result<()> {
    let program = hypervisor(trial)?.overwrite(EMULATE, &INVALID_OPCODE)?;
    let path = trial.file("unstripped", program.file())?;
    let stripped = trial.path("stripped")?;
    let status = Command::new("strip")
        .arg("-o")
        .args([&stripped, &path])
        .status();
    ensure!(
        status.context("cannot start strip")?.success(),
        "strip failed"
    );
    let seen = boot(trial, &fs::read(&stripped)?, 0, LAST_LINE)?;
    let names = names(report(&seen))?;
    ensure!(names.len() >= CALLERS.len() - 1, "{names:?}");
    ensure!(names.iter().all(|name| name.is_empty()), "{names:?}");
    seen.refute(HYPERVISOR, "the chain is broken")
}

/// A function of NimbOS's kernel that runs when the first program is loaded, and who calls it in the end.
const ADD: &str = "nimbos::user_space::UserSpace::add";
const ADD_CALLERS: [&str; 4] = [
    ADD,
    "nimbos::kernel_main",
    "nimbos::arch::entry::start",
    "_start",
];
/// What NimbOS prints before each line of its own.
const NIMBOS_PREFIX: &str = "nimbos: ";

/// Boots NimbOS from `kernel`, with one program and the kernel's file `symbols` in the archive, until `last_line`.
fn boot_nimbos(trial: &Trial, kernel: &[u8], symbols: &[u8], last_line: &str) -> Result<Seen> {
    let archive = trial.path("cpio")?;
    let hello = trial.bench.lab.image_path("nimbos-apps").join("hello");
    Initramfs::default()
        .copy("hello", 0o755, &hello)?
        .file(KERNEL_IN_ARCHIVE, 0o644, symbols)
        .write(&archive)?;
    let kernel = trial.file("nimbos", kernel)?;
    run_nimbos(trial, &kernel, &archive, "hello", last_line)
}

/// Boots NimbOS with a program and its arguments until `last_line`.
fn run_nimbos(
    trial: &Trial,
    kernel: &Path,
    archive: &Path,
    init: &str,
    last_line: &str,
) -> Result<Seen> {
    let memory = format!("[{{ base = 0x3080_0000, size = \"16M\", guest = {GUEST_BASE:#x} }}]");
    let more = format!("initrd = \"nimbos-apps\"\ncmdline = \"init={init}\"");
    let cells = Cells::new(Mode::X2apic, 1).elf(Slot::A, &[0], "nimbos", &memory, &more);
    trial
        .scenario(cells.toml())?
        .module("nimbos", kernel)
        .module("nimbos-apps", archive)
        .cpus(1)
        .boot_until(&[Wanted::line("a", last_line)])
}

fn nimbos_names(seen: &Seen) -> Result<Vec<&str>> {
    names(
        seen.console("a")
            .filter_map(|line| line.strip_prefix(NIMBOS_PREFIX)),
    )
}

/// A panic and an exception of NimbOS's kernel.
pub fn nimbos(trial: &Trial) -> Result<()> {
    let kernel = program(&trial.bench.programs.nimbos)?;
    let panicking = kernel.clone().panic_in(ADD)?;
    let seen = boot_nimbos(trial, panicking.file(), panicking.file(), " _start+")?;
    seen.find("a", "nimbos: panic at ")?;
    let mut wanted = vec![
        "__rustc::rust_begin_unwind",
        "core::panicking::panic_fmt",
        "core::option::unwrap_failed",
    ];
    wanted.extend(ADD_CALLERS);
    in_order(&nimbos_names(&seen)?, &wanted)?;

    let faulting = kernel.clone().overwrite(ADD, &INVALID_OPCODE)?;
    let seen = boot_nimbos(trial, faulting.file(), faulting.file(), " _start+")?;
    seen.find("a", "nimbos: panic: invalid opcode in the kernel")?;
    seen.find("a", "UserSpace::add+0x4")?;
    let names = nimbos_names(&seen)?;
    ensure!(names.first() == Some(&ADD), "{names:?}");
    in_order(&names, &ADD_CALLERS)?;

    // Names of another kernel would be wrong ones.
    let seen = boot_nimbos(trial, faulting.file(), kernel.file(), "nimbos: #3")?;
    ensure!(nimbos_names(&seen)?.iter().all(|name| name.is_empty()));
    Ok(())
}

/// A kernel that runs over its stack's end, and one whose chain is a circle.
pub fn nimbos_stack(trial: &Trial) -> Result<()> {
    let kernel = program(&trial.bench.programs.nimbos)?;
    // CALL of the function itself: the instruction is 9 bytes behind its beginning when it is done.
    let endless = kernel
        .clone()
        .overwrite(ADD, &[0xe8, 0xf7, 0xff, 0xff, 0xff])?;
    let seen = boot_nimbos(trial, endless.file(), endless.file(), "frames are shown)")?;
    seen.find("a", "nimbos: panic: page fault in the kernel")?;
    let names = nimbos_names(&seen)?;
    ensure!(
        names.len() == 32 && names.iter().all(|name| *name == ADD),
        "{names:?}"
    );

    // MOV [RBP], RBP.
    let circle = [&[0x48, 0x89, 0x6d, 0x00][..], &INVALID_OPCODE].concat();
    let circular = kernel.overwrite(ADD, &circle)?;
    let seen = boot_nimbos(
        trial,
        circular.file(),
        circular.file(),
        "the chain is broken",
    )?;
    let names = nimbos_names(&seen)?;
    ensure!(names.len() == 2 && names[0] == ADD, "{names:?}");
    Ok(())
}

/// Programs that fault in several ways: registers and callers are shown, and the kernel goes on.
pub fn program_faults(trial: &Trial) -> Result<()> {
    const CALLERS: [&str; 6] = [
        "crash::inner",
        "crash::middle",
        "crash::outer",
        "crash::main",
        "crash::begin",
        "_start",
    ];
    let programs = &trial.bench.programs;
    for (way, sound, line) in [
        ("read", 6, "killed: page fault at 0x10"),
        ("read", 6, "   rbx 0000000012345678"),
        ("call", 7, "killed: page fault at 0x0"),
        ("circle", 2, "the chain is broken: bad frame pointer"),
        (
            "foreign",
            1,
            "the chain is broken: bad frame pointer 0x42100000",
        ),
        ("unaligned", 1, "the chain is broken: bad frame pointer"),
    ] {
        let (kernel, archive) = (&programs.nimbos, &programs.nimbos_apps);
        let seen = run_nimbos(
            trial,
            kernel,
            archive,
            &format!("crash {way}"),
            "init exited with",
        )?;
        seen.find("a", line)?;
        let mut wanted = CALLERS[..sound.min(CALLERS.len())].to_vec();
        if sound > CALLERS.len() {
            // The instruction that does not exist comes first.
            wanted.insert(0, "");
        }
        let names = nimbos_names(&seen)?;
        ensure!(names == wanted, "{way}: {names:?}");
    }
    Ok(())
}
