// SPDX-License-Identifier: MIT OR Apache-2.0
//! Building an out-of-tree kernel module against the lab's Linux, away from the source tree.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::Lab;
use crate::command;
use crate::layout;
use crate::linux::Linux;

/// Builds the module whose sources and Kbuild file are in `sources`; returns the stripped `.ko`.
///
/// Fails with the compiler's words, or when not exactly one module comes out.
pub fn build(lab: &Lab, linux: &Linux, sources: &Path) -> Result<PathBuf> {
    let sources = sources
        .canonicalize()
        .with_context(|| format!("no folder {}", sources.display()))?;
    let name = sources
        .file_name()
        .context("a module's sources need a folder of their own")?;
    let build_dir = lab.dir().join("modules").join(name);
    layout::fresh_dir(&build_dir)?;
    copy_tree(&sources, &build_dir)?;
    let mut make_dir = std::ffi::OsString::from("M=");
    make_dir.push(&build_dir);
    command::run(
        Command::new("make")
            .arg("-C")
            .arg(&linux.headers)
            .arg(make_dir)
            // The caller may itself be run by a make, whose flags are not for this one.
            .env_remove("MAKEFLAGS")
            .env_remove("MAKELEVEL")
            // Without a value: BTF would need a tool that is not here.
            .args(["CONFIG_DEBUG_INFO_BTF_MODULES=", "modules"]),
    )?;
    let module = only_module(&build_dir)?;
    command::run(Command::new("strip").arg("--strip-debug").arg(&module))?;
    Ok(module)
}

fn only_module(folder: &Path) -> Result<PathBuf> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut modules: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "ko"))
        .collect();
    match (modules.pop(), modules.is_empty()) {
        (Some(module), true) => Ok(module),
        (Some(_), false) => bail!("more than one module came out in {}", folder.display()),
        (None, _) => bail!(
            "no module came out in {}: does the Kbuild file have an obj-m line?",
            folder.display()
        ),
    }
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    let entries = fs::read_dir(from).with_context(|| format!("cannot list {}", from.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot list {}", from.display()))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            fs::create_dir(&target).with_context(|| format!("cannot make {}", target.display()))?;
            copy_tree(&source, &target)?;
        } else {
            fs::copy(&source, &target)
                .with_context(|| format!("cannot copy {}", source.display()))?;
        }
    }
    Ok(())
}
