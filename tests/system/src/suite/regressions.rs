// SPDX-License-Identifier: MIT OR Apache-2.0
//! What broke in earlier systems of this kind, under load: user interrupts between cells that both switch contexts.
//!
//! The load itself is the test cell's `test=switching`; see there for what it notices.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::cells::{Cells, Mode, Slot};
use crate::scenario::{Trial, Wanted, value};
use lab::run::Line;

const PASS: &str = "test: result=PASS";
const FAIL: &str = "test: result=FAIL";
/// Of both cells together.
const SENDS: u32 = 50_000;
const LONG_SENDS: u32 = 1_000_000;
const LONG_TIME_LIMIT: Duration = Duration::from_secs(1800);
/// The emulator's own default.
const QUANTUM: u32 = 16;
/// Every place is interrupted sooner or later.
const FINE_QUANTUM: u32 = 1;

/// Two cells that send to each other while they switch tasks.
struct Switching {
    mode: Mode,
    doorbell: &'static str,
    quantum: u32,
    sends: u32,
}

impl Switching {
    const SHORT: Self = Self {
        mode: Mode::X2apic,
        doorbell: "direct",
        quantum: QUANTUM,
        sends: SENDS,
    };

    fn run(&self, trial: &Trial) -> Result<()> {
        let each = self.sends / 2;
        let cmdline = format!("test=switching sends={each}");
        let cells = Cells::new(self.mode, 2)
            .test(Slot::A, &[0], &cmdline)
            .test(Slot::B, &[1], &cmdline)
            .channel_with(Slot::A, Slot::B, self.doorbell);
        let mut scenario = trial.scenario(cells.toml())?;
        scenario.spec.quantum = self.quantum;
        scenario.spec.time_limit = LONG_TIME_LIMIT;
        let seen = scenario.boot_until(&[Wanted::line("a", PASS), Wanted::line("b", PASS)])?;
        for label in ["a", "b"] {
            let line = seen.find(label, "name=switching")?;
            let count = |key| -> Result<u32> { Ok(value(line, key)?.parse()?) };
            ensure!(
                count("sends")? == each && count("delivered")? == each,
                "{line}"
            );
            // The switches met every state that they have to keep.
            for met in ["closed", "pending", "posts"] {
                ensure!(count(met)? > 0, "no switch with {met}: {line}");
            }
        }
        Ok(())
    }
}

/// Both policies' cheapest form.
pub fn direct_x2apic(trial: &Trial) -> Result<()> {
    Switching::SHORT.run(trial)
}

/// Each notification checked by the hypervisor.
pub fn filtered_x2apic(trial: &Trial) -> Result<()> {
    Switching {
        doorbell: "filtered",
        ..Switching::SHORT
    }
    .run(trial)
}

/// The timer's interrupts end by an exit.
pub fn direct_xapic(trial: &Trial) -> Result<()> {
    Switching {
        mode: Mode::Xapic,
        ..Switching::SHORT
    }
    .run(trial)
}

/// Both.
pub fn filtered_xapic(trial: &Trial) -> Result<()> {
    Switching {
        mode: Mode::Xapic,
        doorbell: "filtered",
        ..Switching::SHORT
    }
    .run(trial)
}

/// CPUs that take turns after each instruction.
pub fn quantum_1(trial: &Trial) -> Result<()> {
    Switching {
        quantum: 1,
        ..Switching::SHORT
    }
    .run(trial)
}

/// After 5 instructions.
pub fn quantum_5(trial: &Trial) -> Result<()> {
    Switching {
        quantum: 5,
        ..Switching::SHORT
    }
    .run(trial)
}

/// After 32 instructions.
pub fn quantum_32(trial: &Trial) -> Result<()> {
    Switching {
        quantum: 32,
        ..Switching::SHORT
    }
    .run(trial)
}

/// A million sends, direct.
pub fn million_direct(trial: &Trial) -> Result<()> {
    Switching {
        sends: LONG_SENDS,
        ..Switching::SHORT
    }
    .run(trial)
}

/// A million sends, filtered.
pub fn million_filtered(trial: &Trial) -> Result<()> {
    Switching {
        sends: LONG_SENDS,
        doorbell: "filtered",
        ..Switching::SHORT
    }
    .run(trial)
}

/// One cell, step by step. Alone it is filtered; with a neighbour it is direct.
fn delivery(trial: &Trial, mode: Mode, doorbell: &str) -> Result<()> {
    let cells = Cells::new(mode, 2)
        .test(Slot::A, &[0], "test=delivery")
        .test(Slot::B, &[1], "test=answer")
        .channel_with(Slot::A, Slot::B, doorbell);
    let seen = trial
        .scenario(cells.toml())?
        .boot_until(&[Wanted::line("a", PASS)])?;
    for pick_up in ["Register", "SelfInterrupt"] {
        let line = seen.find("a", &format!("pick_up={pick_up} "))?;
        ensure!(value(line, "delivered")?.parse::<u32>()? > 0, "{line}");
    }
    Ok(())
}

/// Step by step.
pub fn delivery_direct_x2apic(trial: &Trial) -> Result<()> {
    delivery(trial, Mode::X2apic, "direct")
}

/// Step by step, in xAPIC mode.
pub fn delivery_direct_xapic(trial: &Trial) -> Result<()> {
    delivery(trial, Mode::Xapic, "direct")
}

/// Step by step, each notification checked.
pub fn delivery_filtered_x2apic(trial: &Trial) -> Result<()> {
    delivery(trial, Mode::X2apic, "filtered")
}

/// Both.
pub fn delivery_filtered_xapic(trial: &Trial) -> Result<()> {
    delivery(trial, Mode::Xapic, "filtered")
}

/// Frames of handlers, on either kind of stack.
pub fn frame(trial: &Trial) -> Result<()> {
    let cells = Cells::new(Mode::X2apic, 2)
        .test(Slot::A, &[0], "test=frame")
        .test(Slot::B, &[1], "test=frame")
        .channel(Slot::A, Slot::B);
    let mut scenario = trial.scenario(cells.toml())?;
    scenario.spec.quantum = FINE_QUANTUM;
    let seen = scenario.boot_until(&[Wanted::line("a", PASS), Wanted::line("b", PASS)])?;
    ensure!(value(seen.find("b", "name=frame")?, "deliveries")? == "2000");
    Ok(())
}

/// A kernel takes the requests by itself.
pub fn inbox_direct(trial: &Trial) -> Result<()> {
    inbox(trial, "direct")
}

/// The same where the hypervisor posts.
pub fn inbox_filtered(trial: &Trial) -> Result<()> {
    inbox(trial, "filtered")
}

fn inbox(trial: &Trial, doorbell: &str) -> Result<()> {
    let cells = Cells::new(Mode::X2apic, 2)
        .test(Slot::A, &[0], "test=inbox")
        .test(Slot::B, &[1], "test=inbox")
        .channel_with(Slot::A, Slot::B, doorbell);
    let mut scenario = trial.scenario(cells.toml())?;
    scenario.spec.quantum = FINE_QUANTUM;
    scenario
        .boot_until(&[Wanted::line("a", PASS), Wanted::line("b", PASS)])
        .map(drop)
}

/// Mistakes in the switch, the test that has to notice each, and what it says then on either console.
const DEFECTS: [(&str, &str, &[&str]); 17] = [
    ("switching", "uif-lost", &["uif-stuck-at-0"]),
    ("switching", "uif-set", &["fault"]),
    ("switching", "requests-lost", &["delivery-lost"]),
    ("switching", "uinv-kept", &["exception frame="]),
    ("switching", "posts-ignored", &["delivery-lost"]),
    ("switching", "state-kept", &["fault"]),
    ("switching", "uitt-cut", &["fault"]),
    ("delivery", "uif-lost", &[FAIL]),
    ("delivery", "uif-set", &[FAIL]),
    ("delivery", "requests-lost", &[FAIL]),
    ("delivery", "uinv-kept", &["exception frame="]),
    ("delivery", "posts-ignored", &[FAIL]),
    ("delivery", "suppress-kept", &[FAIL]),
    ("delivery", "destination-stale", &[FAIL]),
    ("delivery", "vector-stale", &[FAIL]),
    ("delivery", "state-kept", &[FAIL]),
    ("delivery", "uitt-cut", &[FAIL]),
];

/// A switch with a mistake does not pass: the tests above can fail.
pub fn defects_are_noticed(trial: &Trial) -> Result<()> {
    for (test, defect, wanted) in DEFECTS {
        let cmdline = format!("test={test} sends={} defect={defect}", SENDS / 2);
        let neighbour = match test {
            "switching" => &cmdline,
            _ => "test=answer",
        };
        let cells = Cells::new(Mode::X2apic, 2)
            .test(Slot::A, &[0], &cmdline)
            .test(Slot::B, &[1], neighbour)
            .channel(Slot::A, Slot::B);
        let mut is_done = |line: &Line| line.text.starts_with(FAIL) || line.text == PASS;
        let seen = trial.scenario(cells.toml())?.boot(Some(&mut is_done))?;
        let verdict = ["a", "b"].map(|label| seen.find(label, FAIL));
        let is_noticed = verdict
            .iter()
            .flatten()
            .any(|line| wanted.iter().any(|reason| line.contains(reason)));
        ensure!(
            is_noticed,
            "{test} with {defect}: {:?}",
            verdict.iter().flatten().collect::<Vec<_>>()
        );
    }
    Ok(())
}
