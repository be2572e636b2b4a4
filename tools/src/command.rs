// SPDX-License-Identifier: MIT OR Apache-2.0
//! Running other programs: their output is kept, and shown when they fail.

use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// How many lines of a failed program's output an error repeats.
const SHOWN_LINES: usize = 25;

/// Says on standard error what the lab is doing.
pub(crate) fn say(text: impl AsRef<str>) {
    eprintln!("[lab] {}", text.as_ref());
}

/// Runs `command` and returns what it printed on standard output.
///
/// Fails when it can't be started or does not succeed; the error has the end of its output.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let shown = format!("{command:?}");
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {shown}"))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        let all: Vec<&str> = stdout.lines().chain(stderr.lines()).collect();
        let tail = &all[all.len().saturating_sub(SHOWN_LINES)..];
        bail!("{shown} failed ({}):\n{}", output.status, tail.join("\n"));
    }
    Ok(stdout)
}

/// Runs `command` and throws its output away unless it fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    output(command).map(drop)
}

/// Returns where `name` is found on PATH, or in the folders of the system's own programs.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file())
}

/// Does `work` up to `tries` times, waiting longer after each failure; a mirror may fail for a moment.
pub(crate) fn retry<T>(what: &str, tries: u32, mut work: impl FnMut() -> Result<T>) -> Result<T> {
    let mut pause = Duration::from_secs(2);
    for _ in 1..tries {
        match work() {
            Ok(value) => return Ok(value),
            Err(error) => say(format!(
                "{what} failed, trying again in {} s: {error:#}",
                pause.as_secs()
            )),
        }
        thread::sleep(pause);
        pause *= 2;
    }
    work().with_context(|| format!("{what} failed {tries} times"))
}
