// SPDX-License-Identifier: MIT OR Apache-2.0
//! The stock Linux that the Linux cell runs: Debian's cloud kernel with its headers, unpacked, not installed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::Lab;
use crate::command::say;
use crate::layout;
use crate::private_apt::{self, PrivateApt};
use crate::version::Version;

/// Kernels of this series were tried; other series lack symbols that the driver uses.
const SERIES: &str = "6.12.";
/// How the names of wanted image packages end: built for Debian 12, whose compiler builds modules for them.
const FLAVOUR: &str = "+deb12-cloud-amd64";

/// An unpacked kernel.
#[derive(Debug, Clone)]
pub struct Linux {
    /// What `uname -r` says under it.
    pub release: String,
    /// The bzImage.
    pub image: PathBuf,
    /// The folder that out-of-tree modules are built against.
    pub headers: PathBuf,
    /// The folder with the stock modules (`lib/modules/RELEASE`, the files are `.ko.xz`).
    pub modules: PathBuf,
}

impl Linux {
    /// Finds the kernel that was set up in `lab`, if there is one.
    pub(crate) fn find(lab: &Lab) -> Result<Option<Self>> {
        let root = root(lab);
        let Ok(release) = fs::read_to_string(root.join("release")) else {
            return Ok(None);
        };
        let release = release.trim().to_owned();
        let linux = Self {
            image: root.join("boot").join(format!("vmlinuz-{release}")),
            headers: root
                .join("usr/src")
                .join(format!("linux-headers-{release}")),
            modules: root.join("lib/modules").join(&release),
            release,
        };
        for path in [&linux.image, &linux.headers, &linux.modules] {
            if !path.exists() {
                bail!(
                    "{} is missing: remove {} and run lab setup again",
                    path.display(),
                    root.display()
                );
            }
        }
        Ok(Some(linux))
    }

    /// Downloads and unpacks the newest kernel of the series that the machine's own sources have.
    pub(crate) fn fetch(lab: &Lab) -> Result<Self> {
        say("fetching Debian's cloud kernel and its headers (about 50 MB)");
        let apt_dir = lab.dir().join("apt-linux");
        let sources: String = private_apt::debian_sources()?
            .iter()
            .map(|source| source.lines(&source.suites))
            .collect();
        let apt = PrivateApt::prepare(&apt_dir, &sources)?;
        let release = newest_release(&apt.names("^linux-(image|headers|kbuild)-6\\.")?)?;
        say(format!("the kernel is {release}"));
        let packages = apt.download(&package_names(&release), &lab.dir().join("linux.debs"))?;
        let staging = lab.dir().join("linux.staging");
        layout::fresh_dir(&staging)?;
        private_apt::unpack(&packages, &staging)?;
        mend_headers(&staging, &release, &root(lab))?;
        fs::write(staging.join("release"), &release).context("cannot note the kernel's release")?;
        fs::rename(&staging, root(lab)).context("cannot put the kernel in place")?;
        for done in [apt_dir, lab.dir().join("linux.debs")] {
            fs::remove_dir_all(&done)
                .with_context(|| format!("cannot clear {}", done.display()))?;
        }
        Self::find(lab)?.context("the kernel's packages do not hold what they should")
    }
}

fn root(lab: &Lab) -> PathBuf {
    lab.dir().join("linux")
}

/// Returns the newest release for which all packages are in `names`.
fn newest_release(names: &[String]) -> Result<String> {
    let is_whole = |release: &&str| {
        package_names(release)
            .iter()
            .all(|package| names.contains(package))
    };
    let newest = names
        .iter()
        .filter_map(|name| name.strip_prefix("linux-image-"))
        .filter(|release| release.starts_with(SERIES) && release.ends_with(FLAVOUR))
        .filter(is_whole)
        .max_by_key(|release| Version::parse(release));
    newest.map(str::to_owned).with_context(|| {
        format!(
            "this machine's apt sources have no linux-image-{SERIES}*{FLAVOUR} with its headers; it is in Debian 12's \
             security suite: add that suite to the sources (the 6.1 kernel of Debian 12 has not been tried)"
        )
    })
}

fn package_names(release: &str) -> Vec<String> {
    let base = release.strip_suffix("-cloud-amd64").unwrap_or(release);
    vec![
        format!("linux-image-{release}"),
        format!("linux-headers-{release}"),
        format!("linux-headers-{base}-common"),
        format!("linux-kbuild-{base}"),
    ]
}

/// Points the one absolute path in the headers, an include of the common headers, at where they will lie.
fn mend_headers(staging: &Path, release: &str, root: &Path) -> Result<()> {
    let path = staging
        .join("usr/src")
        .join(format!("linux-headers-{release}/Makefile"));
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mended = text.replace(" /usr/src/", &format!(" {}/usr/src/", root.display()));
    if mended == text {
        bail!(
            "{} does not include the common headers the way this lab knows",
            path.display()
        );
    }
    fs::write(&path, mended).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(releases: &[&str]) -> Vec<String> {
        releases
            .iter()
            .flat_map(|release| package_names(release))
            .collect()
    }

    #[test]
    fn the_newest_release_of_the_series_is_taken() {
        let names = names(&[
            "6.12.99+deb12-cloud-amd64",
            "6.12.117+deb12-cloud-amd64",
            "6.1.0-56-cloud-amd64",
        ]);
        assert_eq!(
            newest_release(&names).ok().as_deref(),
            Some("6.12.117+deb12-cloud-amd64")
        );
    }

    #[test]
    fn a_release_without_headers_is_passed_over() {
        let mut names = names(&["6.12.99+deb12-cloud-amd64"]);
        names.push("linux-image-6.12.117+deb12-cloud-amd64".to_owned());
        assert_eq!(
            newest_release(&names).ok().as_deref(),
            Some("6.12.99+deb12-cloud-amd64")
        );
    }

    #[test]
    fn without_the_series_the_error_says_where_it_is() {
        let error =
            newest_release(&names(&["6.1.0-56-cloud-amd64"])).map_err(|error| error.to_string());
        assert!(error.is_err_and(|text| text.contains("security suite")));
    }
}
