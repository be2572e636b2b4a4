// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is booted: an ISO with GRUB, a Multiboot2 kernel and its modules; and Linux's initramfs.

mod initramfs;

pub use initramfs::{Initramfs, demo_initramfs};

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::command;
use crate::layout;
use crate::machine::Firmware;

/// GRUB modules that every image needs; the firmware's own come on top.
const GRUB_MODULES: &str = "multiboot2 normal iso9660";

/// A kernel and its modules, to be put on a boot ISO.
#[derive(Debug, Clone)]
pub struct BootImage {
    kernel: PathBuf,
    kernel_args: String,
    modules: Vec<(String, PathBuf)>,
}

impl BootImage {
    /// Starts an image with the Multiboot2 ELF `kernel`, without arguments and modules.
    pub fn new(kernel: impl Into<PathBuf>) -> Self {
        Self {
            kernel: kernel.into(),
            kernel_args: String::new(),
            modules: Vec::new(),
        }
    }

    /// Sets the kernel's command line.
    pub fn kernel_args(mut self, args: impl Into<String>) -> Self {
        self.kernel_args = args.into();
        self
    }

    /// Adds the file at `path` as a module; the kernel finds it by `name`, the first word of its command line.
    pub fn module(mut self, name: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        self.modules.push((name.into(), path.into()));
        self
    }

    /// Writes the ISO for `firmware` to `iso`.
    ///
    /// The kernel's debug information is left out, its symbols are not. Fails when a file can't be read, a name can't
    /// stand in GRUB's configuration, or GRUB's tools fail.
    pub fn build(&self, firmware: Firmware, iso: &Path) -> Result<()> {
        self.check()?;
        let mut staging = iso.as_os_str().to_owned();
        staging.push(".tree");
        let staging = PathBuf::from(staging);
        layout::fresh_dir(&staging)?;
        let boot = staging.join("boot");
        layout::write_whole(&boot.join("grub/grub.cfg"), self.grub_config().as_bytes())?;
        command::run(
            Command::new("objcopy")
                .arg("-g")
                .arg(&self.kernel)
                .arg(boot.join("isthmus")),
        )?;
        for (name, path) in &self.modules {
            fs::copy(path, boot.join(name))
                .with_context(|| format!("cannot copy {}", path.display()))?;
        }
        make_rescue(firmware, &staging, iso)?;
        fs::remove_dir_all(&staging).with_context(|| format!("cannot clear {}", staging.display()))
    }

    /// Returns the text of `grub.cfg`.
    fn grub_config(&self) -> String {
        let mut text = String::from("set timeout=0\nset default=0\n");
        text.push_str(format!("multiboot2 /boot/isthmus {}", self.kernel_args).trim_end());
        text.push('\n');
        for (name, _) in &self.modules {
            text.push_str(&format!("module2 /boot/{name} {name}\n"));
        }
        text.push_str("boot\n");
        text
    }

    fn check(&self) -> Result<()> {
        for path in self
            .modules
            .iter()
            .map(|(_, path)| path)
            .chain([&self.kernel])
        {
            ensure!(path.is_file(), "no file {}", path.display());
        }
        let mut names: Vec<&str> = self
            .modules
            .iter()
            .map(|(name, _)| name.as_str())
            .chain(["isthmus", "grub"])
            .collect();
        for name in &names {
            let is_plain = !name.is_empty()
                && name
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
            ensure!(
                is_plain,
                "a module's name has only letters, digits, '.', '_' and '-', not {name:?}"
            );
        }
        names.sort_unstable();
        ensure!(
            names.windows(2).all(|pair| pair[0] != pair[1]),
            "two files of the image have the same name"
        );
        ensure!(
            !self.kernel_args.contains('\n'),
            "the kernel's arguments are one line"
        );
        Ok(())
    }
}

fn make_rescue(firmware: Firmware, tree: &Path, iso: &Path) -> Result<()> {
    let (platform, own_modules) = match firmware {
        Firmware::Bios => ("/usr/lib/grub/i386-pc", "biosdisk"),
        // Its start-up looks for all kinds of partitions, and complains of each that it has no module for.
        Firmware::Uefi => (
            "/usr/lib/grub/x86_64-efi",
            "fat part_acorn part_amiga part_apple part_bsd part_dfly part_dvh part_gpt part_msdos part_plan part_sun part_sunpc",
        ),
    };
    let modules = format!("{GRUB_MODULES} {own_modules}");
    command::run(
        Command::new("grub-mkrescue")
            .args(["-d", platform, "-o"])
            .arg(iso)
            .arg(format!("--install-modules={modules}"))
            .arg(format!("--modules={modules}"))
            .args(["--fonts=", "--themes=", "--locales="])
            .arg(tree),
    )
    .context("cannot build the boot image (is everything installed? run lab setup)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grub_config_names_every_module_by_its_own_name() {
        let image = BootImage::new("/k")
            .kernel_args("log=debug")
            .module("config", "/c")
            .module("initrd.gz", "/i");
        assert_eq!(
            image.grub_config(),
            "set timeout=0\nset default=0\nmultiboot2 /boot/isthmus log=debug\n\
             module2 /boot/config config\nmodule2 /boot/initrd.gz initrd.gz\nboot\n"
        );
    }

    #[test]
    fn a_kernel_without_arguments_has_no_trailing_space() {
        assert!(
            BootImage::new("/k")
                .grub_config()
                .contains("/boot/isthmus\n")
        );
    }

    #[test]
    fn names_that_grub_would_misread_are_refused() {
        let here = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        assert!(
            BootImage::new(here)
                .module("plain-name_1.bin", here)
                .check()
                .is_ok()
        );
        for name in ["two words", "a;b", "", "isthmus"] {
            assert!(
                BootImage::new(here).module(name, here).check().is_err(),
                "{name:?}"
            );
        }
        assert!(
            BootImage::new(here)
                .module("a", here)
                .module("a", here)
                .check()
                .is_err()
        );
    }
}
