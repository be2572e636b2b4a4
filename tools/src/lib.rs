// SPDX-License-Identifier: MIT OR Apache-2.0
//! The lab: the emulated machine on which Isthmus runs every day, and what is needed around it.
//!
//! [`setup`] brings a machine with nothing on it to the point where an image can be booted: host
//! packages, the emulator Bochs, a proof that the emulator divides rightly, a stock Linux. [`image`]
//! builds what is booted, [`machine`] says what it is booted on, [`run`] boots it and judges.
//!
//! Everything that the lab makes lies in one folder, [`Lab::dir`]; nothing else on the machine is
//! changed but for the host packages, which need root.
//!
//! ```no_run
//! use std::ops::ControlFlow;
//! use lab::{Lab, image::BootImage, machine::{Firmware, Machine, MachineSpec, Medium}, run::Echo, setup};
//!
//! # fn main() -> anyhow::Result<()> {
//! let lab = Lab::open()?;
//! let emulator = setup::emulator(&lab)?;
//! let iso = lab.image_path("hello.iso");
//! BootImage::new("target/hello").module("config", "target/hello.cfg").build(Firmware::Bios, &iso)?;
//! let outcome = Machine::new(&lab, &emulator, MachineSpec::default())
//!     .boot("hello", &Medium::Iso(iso), Echo::Live, |line| {
//!         if line.text.contains("hello") { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
//!     })?;
//! assert!(outcome.find("com1", "hello").is_some());
//! # Ok(())
//! # }
//! ```

mod apt_sources;
pub mod build;
mod command;
pub mod demo;
pub mod emulator;
mod emulator_log;
mod followed_file;
mod host_packages;
pub mod image;
pub mod kernel_module;
mod layout;
mod lines;
pub mod linux;
pub mod machine;
mod private_apt;
pub mod run;
mod self_test;
pub mod setup;
pub mod shell;
mod version;

pub use layout::Lab;
