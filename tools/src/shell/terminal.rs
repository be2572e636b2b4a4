// SPDX-License-Identifier: MIT OR Apache-2.0
//! The user's terminal, and the pseudo-terminal that NimbOS's serial port is connected to.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context, Result};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

/// How the user's terminal was before.
static BEFORE: OnceLock<Termios> = OnceLock::new();

/// The user's terminal in raw mode: every key comes at once and is not shown. Dropping this, or a panic, brings back
/// what was.
#[derive(Debug)]
pub struct RawTerminal(());

impl RawTerminal {
    /// Puts standard input into raw mode if it is a terminal.
    pub fn enter() -> Result<Option<Self>> {
        let input = io::stdin();
        if !input.is_terminal() {
            return Ok(None);
        }
        let before = tcgetattr(&input).context("cannot ask for the terminal's mode")?;
        let mut raw = before.clone();
        raw.make_raw();
        BEFORE.get_or_init(|| before);
        // Panics end the process without dropping anything.
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            restore();
            hook(info);
        }));
        tcsetattr(&input, OptionalActions::Now, &raw).context("cannot set the terminal's mode")?;
        Ok(Some(Self(())))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        restore();
    }
}

fn restore() {
    if let Some(before) = BEFORE.get() {
        // Nothing is left to do for a terminal that is gone.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
    }
}

/// A terminal that is a pair of files: the emulator has one end, the lab the other.
#[derive(Debug)]
pub struct PseudoTerminal {
    master: File,
    path: PathBuf,
    /// Keeps it alive while the emulator has not opened it, or has just died and is started again.
    _other_end: OwnedFd,
}

impl PseudoTerminal {
    /// Makes one that passes every byte as it is.
    pub fn open() -> Result<Self> {
        Self::try_open().context("cannot make a pseudo-terminal")
    }

    fn try_open() -> rustix::io::Result<Self> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let path = ptsname(&master, Vec::new())?;
        let path = PathBuf::from(String::from_utf8_lossy(path.as_bytes()).into_owned());
        let other_end = ioctl_tiocgptpeer(&master, flags)?;
        let mut mode = tcgetattr(&other_end)?;
        mode.make_raw();
        tcsetattr(&other_end, OptionalActions::Now, &mode)?;
        Ok(Self {
            master: File::from(master),
            path,
            _other_end: other_end,
        })
    }

    /// Returns the device that the emulator opens.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the lab's end.
    pub fn master(&self) -> Result<File> {
        self.master
            .try_clone()
            .context("cannot duplicate a descriptor")
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn bytes_pass_as_they_are_in_both_directions() {
        let terminal = PseudoTerminal::open().unwrap();
        let mut device = File::options()
            .read(true)
            .write(true)
            .open(terminal.path())
            .unwrap();
        let bytes = b"\x03\x04\r\n\x7f\xffa";
        let mut found = [0; 7];
        terminal.master().unwrap().write_all(bytes).unwrap();
        device.read_exact(&mut found).unwrap();
        assert_eq!(&found, bytes);
        device.write_all(bytes).unwrap();
        terminal.master().unwrap().read_exact(&mut found).unwrap();
        assert_eq!(&found, bytes);
    }

    #[test]
    fn a_reader_sees_the_end_when_nobody_has_it_open() {
        let terminal = PseudoTerminal::open().unwrap();
        let mut reader = terminal.master().unwrap();
        drop(terminal);
        assert!(!matches!(reader.read(&mut [0; 8]), Ok(1..)));
    }
}
