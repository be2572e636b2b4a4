// SPDX-License-Identifier: MIT OR Apache-2.0
//! The emulator: the machine's own Bochs if it is new enough, else a private copy of Debian's.
//!
//! Versions before 3.1 execute SENDUIPI and UIRET wrongly and are refused.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result, bail, ensure};

use crate::Lab;
use crate::command::{self, find_program, say};
use crate::layout;
use crate::private_apt::{self, PrivateApt};
use crate::version::Version;

/// The first version whose user interrupts are right.
const OLDEST_VERSION: &str = "3.1";
/// The variable that names a Bochs to use.
const BOCHS_VARIABLE: &str = "BOCHS";
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";

/// A Bochs that can be started.
#[derive(Debug, Clone)]
pub struct Emulator {
    place: Place,
    cure: Option<PathBuf>,
}

#[derive(Debug, Clone)]
enum Place {
    /// A program of the machine's own.
    Installed(PathBuf),
    /// Packages unpacked below this folder, with their own dynamic loader and libraries.
    Private(PathBuf),
}

impl Emulator {
    /// Finds a Bochs that is there already: named by `BOCHS`, on PATH, or the lab's private copy.
    ///
    /// Fails when `BOCHS` names one that can't be used.
    pub(crate) fn find(lab: &Lab) -> Result<Option<Self>> {
        let place = if let Some(named) = env::var_os(BOCHS_VARIABLE).filter(|name| !name.is_empty())
        {
            let program = own_code(PathBuf::from(named));
            check_version(&program)
                .with_context(|| format!("{BOCHS_VARIABLE} names no usable Bochs"))?;
            Some(Place::Installed(program))
        } else if let Some(program) = find_program("bochs")
            .map(own_code)
            .filter(|program| check_version(program).is_ok())
        {
            Some(Place::Installed(program))
        } else {
            let root = private_root(lab);
            root.is_dir().then_some(Place::Private(root))
        };
        Ok(place.map(|place| Self { place, cure: None }))
    }

    /// Downloads Debian's Bochs and unpacks it in the lab's folder.
    pub(crate) fn fetch(lab: &Lab) -> Result<Self> {
        say("fetching Bochs from Debian's suite testing into a private folder (about 65 MB)");
        let sources = private_apt::debian_sources()?;
        let archive = sources
            .iter()
            .find(|source| source.is_archive())
            .context("no Debian main archive among this machine's apt sources, so no place to fetch Bochs from")?;
        let apt_dir = lab.dir().join("apt-testing");
        let apt = PrivateApt::prepare(&apt_dir, &archive.lines(&["testing".to_owned()]))?;
        let packages = apt.download_closure(&["bochs", "bochs-term"])?;
        check_package_version(&packages)?;
        say(format!("unpacking {} packages", packages.len()));
        let staging = lab.dir().join("bochs.staging");
        layout::fresh_dir(&staging)?;
        private_apt::unpack(&packages, &staging)?;
        let root = private_root(lab);
        fs::rename(&staging, &root)
            .with_context(|| format!("cannot put {} in place", root.display()))?;
        fs::remove_dir_all(&apt_dir)
            .with_context(|| format!("cannot clear {}", apt_dir.display()))?;
        Ok(Self {
            place: Place::Private(root),
            cure: None,
        })
    }

    /// Returns this emulator with `cure`, a shared object, loaded into it at every start.
    pub(crate) fn with_cure(mut self, cure: PathBuf) -> Self {
        self.cure = Some(cure);
        self
    }

    /// Returns the file that holds the emulator's own code.
    pub(crate) fn binary(&self) -> PathBuf {
        match &self.place {
            Place::Installed(program) => program.clone(),
            Place::Private(root) => root.join("usr/bin/bochs-bin"),
        }
    }

    /// Returns the command that runs the configuration file `rc`, as a direct child that ends with its parent.
    pub(crate) fn command(&self, rc: &Path) -> Command {
        let mut argv: Vec<PathBuf> = wrapper().iter().map(PathBuf::from).collect();
        match &self.place {
            Place::Installed(program) => {
                if let Some(cure) = &self.cure {
                    // Not in this command's environment: what is put before the emulator is not cured.
                    let mut preload = OsString::from("LD_PRELOAD=");
                    preload.push(cure);
                    argv.extend(["env".into(), preload.into()]);
                }
                argv.push(program.clone());
            }
            Place::Private(root) => {
                argv.push(root.join("usr/lib64/ld-linux-x86-64.so.2"));
                argv.extend(["--library-path".into(), root.join(LIBRARIES)]);
                if let Some(cure) = &self.cure {
                    argv.extend(["--preload".into(), cure.clone()]);
                }
                argv.push(self.binary());
            }
        }
        let mut command = Command::new(&argv[0]);
        command
            .args(&argv[1..])
            .args(["-q", "-f"])
            .arg(rc)
            .stdin(Stdio::null());
        if let Place::Private(root) = &self.place {
            command.env(
                "LTDL_LIBRARY_PATH",
                root.join(LIBRARIES).join("bochs/plugins"),
            );
            command.env("BXSHARE", root.join("usr/share/bochs"));
        }
        command
    }
}

/// Returns the program behind Debian's wrapper script, which only adds a variable, or `program` itself.
fn own_code(program: PathBuf) -> PathBuf {
    let is_script = fs::read(&program).is_ok_and(|bytes| bytes.starts_with(b"#!"));
    let mut behind = program.clone().into_os_string();
    behind.push("-bin");
    let behind = PathBuf::from(behind);
    if is_script && behind.is_file() {
        behind
    } else {
        program
    }
}

fn private_root(lab: &Lab) -> PathBuf {
    lab.dir().join("bochs")
}

/// What is put before the emulator: it dies with the lab, and has a network of its own, so that its
/// display never fights for a port. Each part is left out where the machine does not allow it.
fn wrapper() -> &'static [String] {
    static WRAPPER: OnceLock<Vec<String>> = OnceLock::new();
    WRAPPER.get_or_init(|| {
        let candidates: [&[&str]; 3] = [
            &["setpriv", "--pdeathsig", "KILL"],
            &["unshare", "-n"],
            &["unshare", "-r", "-n"],
        ];
        let mut wrapper: Vec<String> = Vec::new();
        for candidate in candidates {
            let is_second_unshare = wrapper.iter().any(|word| word == "unshare");
            let works = || {
                command::run(Command::new(candidate[0]).args(&candidate[1..]).arg("true")).is_ok()
            };
            if !is_second_unshare && works() {
                wrapper.extend(candidate.iter().map(|&word| word.to_owned()));
            }
        }
        wrapper
    })
}

/// Fails unless `program` says that it is new enough.
fn check_version(program: &Path) -> Result<()> {
    // It prints its banner and then ends with an error, for want of such a file.
    let output = Command::new(program)
        .args(["-q", "-f", "/nonexistent"])
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}", program.display()))?;
    let words = [output.stdout, output.stderr].concat();
    match Version::find(&String::from_utf8_lossy(&words)) {
        Some(version) if version >= Version::parse(OLDEST_VERSION) => Ok(()),
        Some(version) => bail!(
            "{} is {version:?}; {OLDEST_VERSION} or later is needed",
            program.display()
        ),
        None => bail!("{} does not say its version", program.display()),
    }
}

fn check_package_version(packages: &[PathBuf]) -> Result<()> {
    let name = |path: &Path| {
        path.file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default()
            .to_owned()
    };
    let bochs = packages
        .iter()
        .find(|path| name(path).starts_with("bochs_"))
        .context("the mirror's suite testing has no package bochs")?;
    let version = command::output(Command::new("dpkg-deb").arg("-f").arg(bochs).arg("Version"))?;
    ensure!(
        Version::parse(&version) >= Version::parse(OLDEST_VERSION),
        "the mirror's suite testing has Bochs {}; {OLDEST_VERSION} or later is needed",
        version.trim()
    );
    Ok(())
}
