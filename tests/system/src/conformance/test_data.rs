// SPDX-License-Identifier: MIT OR Apache-2.0
//! Logs for the tests of this module.

use super::column::RunRecord;
use super::log::parse;
use super::run::{Place, Run};

/// Returns the log of a whole run with these cases and their verdicts, with deviations as `deviation B-1`.
pub fn log(place: Place, cases: &[(&str, &str)]) -> String {
    let machine = match place {
        Place::Bare => "bare doorbell=none".to_owned(),
        cell => format!("cell doorbell={cell}"),
    };
    let mut text = format!(
        "conf: machine={machine} apic=x2apic cpus=2 vmx=1 uintr=1 family=06-8f-8 emulator=bochs\n"
    );
    let words = ["pass", "fail", "deviation", "surprise", "record", "skip"];
    let mut counts = [0; 6];
    for (id, verdict) in cases {
        let (word, deviation) = verdict.split_once(' ').unwrap_or((verdict, ""));
        let at = words.iter().position(|&other| other == word).unwrap();
        counts[at] += 1;
        let named = match deviation {
            "" => String::new(),
            id => format!(" deviation={id}"),
        };
        text += &format!(
            "conf: case id={id} verdict={word}{named} title=\"t\" detail=\"{word} seen\"\n"
        );
    }
    text + &format!(
        "conf: done passed={} failed={} deviations={} surprises={} records={} skipped={}\n",
        counts[0], counts[1], counts[2], counts[3], counts[4], counts[5]
    )
}

/// Returns a whole run.
pub fn run(place: Place, cases: &[(&str, &str)]) -> Run {
    parse(log(place, cases).lines()).unwrap().remove(0)
}

/// Returns its record.
pub fn record(run: Run) -> RunRecord {
    RunRecord::new("x2apic".to_owned(), Some(1.0), run)
}
