// SPDX-License-Identifier: MIT OR Apache-2.0
//! The Debian packages that the lab uses from the machine itself.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::{self, find_program, retry, say};

/// How a package shows that it is there.
enum Sign {
    /// A program on PATH.
    Program(&'static str),
    /// A file.
    File(&'static str),
}

/// Packages, and what shows each of them.
const PACKAGES: [(&str, Sign); 13] = [
    ("grub-common", Sign::Program("grub-mkrescue")),
    (
        "grub-pc-bin",
        Sign::File("/usr/lib/grub/i386-pc/multiboot2.mod"),
    ),
    (
        "grub-efi-amd64-bin",
        Sign::File("/usr/lib/grub/x86_64-efi/multiboot2.mod"),
    ),
    ("xorriso", Sign::Program("xorriso")),
    ("mtools", Sign::Program("mformat")),
    // The other package of this program is linked to libraries that an initramfs has not.
    (
        "busybox-static",
        Sign::File("/var/lib/dpkg/info/busybox-static.list"),
    ),
    ("ovmf", Sign::File("/usr/share/OVMF/OVMF_CODE_4M.fd")),
    ("gcc", Sign::Program("gcc")),
    ("libc6-dev", Sign::File("/usr/include/stdio.h")),
    ("binutils", Sign::Program("objcopy")),
    ("make", Sign::Program("make")),
    ("xz-utils", Sign::Program("xz")),
    // For the kernel's objtool.
    (
        "libelf1",
        Sign::File("/usr/lib/x86_64-linux-gnu/libelf.so.1"),
    ),
];

/// Installs what is missing when that is possible, and else says what to install.
pub fn ensure_installed() -> Result<()> {
    let missing = missing();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if !is_root()? {
        bail!(
            "these packages are missing: {list}; \
             as root: apt-get update && apt-get install --no-install-recommends {list}"
        );
    }
    say(format!("installing {list}"));
    retry("apt-get update", 4, || {
        command::run(apt_get().arg("update"))
    })?;
    retry("apt-get install", 4, || {
        command::run(
            apt_get()
                .args(["install", "--yes", "--no-install-recommends"])
                .args(&missing),
        )
    })?;
    let still = self::missing();
    if !still.is_empty() {
        bail!(
            "installed, but not usable: {}; is the folder of these programs on PATH?",
            still.join(" ")
        );
    }
    Ok(())
}

fn missing() -> Vec<&'static str> {
    let is_missing = |sign: &Sign| match sign {
        Sign::Program(name) => find_program(name).is_none(),
        Sign::File(path) => !Path::new(path).exists(),
    };
    PACKAGES
        .iter()
        .filter(|(_, sign)| is_missing(sign))
        .map(|(name, _)| *name)
        .collect()
}

fn is_root() -> Result<bool> {
    let id = command::output(Command::new("id").arg("-u")).context("cannot tell who runs this")?;
    Ok(id.trim() == "0")
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("LC_ALL", "C")
        .args([
            "-o",
            "quiet=2",
            "-o",
            "Acquire::Retries=3",
            "-o",
            "DPkg::Lock::Timeout=300",
        ]);
    command
}
