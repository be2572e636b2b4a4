// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reads what the conformance image says on its console.
//!
//! A log may come from anybody's machine: it is checked line by line, nothing in it is guessed, and lines that the image
//! did not write (firmware, boot loader) are passed over. A log holds one run or several.

use anyhow::{Context, Result, bail, ensure};

use super::case::Verdict;
use super::fields::Fields;
use super::run::{CaseResult, Counts, Differential, Header, Mismatch, Place, Run};

/// What all lines of the image begin with.
pub const PREFIX: &str = "conf: ";
/// What the last line of a run begins with.
pub const DONE: &str = "conf: done";
const HEADER: &str = "conf: machine=";
/// Most runs in one log.
const MAX_RUNS: usize = 64;
/// Most lines of one kind in a run, far more than there are cases.
const MAX_ITEMS: usize = 10_000;

/// Reads a log's runs. Fails, with the number of the line, where a line of the image is not as it must be, and
/// where there is no run. The last line may be cut off: then its run is not complete.
pub fn parse<'a>(lines: impl Iterator<Item = &'a str>) -> Result<Vec<Run>> {
    let mut runs: Vec<Run> = Vec::new();
    let mut lines = (1..).zip(lines).peekable();
    while let Some((number, line)) = lines.next() {
        let result = take(line.trim_end_matches('\r'), &mut runs);
        match (
            result.with_context(|| format!("line {number}")),
            runs.last_mut(),
        ) {
            (Ok(()), _) => (),
            (Err(error), Some(run)) if lines.peek().is_none() => {
                run.errors.push(format!("last line cut off: {error:#}"));
            }
            (Err(error), _) => return Err(error),
        }
    }
    ensure!(
        !runs.is_empty(),
        "no line '{HEADER}...': this is no log of the conformance image"
    );
    Ok(runs)
}

fn take(line: &str, runs: &mut Vec<Run>) -> Result<()> {
    // The boot loader's last line may have no end.
    if let Some(at) = line.find(HEADER) {
        ensure!(runs.len() < MAX_RUNS, "more than {MAX_RUNS} runs");
        runs.push(Run::new(header(&line[at + PREFIX.len()..])?));
        return Ok(());
    }
    let Some(content) = line.strip_prefix(PREFIX) else {
        ensure!(
            !line.contains(PREFIX),
            "damaged: other text before '{PREFIX}'"
        );
        return Ok(());
    };
    let (kind, fields) = content.split_once(' ').unwrap_or((content, ""));
    let run = runs.last_mut().filter(|run| !run.is_complete);
    if kind == "error" && run.is_none() {
        // What the image cannot understand in its command line it says before anything else.
        bail!(
            "the image reports an error: {}",
            Fields::parse(fields)?.text("detail")?
        );
    }
    let run = run.with_context(|| format!("'{PREFIX}{kind}' outside a run"))?;
    add(run, kind, Fields::parse(fields)?)
}

fn add(run: &mut Run, kind: &str, mut fields: Fields) -> Result<()> {
    let items = run.cases.len() + run.differential.len() + run.mismatches.len() + run.errors.len();
    ensure!(items < MAX_ITEMS, "more than {MAX_ITEMS} lines in a run");
    match kind {
        "case" => {
            let case = case(&mut fields)?;
            let is_new = run.cases.iter().all(|other| other.id != case.id);
            ensure!(is_new, "case {} is there twice", case.id);
            run.cases.push(case);
        }
        "differential" => run.differential.push(differential(&mut fields)?),
        "mismatch" => run.mismatches.push(mismatch(&mut fields)?),
        "error" | "panic" | "fatal" => run
            .errors
            .push(format!("{kind}: {}", fields.text("detail")?)),
        "done" => {
            let said = counts(&mut fields)?;
            let seen = Counts::of(run.cases.iter().map(|case| case.verdict));
            ensure!(
                said == seen,
                "the image counted {said}, but the lines are {seen}"
            );
            let has_figures = |mismatch: &Mismatch| {
                run.differential
                    .iter()
                    .any(|seed| seed.seed == mismatch.seed)
            };
            ensure!(
                run.mismatches.iter().all(has_figures),
                "a mismatch is of a seed without figures"
            );
            run.is_complete = true;
        }
        "peer" => bail!("this is the log of role=peer; the other cell's log has the cases"),
        _ => bail!("'{PREFIX}{kind}' is not understood"),
    }
    fields.finish()
}

fn header(content: &str) -> Result<Header> {
    let mut fields = Fields::parse(content)?;
    let is_cell = fields.choice("machine", &[("bare", false), ("cell", true)])?;
    let doorbells = [
        ("none", None),
        ("direct", Some(Place::Direct)),
        ("filtered", Some(Place::Filtered)),
    ];
    let place = match (is_cell, fields.choice("doorbell", &doorbells)?) {
        (false, None) => Place::Bare,
        (true, Some(place)) => place,
        _ => bail!("a cell has a doorbell, a bare machine none"),
    };
    let family = fields.text("family")?;
    ensure!(
        !family.is_empty() && family.chars().all(|c| c.is_ascii_hexdigit() || c == '-'),
        "family={family:?} is not understood"
    );
    let header = Header {
        place,
        apic: fields
            .choice("apic", &[("x2apic", "x2apic"), ("xapic", "xapic")])?
            .to_owned(),
        cpus: fields.value("cpus")?,
        vmx: fields.flag("vmx")?,
        uintr: fields.flag("uintr")?,
        family: family.to_owned(),
        is_bochs: fields.choice("emulator", &[("bochs", true), ("none", false)])?,
    };
    fields.finish()?;
    Ok(header)
}

fn case(fields: &mut Fields) -> Result<CaseResult> {
    let case = CaseResult {
        id: fields.value("id")?,
        title: fields.text("title")?.to_owned(),
        verdict: fields.value("verdict")?,
        deviation: fields.optional_value("deviation")?,
        detail: fields.text("detail")?.to_owned(),
    };
    let is_about_one = matches!(case.verdict, Verdict::Deviation | Verdict::Surprise);
    ensure!(
        is_about_one == case.deviation.is_some(),
        "a deviation or a surprise names its deviation, and no other verdict does"
    );
    Ok(case)
}

fn differential(fields: &mut Fields) -> Result<Differential> {
    Ok(Differential {
        seed: fields.value("seed")?,
        steps: fields.value("steps")?,
        compared: fields.value("compared")?,
        delivered: fields.value("delivered")?,
        faults: fields.value("faults")?,
        mismatches: fields.value("mismatches")?,
    })
}

fn mismatch(fields: &mut Fields) -> Result<Mismatch> {
    Ok(Mismatch {
        seed: fields.value("seed")?,
        step: fields.value("step")?,
        op: fields.text("op")?.to_owned(),
        field: fields.text("field")?.to_owned(),
        machine: fields.text("machine")?.to_owned(),
        model: fields.text("model")?.to_owned(),
        deviation: fields.optional_value("deviation")?,
    })
}

fn counts(fields: &mut Fields) -> Result<Counts> {
    Ok(Counts {
        passed: fields.value("passed")?,
        failed: fields.value("failed")?,
        deviations: fields.value("deviations")?,
        surprises: fields.value("surprises")?,
        records: fields.value("records")?,
        skipped: fields.value("skipped")?,
        missing: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::case::DeviationId;

    const START: &str = "conf: machine=bare doorbell=none apic=x2apic cpus=2 vmx=1 uintr=1 family=06-8f-8 emulator=bochs";
    const PASS: &str = "conf: case id=T01 verdict=pass title=\"a = b\" detail=\"seen, and so on\"";
    const DEVIATION: &str =
        "conf: case id=T16 verdict=deviation deviation=B-10 title=\"t\" detail=\"\"";

    fn done(passed: u32, deviations: u32) -> String {
        format!(
            "conf: done passed={passed} failed=0 deviations={deviations} surprises=0 records=0 skipped=0"
        )
    }

    fn read(lines: &[&str]) -> Result<Vec<Run>> {
        parse(lines.iter().copied())
    }

    /// Returns the error of a log that must have one, with a line after it.
    fn error(lines: &[&str]) -> String {
        let lines = [lines, &["powered off"]].concat();
        format!("{:#}", read(&lines).unwrap_err())
    }

    #[test]
    fn a_whole_log_among_other_lines() {
        let end = done(1, 1);
        let grub = format!("\x1b[2JBooting...{START}\r");
        let lines = ["GRUB", &grub, PASS, "", DEVIATION, &end, "powered off"];
        let runs = read(&lines).unwrap();
        assert_eq!(runs.len(), 1);
        let run = &runs[0];
        assert!(run.is_complete && run.troubles().is_empty());
        assert_eq!(run.header.place, Place::Bare);
        assert_eq!((run.header.cpus, run.header.is_bochs), (2, true));
        assert_eq!(run.cases[0].detail, "seen, and so on");
        assert_eq!(run.cases[1].deviation, Some(DeviationId(10)));
    }

    #[test]
    fn several_runs_in_one_log() {
        let end = done(1, 0);
        let cell = START.replace("bare doorbell=none", "cell doorbell=filtered");
        let runs = read(&[START, PASS, &end, &cell, PASS, &end]).unwrap();
        let places: Vec<Place> = runs.iter().map(|run| run.header.place).collect();
        assert_eq!(places, [Place::Bare, Place::Filtered]);
    }

    #[test]
    fn a_run_that_was_cut_off_says_where() {
        let runs = read(&[START, PASS]).unwrap();
        assert!(runs[0].troubles()[0].contains("after case T01"));
        let runs = read(&[START, PASS, &DEVIATION[..50]]).unwrap();
        assert!(runs[0].troubles()[0].contains("last line cut off: line 3"));
        // The machine was reset in the middle of a run and started again.
        let end = done(1, 0);
        let runs = read(&[START, START, PASS, &end]).unwrap();
        assert!(runs[0].troubles()[0].contains("before the first case"));
        assert!(runs[1].troubles().is_empty());
    }

    #[test]
    fn lost_lines_are_noticed_by_the_counts() {
        assert!(error(&[START, PASS, &done(2, 0)]).contains("line 3: the image counted 2 passed"));
    }

    #[test]
    fn lines_out_of_place() {
        let end = done(1, 0);
        for lines in [
            &[][..],
            &["hello"],
            &[PASS],
            &[START, PASS, PASS],
            &[START, PASS, &end, PASS],
            &[START, PASS, &end, &end],
            &[START, "conf: peer request=hello"],
            &[START, "conf: surprise"],
            &[START, "conf: "],
            &[START, "xconf: case id=T01"],
        ] {
            assert!(!error(lines).is_empty(), "{lines:?}");
        }
    }

    #[test]
    fn damaged_cases() {
        for (from, to) in [
            ("T01", "T00"),
            ("verdict=pass", "verdict=ok"),
            ("verdict=pass", "verdict=deviation"),
            ("verdict=pass", "verdict=pass deviation=B-1"),
            ("verdict=pass", ""),
            (" detail", " more=1 detail"),
            ("so on\"", "so on"),
            ("seen", "se\u{fffd}n"),
            ("seen", "\x1b[31m"),
        ] {
            let line = PASS.replace(from, to);
            assert!(error(&[START, &line]).starts_with("line 2"), "{line}");
        }
    }

    #[test]
    fn damaged_headers() {
        for (from, to) in [
            ("bare", "moon"),
            ("doorbell=none", "doorbell=direct"),
            ("cpus=2", "cpus=-2"),
            ("vmx=1", "vmx=2"),
            ("family=06-8f-8", "family=<b>"),
            (" emulator=bochs", ""),
        ] {
            assert!(
                error(&[&START.replace(from, to)]).starts_with("line 1"),
                "{to}"
            );
        }
    }

    #[test]
    fn what_the_image_says_of_itself() {
        assert!(error(&["conf: error detail=\"option x is not understood\""]).contains("option x"));
        let runs = read(&[START, "conf: fatal detail=\"panicked\""]).unwrap();
        assert_eq!(runs[0].troubles().len(), 2);
    }

    #[test]
    fn too_much_is_refused() {
        let starts = [START; MAX_RUNS + 1];
        assert!(error(&starts).contains("runs"));
        let mut lines = vec![START];
        lines.extend(["conf: fatal detail=x"; MAX_ITEMS + 1]);
        assert!(error(&lines).contains("lines in a run"));
    }

    #[test]
    fn figures_of_the_differential_test() {
        let runs = read(&[
            START,
            "conf: mismatch seed=1 step=5 op=senduipi field=on machine=1 model=0 deviation=B-11",
            "conf: differential seed=1 steps=100 compared=900 delivered=4 faults=12 mismatches=1",
            &done(0, 0),
        ])
        .unwrap();
        assert_eq!(runs[0].differential[0].compared, 900);
        assert_eq!(runs[0].mismatches[0].deviation, Some(DeviationId(11)));
        let lone = "conf: mismatch seed=1 step=5 op=x field=y machine=1 model=0";
        assert!(error(&[START, lone, &done(0, 0)]).contains("without figures"));
    }
}
