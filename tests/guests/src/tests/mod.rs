// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the cell can do, by the name in `test=`.
#![forbid(unsafe_code)]

mod answer;
mod attack;
mod delivery;
mod denials;
mod doorbell;
mod frame;
mod hello;
mod hostile;
mod inbox;
mod ioapic;
mod load;
mod ping_pong;
mod smp;
mod switching;
mod timer;

use core::fmt;

use test_guests::OptionError;

use crate::boot::Boot;

/// Why a test failed.
#[derive(Clone, Copy, Debug)]
pub enum Failure {
    /// The command line.
    Option(OptionError<'static>),
    /// No test has this name.
    UnknownTest(&'static str),
    /// The cell has no channel.
    NoChannel,
    /// A number is not what it should be.
    Mismatch {
        /// What was counted.
        what: &'static str,
        /// What came out.
        got: i64,
        /// What should have.
        want: i64,
    },
    /// Something did not happen in time.
    Late(&'static str),
    /// The cell did what it may not do, and lives.
    Survived,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Option(error) => error.fmt(f),
            Self::UnknownTest(name) => write!(f, "no-test-{name}"),
            Self::NoChannel => f.write_str("no-channel"),
            Self::Mismatch { what, got, want } => write!(f, "{what} got={got} want={want}"),
            Self::Late(what) => write!(f, "late-{what}"),
            Self::Survived => f.write_str("survived"),
        }
    }
}

impl From<OptionError<'static>> for Failure {
    fn from(error: OptionError<'static>) -> Self {
        Self::Option(error)
    }
}

/// Runs the test that the command line names.
pub fn run(boot: &Boot) -> Result<(), Failure> {
    match boot.options().text("test")? {
        "hello" => hello::run(boot),
        "answer" => answer::run(boot),
        "pingpong" => ping_pong::run(boot),
        "doorbell" => doorbell::run(boot),
        "delivery" => delivery::run(boot),
        "frame" => frame::run(boot),
        "load" => load::run(boot),
        "inbox" => inbox::run(boot),
        "denials" => denials::run(boot),
        "smp" => smp::run(boot),
        "ioapic" => ioapic::run(boot),
        "switching" => switching::run(boot),
        "timer" => timer::run(boot),
        other => hostile::run(boot, other).unwrap_or_else(|| attack::run(boot, other)),
    }
}

/// Fails unless a number is what it should be.
fn expect(what: &'static str, got: i64, want: i64) -> Result<(), Failure> {
    if got == want {
        Ok(())
    } else {
        Err(Failure::Mismatch { what, got, want })
    }
}
