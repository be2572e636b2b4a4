// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the emulator's own log says about the end of a run. Its exit status says nothing: it is 1 both
//! when the guest is done and when the emulator gives up.

use std::path::PathBuf;

use anyhow::Result;

use crate::followed_file::FollowedFile;

/// How many lines are kept: the registers of a few processors.
const KEPT_LINES: usize = 150;
/// Said when a processor outside every guest can't deliver an exception. In a guest it is a VM exit, and not logged.
const TRIPLE_FAULT: &str = "exception with no resolution";
/// Starts the lines that describe the processors before the first instruction; many, and of no interest at the end.
const START_UP: &str = "00000000000i";
/// Marks the line that says why the emulator ends.
const PANIC: &str = ">>PANIC<<";
/// The emulator ends by these "panics" when the guest wants it: port 0x8900 and ACPI.
const SHUT_DOWN: [&str; 2] = ["shutdown requested", "soft power off"];

/// What the emulator said that decides how the run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Last {
    /// A processor stopped for good.
    TripleFault(String),
    /// The guest switched the machine off.
    ShutDown,
    /// The emulator gave up.
    Panic(String),
}

/// The log, followed while it grows.
pub struct EmulatorLog {
    file: FollowedFile,
    tail: Vec<String>,
    last: Option<Last>,
}

impl EmulatorLog {
    /// Follows the log at `path`.
    pub fn new(path: PathBuf) -> Self {
        Self {
            file: FollowedFile::new(path),
            tail: Vec::new(),
            last: None,
        }
    }

    /// Reads what is new, and returns what decided the run's end, if anything did so far.
    pub fn read(&mut self, is_last: bool) -> Result<Option<&Last>> {
        for line in self.file.read(is_last)? {
            if self.last.is_none() {
                self.last = judge(&line);
            }
            if !line.starts_with(START_UP) {
                self.tail.push(line);
            }
        }
        self.tail
            .drain(..self.tail.len().saturating_sub(KEPT_LINES));
        Ok(self.last.as_ref())
    }

    /// Returns what decided the run's end.
    pub fn last(&self) -> Option<&Last> {
        self.last.as_ref()
    }

    /// Returns the log's last lines.
    pub fn take_tail(&mut self) -> Vec<String> {
        std::mem::take(&mut self.tail)
    }
}

fn judge(line: &str) -> Option<Last> {
    if line.contains(TRIPLE_FAULT) {
        return Some(Last::TripleFault(line.to_owned()));
    }
    let (_, reason) = line.split_once(PANIC)?;
    if SHUT_DOWN.iter().any(|words| reason.contains(words)) {
        return Some(Last::ShutDown);
    }
    Some(Last::Panic(reason.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shut_down_is_told_from_a_panic() {
        let port = "00031448110p[UNMAP ] >>PANIC<< Shutdown port: shutdown requested";
        let acpi = "02774917790p[ACPI  ] >>PANIC<< ACPI control: soft power off";
        let rom = "00000000000p[MEM0  ] >>PANIC<< ROM: couldn't open ROM image file";
        assert_eq!(judge(port), Some(Last::ShutDown));
        assert_eq!(judge(acpi), Some(Last::ShutDown));
        assert_eq!(
            judge(rom),
            Some(Last::Panic("ROM: couldn't open ROM image file".into()))
        );
    }

    #[test]
    fn a_triple_fault_is_seen_and_chatter_is_not() {
        let fault = "00099048990w[CPU0  ] exception(): 3rd (13) exception with no resolution";
        assert_eq!(judge(fault), Some(Last::TripleFault(fault.into())));
        assert_eq!(
            judge("00000496243i[CPU0  ] RSM: Resuming from System Management Mode"),
            None
        );
    }
}
