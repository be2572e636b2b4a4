// SPDX-License-Identifier: MIT OR Apache-2.0
//! Building what is booted: the freestanding programs, the shadow process, the archive of NimbOS's programs.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::command::{run, say};
use crate::image::Initramfs;
use crate::{Lab, layout};

/// Programs of NimbOS, each a binary of the package `nimbos-apps`.
const NIMBOS_PROGRAMS: &[&str] = &[
    "alarmtest",
    "crash",
    "demo",
    "echo-client",
    "echo-server",
    "fwdtest",
    "hello",
    "ringtest",
    "sh",
    "stress",
    "uintrtest",
    "usertests",
];
/// Where the kernel finds its own symbols: its file in the archive of programs.
pub const KERNEL_IN_ARCHIVE: &str = "boot/nimbos";
/// Flags of all freestanding code, from the root of the sources.
const FREESTANDING_FLAGS: &str = "crates/freestanding-link/cargo-flags.toml";
/// The only target there is.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Where the freestanding programs are.
#[derive(Debug, Clone)]
pub struct Freestanding {
    /// The hypervisor, a Multiboot2 ELF.
    pub hypervisor: PathBuf,
    /// NimbOS, an image for an ELF cell.
    pub nimbos: PathBuf,
    /// Its programs, an archive for the cell's initial ramdisk.
    pub nimbos_apps: PathBuf,
}

/// Builds freestanding `packages` in release mode and returns the folder of their binaries. Cargo's own words go to standard error.
pub fn packages(lab: &Lab, packages: &[&str]) -> Result<PathBuf> {
    let target_dir = target_dir(lab);
    let mut cargo = cargo(lab, &target_dir);
    cargo.args(["--config", FREESTANDING_FLAGS]);
    cargo.args(packages.iter().flat_map(|package| ["-p", package]));
    inherit(cargo)?;
    Ok(target_dir.join("release"))
}

/// Builds the hypervisor, NimbOS and its programs.
pub fn freestanding(lab: &Lab) -> Result<Freestanding> {
    say("building the hypervisor and NimbOS");
    let folder = packages(lab, &["isthmus-hypervisor", "nimbos", "nimbos-apps"])?;
    let mut archive = Initramfs::default();
    for &program in NIMBOS_PROGRAMS {
        let stripped = lab.image_path("nimbos-apps").join(program);
        strip_debug(&folder.join(program), &stripped)?;
        archive = archive.copy(program, 0o755, &stripped)?;
    }
    let nimbos = lab.image_path("nimbos");
    strip_debug(&folder.join("nimbos"), &nimbos)?;
    let archive = archive.copy(KERNEL_IN_ARCHIVE, 0o644, &nimbos)?;
    let nimbos_apps = lab.image_path("nimbos-apps.cpio");
    archive.write(&nimbos_apps)?;
    Ok(Freestanding {
        hypervisor: folder.join("isthmus-hypervisor"),
        nimbos,
        nimbos_apps,
    })
}

/// Builds the shadow process.
pub fn shadow(lab: &Lab) -> Result<PathBuf> {
    say("building the shadow process");
    linux_program(lab, "isthmus-shadow")
}

/// Builds a package's program of the same name as a static one: the Linux cells of the lab have no libraries.
pub fn linux_program(lab: &Lab, package: &str) -> Result<PathBuf> {
    let target_dir = target_dir(lab);
    let mut cargo = cargo(lab, &target_dir);
    cargo
        .args(["-p", package, "--target", TARGET])
        .env("RUSTFLAGS", "-C target-feature=+crt-static");
    inherit(cargo)?;
    let stripped = lab.image_path(package);
    strip(
        &target_dir.join(TARGET).join("release").join(package),
        &stripped,
    )?;
    Ok(stripped)
}

fn target_dir(lab: &Lab) -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| lab.root().join("target"), PathBuf::from)
}

fn cargo(lab: &Lab, target_dir: &Path) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(lab.root())
        .args(["build", "--release", "--target-dir"])
        .arg(target_dir);
    cargo
}

fn inherit(mut cargo: Command) -> Result<()> {
    let status = cargo.status().context("cannot start cargo")?;
    ensure!(status.success(), "cargo failed ({status}), see above");
    Ok(())
}

/// Leaves the debug information out, and the symbols in: backtraces need them.
fn strip_debug(from: &Path, to: &Path) -> Result<()> {
    layout::make_parent(to)?;
    run(Command::new("strip").arg("-g").arg("-o").arg(to).arg(from))
}

fn strip(from: &Path, to: &Path) -> Result<()> {
    layout::make_parent(to)?;
    run(Command::new("strip").arg("-o").arg(to).arg(from))
}
