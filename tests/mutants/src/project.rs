// SPDX-License-Identifier: MIT OR Apache-2.0
//! A copy of the sources, and the tests in it.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, bail, ensure};

use crate::mutations::Mutation;

/// What `interleavings` is made of and reads.
const SOURCES: [&str; 14] = [
    "Cargo.lock",
    "crates/forward-ring",
    "crates/hv-abi",
    "crates/uintr",
    "guest-linux-shadow/driver",
    "guest-linux-shadow/shadow/src/serve.rs",
    "guest-linux-shadow/shadow/src/service/mod.rs",
    "guest-linux-shadow/shadow/src/service/session.rs",
    "guest-linux-shadow/shadow/src/work/mod.rs",
    "guest-nimbos/kernel/src/arch/cpu.rs",
    "guest-nimbos/kernel/src/interrupts.rs",
    "guest-nimbos/kernel/src/kernel",
    "hypervisor/src/doorbell.rs",
    "tests/interleavings",
];

/// Members of the copy's workspace.
const MEMBERS: &str =
    r#"members = ["crates/forward-ring", "crates/hv-abi", "crates/uintr", "tests/interleavings"]"#;

/// Preemptions that larger scenarios explore: first few, because that is quick and shows most mutations.
const MAX_PREEMPTIONS: [&str; 2] = ["1", "2"];
/// A mutation may keep the tests going for ever; the unmutated ones take seconds.
const TIME_LIMIT_SECONDS: &str = "300";

/// The copy.
#[derive(Debug)]
pub struct Project {
    original: PathBuf,
    copy: PathBuf,
    target: PathBuf,
}

/// What the tests said.
#[derive(Debug)]
pub enum Outcome {
    /// All passed.
    Passed,
    /// These failed.
    Failed(Vec<String>),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => f.write_str("the tests pass"),
            Self::Failed(tests) => write!(f, "tests fail: {}", tests.join(", ")),
        }
    }
}

impl Project {
    /// Copies the sources.
    pub fn copy() -> Result<Self> {
        let original = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../..")
            .canonicalize()?;
        let target = std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| original.join("target"), PathBuf::from)
            .join("mutants");
        let project = Self {
            copy: target.join("project"),
            target: target.join("build"),
            original,
        };
        // A file that the sources have lost would be built on.
        if project.copy.exists() {
            fs::remove_dir_all(&project.copy)?;
        }
        for path in SOURCES {
            project.restore(path)?;
        }
        let manifest = project.original.join("Cargo.toml");
        let manifest = fs::read_to_string(&manifest)?;
        let (before, rest) = manifest.split_once("members = [").context("no members")?;
        let (_, after) = rest.split_once(']').context("the members do not end")?;
        write_if_changed(
            &project.copy.join("Cargo.toml"),
            &format!("{before}{MEMBERS}{after}"),
        )?;
        Ok(project)
    }

    /// Runs the tests.
    pub fn test(&self) -> Result<Outcome> {
        let [few, _] = MAX_PREEMPTIONS;
        let built = self.cargo(few, &["--no-run"])?;
        ensure!(
            built.status.success(),
            "it does not build:\n{}",
            String::from_utf8_lossy(&built.stderr)
        );
        for preemptions in MAX_PREEMPTIONS {
            let run = self.cargo(preemptions, &[])?;
            if !run.status.success() {
                return failed_tests(&run);
            }
        }
        Ok(Outcome::Passed)
    }

    /// Runs the tests with a mutation, and takes it back.
    pub fn test_with(&self, mutation: &Mutation) -> Result<Outcome> {
        let path = self.copy.join(mutation.file);
        let mut text = fs::read_to_string(&path)?;
        for (find, replace) in mutation.edits {
            let count = text.matches(find).count();
            ensure!(
                count == 1,
                "{count} places in {} for: {find}",
                mutation.file
            );
            text = text.replace(find, replace);
        }
        fs::write(&path, text)?;
        let outcome = self.test();
        self.restore(mutation.file)?;
        outcome
    }

    /// Copies a file or folder of the original over.
    fn restore(&self, path: &str) -> Result<()> {
        copy(&self.original.join(path), &self.copy.join(path)).with_context(|| path.to_owned())
    }

    /// Runs `cargo test` on `interleavings`.
    fn cargo(&self, max_preemptions: &str, arguments: &[&str]) -> Result<Output> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        Command::new("timeout")
            .args([TIME_LIMIT_SECONDS.as_ref(), cargo.as_os_str()])
            .args(["test", "--package", "interleavings", "--lib"])
            .args(arguments)
            .current_dir(&self.copy)
            .env("CARGO_TARGET_DIR", &self.target)
            .env("RUSTFLAGS", "--cfg loom")
            .env("RUST_BACKTRACE", "0")
            .env("LOOM_MAX_PREEMPTIONS", max_preemptions)
            // loom needs speed, and building again and again needs it too.
            .env("CARGO_PROFILE_DEV_OPT_LEVEL", "1")
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            .output()
            .context("cannot run cargo by `timeout`")
    }
}

/// Returns the tests that a run calls failed.
fn failed_tests(run: &Output) -> Result<Outcome> {
    let output = String::from_utf8_lossy(&run.stdout);
    let failed: Vec<String> = output
        .lines()
        .filter_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"))
        .map(str::to_owned)
        .collect();
    if failed.is_empty() {
        bail!("the tests end with {}:\n{output}", run.status);
    }
    Ok(Outcome::Failed(failed))
}

/// Copies a file or folder. Files that are the same stay as they are: nothing is built again for them.
fn copy(from: &Path, to: &Path) -> Result<()> {
    if from.is_dir() {
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
        return Ok(());
    }
    write_if_changed(to, &fs::read_to_string(from)?)
}

fn write_if_changed(path: &Path, text: &str) -> Result<()> {
    if fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    Ok(fs::write(path, text)?)
}
