//! `isthmus config`: from TOML to the binary form and back.

mod replace;
mod summary;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use cell_config::{Doorbell, System};

use crate::output;

/// Checks all files, summarizes those that are accepted, and fails if one is not.
pub fn check(files: &[PathBuf]) -> Result<()> {
    let mut refused = 0;
    for file in files {
        match read(file) {
            Ok(system) => output::print(&summary::text(file, &system))?,
            Err(error) => {
                output::error(&format!("{error:#}"));
                refused += 1;
            }
        }
    }
    match refused {
        0 => Ok(()),
        _ => bail!("{refused} of {} configurations refused", files.len()),
    }
}

/// Writes the binary form of `file` to `output`.
pub fn build(file: &Path, output: &Path) -> Result<()> {
    let system = read(file)?;
    replace::file(output, &cell_config::encode(&system))
}

/// Shows a binary form as TOML.
pub fn show(binary: &Path) -> Result<()> {
    let bytes = fs::read(binary).with_context(|| format!("cannot read {}", binary.display()))?;
    let system = cell_config::decode(&bytes).map_err(|e| anyhow!("{}: {e}", binary.display()))?;
    output::print(&cell_config_toml::to_toml(&system))
}

/// Reads and checks a configuration and warns of what is allowed but dangerous.
fn read(file: &Path) -> Result<System> {
    let text =
        fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let system = cell_config_toml::from_toml(&text).map_err(|error| {
        let line = error
            .line()
            .map(|line| format!(":{line}"))
            .unwrap_or_default();
        anyhow!("{}{line}: {}", file.display(), error.message())
    })?;
    for channel in &system.channels {
        if channel.doorbell == Doorbell::Direct {
            output::warning(&format!(
                "channel '{}' is direct: its cells trust each other (a cell can forge any notification)",
                channel.name
            ));
        }
    }
    Ok(system)
}
