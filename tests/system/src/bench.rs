// SPDX-License-Identifier: MIT OR Apache-2.0
//! What all tests share: the lab and everything that was built.

use std::path::PathBuf;
use std::sync::Mutex;

use anyhow::{Result, anyhow};
use lab::build::{self, Freestanding};
use lab::demo::Programs;
use lab::emulator::Emulator;
use lab::linux::Linux;
use lab::{Lab, setup};

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
    linux: Mutex<Option<Linux>>,
    demo_programs: Mutex<Option<Programs>>,
}

impl Bench {
    /// Sets the lab up and builds everything.
    pub fn prepare() -> Result<Self> {
        let lab = Lab::open()?;
        let emulator = setup::emulator(&lab)?;
        let programs = build::freestanding(&lab)?;
        let test_cell = build::packages(&lab, &["test-guests"])?.join("test-cell");
        Ok(Self {
            lab,
            emulator,
            programs,
            test_cell,
            linux: Mutex::new(None),
            demo_programs: Mutex::new(None),
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
}
