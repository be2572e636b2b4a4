// SPDX-License-Identifier: MIT OR Apache-2.0
//! The verdict on a run of the demo: what the consoles said, against what must be.

use std::collections::HashMap;
use std::fmt;

use cell_config::{ApicMode, Doorbell, System};
use sha2::{Digest, Sha256};

use super::HYPERVISOR;
use crate::run::{End, RunOutcome};

/// Bytes of each file that NimbOS writes in Linux.
const FILE_LEN: usize = 65536;
/// Calls of each measured phase.
const CALLS: u64 = 10_000;
/// Own memory of the hypervisor with four CPUs, at most.
const MEMORY_LIMIT_KIB: u64 = 8192;
/// The phases whose calls cross cells.
const FORWARDED: [&str; 4] = ["write1", "null", "write1-ring", "null-ring"];
/// What a null call may take on each path, in ticks.
const BUDGETS: [(&str, u32); 2] = [("null", 700), ("null-ring", 300)];

/// One thing that must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What.
    pub name: String,
    /// What was seen.
    pub seen: String,
    /// Whether it holds.
    pub holds: bool,
}

/// A measured phase, as NimbOS printed it: `key=value` pairs.
type Phase = HashMap<String, String>;

/// What came of the demo.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// All checks, in the order of the demo.
    pub checks: Vec<Check>,
    phases: Vec<Phase>,
}

impl Verdict {
    /// Judges a run of `system`. The number of VM exits during the phases is known where the way is all that could cause
    /// them, in x2APIC mode with one CPU for each cell: none, or with a filtered doorbell one for each notification.
    pub fn of(outcome: &RunOutcome<()>, system: &System) -> Self {
        let only_the_way = system.machine.apic_mode == ApicMode::X2apic
            && system.cells.iter().all(|cell| cell.cpus.len() == 1);
        let is_filtered = system
            .channels
            .iter()
            .any(|channel| channel.doorbell == Doorbell::Filtered);
        let exits = only_the_way.then_some(if is_filtered { CALLS } else { 0 });
        let phases: Vec<Phase> = outcome
            .console("nimbos")
            .filter(|line| line.text.starts_with("demo: phase="))
            .map(|line| pairs(&line.text))
            .collect();
        let mut checks = vec![
            Check::new(
                "machine switched off by Linux",
                text_of_end(&outcome.end),
                outcome.end == End::ShutDown,
            ),
            no_cell_stopped(outcome),
            hypervisor_memory(outcome),
            found(
                outcome,
                "Linux cell in user mode",
                "linux",
                "isthmus: Linux cell up",
            ),
            found(outcome, "channel connected", "nimbos", "is connected"),
            found(
                outcome,
                "written data read back by NimbOS",
                "nimbos",
                "demo: data=ok",
            ),
            found(outcome, "errors come back", "nimbos", "demo: errors=ok"),
            found(
                outcome,
                "NimbOS's text on Linux's console",
                "linux",
                "demo: hello from NimbOS",
            ),
            linux_file(
                outcome,
                "file as Linux sees it",
                "demo-file: ",
                small_file(),
            ),
            linux_file(
                outcome,
                "64 KiB written without a copy",
                "demo-large: ",
                large_file(),
            ),
        ];
        checks.extend(FORWARDED.iter().map(|&name| phase(&phases, name, exits)));
        checks.push(notifications(outcome));
        checks.push(found(
            outcome,
            "NimbOS's own verdict",
            "nimbos",
            "demo: result=PASS",
        ));
        checks.push(found(
            outcome,
            "shadow process ended with 0",
            "linux",
            "shadow-exit: status=0",
        ));
        checks.push(absent(
            outcome,
            "no failure on Linux's console",
            "linux",
            "demo: FAIL",
        ));
        Self { checks, phases }
    }

    /// Tells whether everything holds.
    pub fn passed(&self) -> bool {
        self.checks.iter().all(|check| check.holds)
    }
}

impl Check {
    fn new(name: impl Into<String>, seen: impl Into<String>, holds: bool) -> Self {
        Self {
            name: name.into(),
            seen: seen.into(),
            holds,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_phases(f)?;
        self.write_paths(f)?;
        writeln!(f, "\nChecks:")?;
        for check in &self.checks {
            let mark = if check.holds { "ok  " } else { "FAIL" };
            writeln!(f, "  {mark} {:<36} {}", check.name, check.seen)?;
        }
        let failed = self.checks.iter().filter(|check| !check.holds).count();
        writeln!(
            f,
            "\n{} passed, {failed} failed",
            self.checks.len() - failed
        )
    }
}

impl Verdict {
    fn write_phases(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\nTicks (emulated instructions) per call, 10,000 calls each:"
        )?;
        writeln!(
            f,
            "  {:<22} {:>8} {:>8} {:>8} {:>8} {:>9} {:>12} {:>12}",
            "phase", "min", "median", "p99", "sent", "received", "exits NimbOS", "exits Linux"
        )?;
        for phase in &self.phases {
            let get = |key: &str| phase.get(key).map_or("?", String::as_str);
            let name = match get("phase") {
                "write1" => "forwarded 1-byte write",
                "null" => "forwarded null call",
                "write1-ring" => "1-byte write, user path",
                "null-ring" => "null call, user path",
                "getpid" => "local getpid",
                other => other,
            };
            writeln!(
                f,
                "  {name:<22} {:>8} {:>8} {:>8} {:>8} {:>9} {:>12} {:>12}",
                get("min"),
                get("median"),
                get("p99"),
                get("sent"),
                get("received"),
                get("exits_nimbos"),
                get("exits_linux")
            )?;
        }
        Ok(())
    }

    /// Both paths side by side. Missing a budget is told and fails nothing: ticks depend on configuration and compiler.
    fn write_paths(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nBoth paths side by side, median ticks per call:")?;
        writeln!(f, "  {:<22} {:>11} {:>11}", "", "kernel path", "user path")?;
        let median = |name: &str| {
            let phase = self
                .phases
                .iter()
                .find(|phase| phase.get("phase").is_some_and(|found| found == name));
            phase?.get("median")?.parse::<u32>().ok()
        };
        let row = |f: &mut fmt::Formatter<'_>, title: &str, [kernel, user]: [String; 2]| {
            writeln!(f, "  {title:<22} {kernel:>11} {user:>11}")
        };
        let text = |name: &str| median(name).map_or("?".to_owned(), |ticks| ticks.to_string());
        row(f, "1-byte write", ["write1", "write1-ring"].map(text))?;
        row(f, "null call", BUDGETS.map(|(name, _)| text(name)))?;
        row(
            f,
            "budget of a null call",
            BUDGETS.map(|(_, budget)| budget.to_string()),
        )?;
        let judged = BUDGETS.map(|(name, budget)| {
            match median(name) {
                None => "not known",
                Some(ticks) if ticks <= budget => "within",
                Some(_) => "over",
            }
            .to_owned()
        });
        row(f, "", judged)
    }
}

/// Splits `key=value` words.
fn pairs(text: &str) -> Phase {
    text.split_whitespace()
        .filter_map(|word| word.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

fn text_of_end(end: &End<()>) -> String {
    match end {
        End::ShutDown => "yes".to_owned(),
        other => format!("{other:?}"),
    }
}

fn found(outcome: &RunOutcome<()>, name: &str, label: &str, part: &str) -> Check {
    match outcome.find(label, part) {
        Some(line) => Check::new(name, line.text.trim(), true),
        None => Check::new(name, format!("no line with '{part}' on {label}"), false),
    }
}

fn absent(outcome: &RunOutcome<()>, name: &str, label: &str, part: &str) -> Check {
    match outcome.find(label, part) {
        None => Check::new(name, "none", true),
        Some(line) => Check::new(name, line.text.trim(), false),
    }
}

fn no_cell_stopped(outcome: &RunOutcome<()>) -> Check {
    absent(
        outcome,
        "no error of the hypervisor",
        HYPERVISOR,
        "isthmus: error:",
    )
}

fn hypervisor_memory(outcome: &RunOutcome<()>) -> Check {
    let name = "hypervisor's own memory";
    let used = outcome
        .find(HYPERVISOR, "hypervisor memory: ")
        .and_then(|line| {
            line.text
                .split_once("hypervisor memory: ")?
                .1
                .split_whitespace()
                .next()?
                .parse::<u64>()
                .ok()
        });
    match used {
        Some(kib) => Check::new(
            name,
            format!("{kib} KiB of at most {MEMORY_LIMIT_KIB} KiB"),
            kib <= MEMORY_LIMIT_KIB,
        ),
        None => Check::new(name, "not told", false),
    }
}

/// What NimbOS writes byte by byte.
fn small_file() -> Vec<u8> {
    (0..FILE_LEN)
        .map(|index| ((index * 31 + 7) & 0xff) as u8)
        .collect()
}

/// What NimbOS writes from a buffer of its own ring.
fn large_file() -> Vec<u8> {
    (0..FILE_LEN as u64 / 8)
        .flat_map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes())
        .collect()
}

/// Linux's own word on a file, in its line that begins with `label`, against what NimbOS writes.
fn linux_file(outcome: &RunOutcome<()>, name: &str, label: &str, content: Vec<u8>) -> Check {
    let sum = Sha256::digest(&content)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>();
    let wanted = format!("{label}size={FILE_LEN} sha256={sum}");
    match outcome.find("linux", label) {
        Some(line) => Check::new(name, line.text.trim(), line.text.trim() == wanted),
        None => Check::new(name, "Linux showed none", false),
    }
}

/// A phase holds when it made all its calls, one notification each way for each, and with `exits` VM exits on either
/// side, if that number is known.
fn phase(phases: &[Phase], name: &str, exits: Option<u64>) -> Check {
    let which = match exits {
        None => "",
        Some(0) => ", no exits",
        Some(_) => ", one exit each",
    };
    let title = format!("phase {name}: none lost{which}");
    let Some(phase) = phases
        .iter()
        .find(|phase| phase.get("phase").is_some_and(|found| found == name))
    else {
        return Check::new(title, "did not run", false);
    };
    let number = |key: &str| phase.get(key).and_then(|value| value.parse::<u64>().ok());
    let holds = number("calls") == Some(CALLS)
        && number("sent") == Some(CALLS)
        && number("received") == Some(CALLS)
        && (exits.is_none() || number("exits_nimbos") == exits && number("exits_linux") == exits);
    let get = |key: &str| phase.get(key).map_or("?", String::as_str);
    let seen = format!(
        "calls={} sent={} received={} exits {}+{}",
        get("calls"),
        get("sent"),
        get("received"),
        get("exits_nimbos"),
        get("exits_linux")
    );
    Check::new(title, seen, holds)
}

/// The shadow process counts by itself: every call of the two phases must have reached its handler by notification.
fn notifications(outcome: &RunOutcome<()>) -> Check {
    let name = "notifications counted by Linux";
    let Some(line) = outcome.find("linux", "notifications received=") else {
        return Check::new(name, "not told", false);
    };
    let number = |key: &str| {
        pairs(&line.text.replace(',', " "))
            .get(key)
            .and_then(|value| value.parse::<u64>().ok())
    };
    let (received, sent) = (number("received"), number("sent"));
    let enough = |count: Option<u64>| count.is_some_and(|count| count >= 2 * CALLS);
    let seen = line.text.trim().trim_start_matches("shadow: ");
    Check::new(name, seen, enough(received) && enough(sent))
}
