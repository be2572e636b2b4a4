// SPDX-License-Identifier: MIT OR Apache-2.0
//! What all tests share: the lab and everything that was built.

use std::fs::File;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock};

use anyhow::{Context, Result, anyhow};
use lab::build::{self, Freestanding};
use lab::demo::Programs;
use lab::emulator::Emulator;
use lab::linux::Linux;
use lab::{Lab, setup};

use crate::conformance::column::Column;

/// The lab and the programs under test.
pub struct Bench {
    /// The lab.
    pub lab: Lab,
    /// The emulator.
    pub emulator: Emulator,
    /// The hypervisor and NimbOS.
    pub programs: Freestanding,
    /// The image of the small cells.
    pub test_cell: PathBuf,
    /// The conformance image, for the bare machine and for cells.
    pub conformance: PathBuf,
    /// Results of the conformance image on the bare machine, once a test has asked for them.
    pub bare_column: OnceLock<Column>,
    linux: Mutex<Option<Linux>>,
    demo_programs: Mutex<Option<Programs>>,
    linux_load: Mutex<Option<PathBuf>>,
    /// Held as long as this lives: the tests' files and runs have fixed names.
    _turn: File,
}

impl Bench {
    /// Sets the lab up and builds everything.
    pub fn prepare() -> Result<Self> {
        let lab = Lab::open()?;
        let turn = take_turn(&lab)?;
        let emulator = setup::emulator(&lab)?;
        let programs = build::freestanding(&lab)?;
        let images = build::packages(&lab, &["test-guests", "uintr-conformance"])?;
        Ok(Self {
            lab,
            emulator,
            programs,
            test_cell: images.join("test-cell"),
            conformance: images.join("uintr-conformance"),
            bare_column: OnceLock::new(),
            linux: Mutex::new(None),
            demo_programs: Mutex::new(None),
            linux_load: Mutex::new(None),
            _turn: turn,
        })
    }

    /// Returns the stock Linux, set up when the first test asks for it.
    pub fn linux(&self) -> Result<Linux> {
        let mut linux = self
            .linux
            .lock()
            .map_err(|_| anyhow!("a test failed while it set Linux up"))?;
        match &*linux {
            Some(linux) => Ok(linux.clone()),
            None => Ok(linux.insert(setup::linux(&self.lab)?).clone()),
        }
    }

    /// Returns what the demo boots, built when the first test asks for it.
    pub fn demo_programs(&self) -> Result<Programs> {
        let mut programs = self
            .demo_programs
            .lock()
            .map_err(|_| anyhow!("a test failed while it built the demo"))?;
        match &*programs {
            Some(programs) => Ok(programs.clone()),
            None => Ok(programs
                .insert(Programs::build(&self.lab, self.linux()?)?)
                .clone()),
        }
    }

    /// Returns the program that loads a Linux cell, built when the first test asks for it.
    pub fn linux_load(&self) -> Result<PathBuf> {
        let mut program = self
            .linux_load
            .lock()
            .map_err(|_| anyhow!("a test failed while it built the load"))?;
        match &*program {
            Some(program) => Ok(program.clone()),
            None => Ok(program
                .insert(build::linux_program(&self.lab, "linux-load")?)
                .clone()),
        }
    }
}

/// Waits until no other process runs these tests in this lab.
fn take_turn(lab: &Lab) -> Result<File> {
    let path = lab.dir().join("system-tests.lock");
    let file = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
    if file.try_lock().is_err() {
        eprintln!("system-tests: waiting for others who run them in this lab");
        file.lock()
            .with_context(|| format!("cannot lock {}", path.display()))?;
    }
    Ok(file)
}
