// SPDX-License-Identifier: MIT OR Apache-2.0
//! An apt of the lab's own: it downloads Debian packages and unpacks them into a folder.
//!
//! It has its own lists, cache and (empty) status, so it needs no root, sees none of the machine's
//! packages and changes nothing outside its folder. The mirror is the one the machine itself uses.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::apt_sources::{self, Source};
use crate::command::{self, retry};
use crate::layout;

/// How often a mirror is asked before giving up.
const TRIES: u32 = 4;

/// Returns the machine's own Debian sources; fails when it has none.
pub fn debian_sources() -> Result<Vec<Source>> {
    let mut sources = apt_sources::read_all(Path::new("/etc/apt"));
    sources.retain(Source::is_debian);
    ensure!(
        !sources.is_empty(),
        "no Debian archive among this machine's apt sources: the lab sets itself up on Debian 12 \
         (elsewhere, install Bochs 3.1 or later and name it in BOCHS)"
    );
    Ok(sources)
}

/// A private apt with its state in one folder.
pub struct PrivateApt {
    dir: PathBuf,
}

impl PrivateApt {
    /// Prepares the state in `dir` and fetches the package lists of `sources` (the text of a `.list` file).
    pub fn prepare(dir: &Path, sources: &str) -> Result<Self> {
        for part in ["state/lists/partial", "cache/archives/partial"] {
            let path = dir.join(part);
            fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        }
        layout::write_whole(&dir.join("status"), b"")?;
        layout::write_whole(&dir.join("sources.list"), sources.as_bytes())?;
        let apt = Self {
            dir: dir.to_owned(),
        };
        retry("fetching package lists", TRIES, || {
            command::run(apt.command("apt-get").args(["--error-on=any", "update"]))
        })?;
        Ok(apt)
    }

    /// Downloads `packages` and all they depend on; returns the package files.
    pub fn download_closure(&self, packages: &[&str]) -> Result<Vec<PathBuf>> {
        retry("downloading packages", TRIES, || {
            command::run(
                self.command("apt-get")
                    .args(["--yes", "--download-only", "install"])
                    .args(packages),
            )
        })?;
        package_files(&self.dir.join("cache/archives"))
    }

    /// Downloads just `packages` into `folder`; returns the package files.
    pub fn download(&self, packages: &[String], folder: &Path) -> Result<Vec<PathBuf>> {
        layout::fresh_dir(folder)?;
        retry("downloading packages", TRIES, || {
            command::run(
                self.command("apt-get")
                    .current_dir(folder)
                    .arg("download")
                    .args(packages),
            )
        })?;
        package_files(folder)
    }

    /// Returns the names of all packages that match the regular expression `pattern`.
    pub fn names(&self, pattern: &str) -> Result<Vec<String>> {
        let found =
            command::output(
                self.command("apt-cache")
                    .args(["search", "--names-only", pattern]),
            )?;
        let name = |line: &str| line.split_whitespace().next().map(str::to_owned);
        Ok(found.lines().filter_map(name).collect())
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env("LC_ALL", "C");
        let places = [
            ("Dir::State", "state"),
            ("Dir::State::status", "status"),
            ("Dir::Cache", "cache"),
            ("Dir::Etc::sourcelist", "sources.list"),
            ("Dir::Etc::sourceparts", "no-parts"),
            ("Dir::Etc::preferences", "no-preferences"),
            ("Dir::Etc::preferencesparts", "no-parts"),
        ];
        for (key, place) in places {
            let mut option = OsString::from(format!("{key}="));
            option.push(self.dir.join(place));
            command.arg("-o").arg(option);
        }
        let settings = [
            "APT::Sandbox::User=root",
            "APT::Install-Recommends=false",
            "Acquire::Retries=3",
            "Acquire::Languages=none",
            "quiet=2",
        ];
        for setting in settings {
            command.args(["-o", setting]);
        }
        command
    }
}

/// Unpacks `packages` over each other into `folder`.
pub fn unpack(packages: &[PathBuf], folder: &Path) -> Result<()> {
    for package in packages {
        command::run(Command::new("dpkg").arg("-x").arg(package).arg(folder))?;
    }
    Ok(())
}

fn package_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .collect();
    files.sort();
    Ok(files)
}
