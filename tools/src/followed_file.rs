// SPDX-License-Identifier: MIT OR Apache-2.0
//! A file that another process writes and that is read as it grows.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::lines::LineSplitter;

/// The file, as far as it was read.
pub struct FollowedFile {
    path: PathBuf,
    file: Option<File>,
    splitter: LineSplitter,
}

impl FollowedFile {
    /// Follows the file at `path`, which may not be there yet.
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            file: None,
            splitter: LineSplitter::default(),
        }
    }

    /// Returns the lines that are new; with `is_last`, an unfinished one too.
    pub fn read(&mut self, is_last: bool) -> Result<Vec<String>> {
        if self.file.is_none() {
            // Its writer makes it when it starts; until then there is nothing to read.
            self.file = File::open(&self.path).ok();
        }
        let mut bytes = Vec::new();
        if let Some(file) = &mut self.file {
            file.read_to_end(&mut bytes)
                .with_context(|| format!("cannot read {}", self.path.display()))?;
        }
        let mut lines = self.splitter.push(&bytes);
        if is_last {
            lines.extend(self.splitter.finish());
        }
        Ok(lines)
    }
}
