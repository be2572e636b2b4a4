// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where things lie: the workspace and the lab's own folder.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// The variable that names another folder for everything that the lab makes.
pub const DIR_VARIABLE: &str = "ISTHMUS_LAB_DIR";

/// The workspace and the folder in which the lab keeps what it makes.
#[derive(Debug, Clone)]
pub struct Lab {
    root: PathBuf,
    dir: PathBuf,
}

impl Lab {
    /// Opens the lab of the workspace that this crate was built in.
    pub fn open() -> Result<Self> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        Self::at(manifest.parent().unwrap_or(manifest))
    }

    /// Opens the lab of the workspace at `root`.
    pub fn at(root: &Path) -> Result<Self> {
        let root = root
            .canonicalize()
            .with_context(|| format!("no workspace at {}: name it with --root", root.display()))?;
        ensure!(
            root.join("tools/Cargo.toml").is_file(),
            "{} is not this project's workspace: name it with --root",
            root.display()
        );
        let dir = match env::var_os(DIR_VARIABLE) {
            Some(dir) if !dir.is_empty() => PathBuf::from(dir),
            _ => root.join("target/lab"),
        };
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let dir = dir
            .canonicalize()
            .with_context(|| format!("cannot find {}", dir.display()))?;
        Ok(Self { root, dir })
    }

    /// Returns the top folder of the workspace.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the folder that holds everything the lab makes.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the place for the boot image called `name`.
    pub fn image_path(&self, name: &str) -> PathBuf {
        self.dir.join("images").join(name)
    }

    /// Returns the folder of the run called `name`.
    pub fn run_dir(&self, name: &str) -> PathBuf {
        self.dir.join("runs").join(name)
    }

    /// Waits until no other process sets up this lab, and keeps others out while the result lives.
    pub(crate) fn lock(&self) -> Result<File> {
        let path = self.dir.join("setup.lock");
        let file =
            File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
        file.lock()
            .with_context(|| format!("cannot lock {}", path.display()))?;
        Ok(file)
    }
}

/// Puts `bytes` at `path` in one step: a reader sees the old file or the whole new one.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    make_parent(path)?;
    let mut staging = path.as_os_str().to_owned();
    staging.push(".part");
    fs::write(&staging, bytes)
        .and_then(|()| fs::rename(&staging, path))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Makes the folder that `path` lies in.
pub(crate) fn make_parent(path: &Path) -> Result<()> {
    match path.parent() {
        Some(parent) => {
            fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))
        }
        None => Ok(()),
    }
}

/// Makes an empty folder at `path`, throwing away what was there.
pub(crate) fn fresh_dir(path: &Path) -> Result<()> {
    if path.exists() {
        fs::remove_dir_all(path).with_context(|| format!("cannot clear {}", path.display()))?;
    }
    fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))
}
