// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a case is.

use uintr_conformance::{ApicMode, Found, Text};

use crate::bench::Bench;
use crate::machine::trap::Trap;

/// Why a case failed: what was expected and what was seen.
#[derive(Clone, Copy, Debug)]
pub struct Failure(pub Text);

/// What a case returns.
pub type Outcome = Result<Found, Failure>;

/// A case of the conformance tests.
#[derive(Clone, Copy)]
pub struct Case {
    /// `T01` to `T72` and `V01` to `V27`.
    pub id: &'static str,
    /// What is tested.
    pub title: &'static str,
    /// Volume and title of the manual's section.
    pub section: &'static str,
    /// Id of the deviation of Bochs that this case must show there.
    pub deviation: Option<&'static str>,
    /// What it needs.
    pub needs: Needs,
    /// Does it.
    pub run: fn(&mut Bench) -> Outcome,
}

/// What a case needs from the machine, next to user interrupts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// CPUs.
    pub cpus: usize,
    /// Mode of the local APICs.
    pub apic: Option<ApicMode>,
    /// Where it can run.
    pub place: Where,
    /// Whether it is about a processor without user interrupts too.
    pub uintr: bool,
}

/// Where a case can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Where {
    /// Anywhere.
    Anywhere,
    /// On the bare machine only: it needs VMX.
    Bare,
    /// In a cell with a second cell (`role=peer`) at the other end of a channel.
    TwoCells,
}

impl Case {
    /// Returns a case for one CPU, in either mode, anywhere.
    pub const fn new(
        id: &'static str,
        title: &'static str,
        section: &'static str,
        run: fn(&mut Bench) -> Outcome,
    ) -> Self {
        Self {
            id,
            title,
            section,
            deviation: None,
            needs: Needs {
                cpus: 1,
                apic: None,
                place: Where::Anywhere,
                uintr: true,
            },
            run,
        }
    }

    /// Names the deviation of Bochs that it must show.
    pub const fn deviates(mut self, id: &'static str) -> Self {
        self.deviation = Some(id);
        self
    }

    /// Asks for so many CPUs.
    pub const fn cpus(mut self, count: usize) -> Self {
        self.needs.cpus = count;
        self
    }

    /// Asks for a mode of the local APICs.
    pub const fn apic(mut self, mode: ApicMode) -> Self {
        self.needs.apic = Some(mode);
        self
    }

    /// Asks for a place.
    pub const fn place(mut self, place: Where) -> Self {
        self.needs.place = place;
        self
    }

    /// Lets it run without user interrupts.
    pub const fn without_uintr(mut self) -> Self {
        self.needs.uintr = false;
        self
    }
}

impl From<Trap> for Failure {
    fn from(trap: Trap) -> Self {
        Self(Text::new(format_args!("unexpected trap: {trap}")))
    }
}

/// Ends the case: what the manual says was seen.
macro_rules! as_manual {
    ($($text:tt)*) => {
        Ok(::uintr_conformance::Found::Manual(::uintr_conformance::Text::new(format_args!($($text)*))))
    };
}

/// Ends the case: exactly the known deviation was seen.
macro_rules! deviant {
    ($($text:tt)*) => {
        Ok(::uintr_conformance::Found::Deviant(::uintr_conformance::Text::new(format_args!($($text)*))))
    };
}

/// Ends the case: this is the answer to an open question.
macro_rules! recorded {
    ($($text:tt)*) => {
        Ok(::uintr_conformance::Found::Recorded(::uintr_conformance::Text::new(format_args!($($text)*))))
    };
}

/// Ends the case: it cannot run here.
macro_rules! skipped {
    ($($text:tt)*) => {
        Ok(::uintr_conformance::Found::Skipped(::uintr_conformance::Text::new(format_args!($($text)*))))
    };
}

/// Fails the case: says what was expected and what was seen.
macro_rules! wrong {
    ($($text:tt)*) => {
        return Err($crate::case::Failure(::uintr_conformance::Text::new(format_args!($($text)*))))
    };
}

/// Fails the case unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($text:tt)*) => {
        if !$condition {
            wrong!($($text)*);
        }
    };
}
