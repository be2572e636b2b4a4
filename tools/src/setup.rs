// SPDX-License-Identifier: MIT OR Apache-2.0
//! Getting ready: each part is made once, kept in the lab's folder, and found there the next time.
//!
//! A part that was interrupted is made anew; a part that is there costs nothing. Two processes that
//! set up the same lab take turns.

use anyhow::Result;

use crate::Lab;
use crate::emulator::Emulator;
use crate::host_packages;
use crate::linux::Linux;
use crate::self_test;

/// Sets up everything: host packages, the emulator with its self-test, Linux.
pub fn all(lab: &Lab) -> Result<(Emulator, Linux)> {
    let emulator = emulator(lab)?;
    Ok((emulator, linux(lab)?))
}

/// Sets up the host's packages and the emulator, and returns the emulator.
pub fn emulator(lab: &Lab) -> Result<Emulator> {
    let _lock = lab.lock()?;
    host_packages::ensure_installed()?;
    self_test::sound_emulator(lab, found_or_fetched(lab)?)
}

/// Sets up Linux, and returns where it is.
pub fn linux(lab: &Lab) -> Result<Linux> {
    let _lock = lab.lock()?;
    match Linux::find(lab)? {
        Some(linux) => Ok(linux),
        None => Linux::fetch(lab),
    }
}

/// Tests the emulator again, whatever was found before.
pub fn self_test(lab: &Lab) -> Result<Emulator> {
    let _lock = lab.lock()?;
    host_packages::ensure_installed()?;
    self_test::test(lab, found_or_fetched(lab)?)
}

fn found_or_fetched(lab: &Lab) -> Result<Emulator> {
    match Emulator::find(lab)? {
        Some(emulator) => Ok(emulator),
        None => Emulator::fetch(lab),
    }
}
