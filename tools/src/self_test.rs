// SPDX-License-Identifier: MIT OR Apache-2.0
//! Proves the emulator sound before anything relies on it, and cures the one defect that it may have.
//!
//! Debian's Bochs 3.1 is miscompiled: 64-bit IDIV gives garbage. A boot sector divides and says
//! whether the result is right. Where it is not, `idiv-cure` is built and loaded into the emulator,
//! and the boot sector has to be content then. What was found is noted, and good until the
//! emulator's binary or the cure changes.

use std::env;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail, ensure};

use crate::Lab;
use crate::command::{self, say};
use crate::emulator::Emulator;
use crate::layout;
use crate::machine::{Machine, MachineSpec, Medium};
use crate::run::{ERRORS_FILE, Echo, End};

const BOOT_SECTOR: &str = include_str!("self_test.s");
const CURE_SOURCE: &str = concat!(
    include_str!("../idiv-cure/src/lib.rs"),
    include_str!("../idiv-cure/src/install.rs")
);
const FLOPPY_BYTES: usize = 1_474_560;

/// Returns the emulator ready for use, with the cure if it needs it; tests it unless that was done before.
pub fn sound_emulator(lab: &Lab, emulator: Emulator) -> Result<Emulator> {
    let key = key_of(&emulator)?;
    let note = fs::read_to_string(note_path(lab)).unwrap_or_default();
    let (noted_key, noted_cure) = note.split_once('\n').unwrap_or_default();
    if noted_key == key {
        let cure = cure_path(lab);
        match noted_cure.trim() {
            "sound" => return Ok(emulator),
            "cured" if cure.is_file() => return Ok(emulator.with_cure(cure)),
            _ => {}
        }
    }
    test(lab, emulator)
}

/// Tests the emulator, and cures it where needed; notes the result.
pub fn test(lab: &Lab, emulator: Emulator) -> Result<Emulator> {
    let floppy = build_floppy(lab)?;
    let (emulator, state) = if divides_rightly(lab, &emulator, &floppy)? {
        say("self-test passed");
        (emulator, "sound")
    } else {
        say("self-test: 64-bit IDIV is wrong in this Bochs; building the cure for it");
        let cured = emulator.with_cure(build_cure(lab)?);
        ensure!(
            divides_rightly(lab, &cured, &floppy)?,
            "64-bit IDIV is wrong in this Bochs, and the cure does not help: name another Bochs in BOCHS"
        );
        say("self-test passed, with the cure");
        (cured, "cured")
    };
    layout::write_whole(
        &note_path(lab),
        format!("{}\n{state}\n", key_of(&emulator)?).as_bytes(),
    )?;
    Ok(emulator)
}

/// Boots the test; fails when the machine can't do what Isthmus needs.
fn divides_rightly(lab: &Lab, emulator: &Emulator, floppy: &Path) -> Result<bool> {
    let spec = MachineSpec {
        memory_mib: 32,
        time_limit: Duration::from_secs(60),
        ..MachineSpec::default()
    };
    let outcome = Machine::new(lab, emulator, spec).boot::<()>(
        "self-test",
        &Medium::Floppy(floppy.to_owned()),
        Echo::Quiet,
        |_| ControlFlow::Continue(()),
    )?;
    let Some(line) = outcome
        .find("com1", "self-test:")
        .filter(|line| line.text.ends_with("end"))
    else {
        let output = fs::read(outcome.folder.join(ERRORS_FILE)).unwrap_or_default();
        bail!(
            "the emulator does not run the self-test ({:?}); its files are in {}; it said:\n{}\n{}",
            outcome.end,
            outcome.folder.display(),
            String::from_utf8_lossy(&output),
            outcome.log_tail.join("\n")
        );
    };
    for feature in ["vmx", "uintr"] {
        ensure!(
            line.text.split(' ').any(|word| word == feature),
            "this Bochs has no {feature} in its sapphire_rapids model: it was built without it"
        );
    }
    ensure!(
        outcome.end == End::ShutDown,
        "the emulator does not let the guest switch it off: {:?}",
        outcome.end
    );
    Ok(line.text.contains("idiv-right"))
}

fn build_floppy(lab: &Lab) -> Result<PathBuf> {
    let folder = lab.dir().join("boot-sector");
    layout::fresh_dir(&folder)?;
    fs::write(folder.join("self_test.s"), BOOT_SECTOR).context("cannot write the self-test")?;
    let build = |program: &str, args: &[&str]| {
        command::run(Command::new(program).args(args).current_dir(&folder))
    };
    build("as", &["--64", "-o", "self_test.o", "self_test.s"])?;
    build(
        "ld",
        &[
            "-Ttext=0x7c00",
            "--oformat=binary",
            "-o",
            "self_test.bin",
            "self_test.o",
        ],
    )?;
    let mut image = fs::read(folder.join("self_test.bin")).context("cannot read the self-test")?;
    ensure!(
        image.len() == 512,
        "the self-test is no boot sector: {} bytes",
        image.len()
    );
    image.resize(FLOPPY_BYTES, 0);
    let floppy = folder.join("floppy.img");
    fs::write(&floppy, image).context("cannot write the self-test's floppy")?;
    Ok(floppy)
}

/// Builds the shared object with the right IDIV, in a target folder of its own so that no other build waits.
fn build_cure(lab: &Lab) -> Result<PathBuf> {
    let target = lab.dir().join("cure-build");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    command::run(
        Command::new(cargo)
            .args([
                "build",
                "--release",
                "--package",
                "idiv-cure",
                "--target-dir",
            ])
            .arg(&target)
            .current_dir(lab.root()),
    )?;
    let built = target.join("release/libidiv_cure.so");
    let bytes = fs::read(&built)
        .with_context(|| format!("the cure's build left no {}", built.display()))?;
    layout::write_whole(&cure_path(lab), &bytes)?;
    Ok(cure_path(lab))
}

fn cure_path(lab: &Lab) -> PathBuf {
    lab.dir().join("idiv-cure.so")
}

fn note_path(lab: &Lab) -> PathBuf {
    lab.dir().join("self-test.note")
}

/// Returns one line that changes when the emulator, the test or the cure does.
fn key_of(emulator: &Emulator) -> Result<String> {
    let binary = emulator.binary();
    let metadata =
        fs::metadata(&binary).with_context(|| format!("no emulator at {}", binary.display()))?;
    let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    let since = modified
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let sources = checksum(BOOT_SECTOR) ^ checksum(CURE_SOURCE).rotate_left(1);
    Ok(format!(
        "{} {} {} {sources:x}",
        binary.display(),
        metadata.len(),
        since.as_nanos()
    ))
}

/// FNV-1a: enough to notice a change.
fn checksum(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}
